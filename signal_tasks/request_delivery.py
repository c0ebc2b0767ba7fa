"""What a request of a Flask app has gathered, and how it leaves when that is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Flask, has_request_context, request

from .announcing import tell_withdrawn
from .envelope import Envelope
from .host import Publisher

_GATHERED: Final = "signal_tasks.gathered"
_OVER: Final = "signal_tasks.over"


def basket() -> list[Envelope] | None:
    """Return the list of the request that runs; None where none does, or it is over."""
    if not has_request_context() or _OVER in request.environ:
        return None
    gathered: list[Envelope] = request.environ.setdefault(_GATHERED, [])
    return gathered


def publish_after_requests(
    app: Flask, publisher: Callable[[], Publisher], drops: Callable[[], bool]
) -> None:
    """Let each request of *app* publish what it has gathered, when it is torn down.

    The response is ready then, and ``request_finished`` has been sent. What is sent
    later, by what is torn down, leaves at once.

    Args:
        app: The app.
        publisher: Returns what takes the envelopes, and raises nothing.
        drops: Tells whether an exception that nobody handled takes them along.
    """

    def publish(error: BaseException | None) -> None:
        request.environ[_OVER] = True
        gathered: list[Envelope] = request.environ.pop(_GATHERED, [])
        if not gathered:
            return
        if error is not None and drops():
            tell_withdrawn(app, gathered)
        else:
            publisher().publish(gathered)

    app.teardown_request(publish)
