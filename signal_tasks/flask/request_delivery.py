"""What a request of a Flask app has gathered, and how it leaves when that is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from flask import Flask, has_request_context, request
from flask.globals import app_ctx

from ..delivery.announcing import tell_withdrawn
from ..delivery.gathering import Basket, batches_of
from ..host import Publisher

_GATHERED: Final = "signal_tasks.gathered"
_OVER: Final = "signal_tasks.over"


class Baskets:
    """What the requests of an app have gathered, each in its environment."""

    def __init__(self) -> None:
        # Flask leaves out what tears a request down after a function that failed, and
        # then tears down the context of the app all the same.
        self._open: WeakKeyDictionary[object, list[Basket]] = WeakKeyDictionary()

    def current(self) -> Basket | None:
        """Return that of the request that runs; None without one, or after it."""
        if not has_request_context() or _OVER in request.environ:
            return None
        gathered: Basket | None = request.environ.get(_GATHERED)
        if gathered is None:
            gathered = request.environ[_GATHERED] = []
            self._open.setdefault(_current_context(), []).append(gathered)
        return gathered

    def close(self) -> Basket:
        """Return what the request that ends has gathered, which gathers no more."""
        request.environ[_OVER] = True
        gathered: Basket = request.environ.pop(_GATHERED, [])
        return _emptied(gathered)

    def left(self) -> Basket:
        """Return what is left of requests that were not torn down to their end."""
        if not self._open:
            return []
        baskets = self._open.pop(_current_context(), [])
        return [one for gathered in baskets for one in _emptied(gathered)]


def publish_after_requests(
    app: Flask,
    baskets: Baskets,
    publisher: Callable[[], Publisher],
    drops: Callable[[], bool],
) -> None:
    """Let each request of *app* publish what it has gathered, when it is torn down.

    The response is ready then, and ``request_finished`` has been sent. What is sent
    later, by what is torn down, leaves at once.

    Args:
        app: The app.
        baskets: Where it is gathered.
        publisher: Returns what takes the envelopes, and raises nothing.
        drops: Tells whether an exception that nobody handled takes them along.
    """

    def publish(gathered: Basket, error: BaseException | None) -> None:
        if not gathered:
            return
        if error is not None and drops():
            tell_withdrawn(app, [one for envelopes in gathered for one in envelopes])
            return
        way = publisher()
        for batch in batches_of(gathered):
            way.publish(batch)

    def close(error: BaseException | None) -> None:
        publish(baskets.close(), error)

    def close_others(error: BaseException | None) -> None:
        publish(baskets.left(), error)

    app.teardown_request(close)
    app.teardown_appcontext(close_others)


def _emptied(gathered: Basket) -> Basket:
    events = list(gathered)
    gathered.clear()
    return events


def _current_context() -> object:
    proxy: Any = app_ctx
    return proxy._get_current_object()  # noqa: SLF001  # documented by Werkzeug
