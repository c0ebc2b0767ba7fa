"""The warm-up of a process that serves an app, beside the first request there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock, Thread
from typing import Final

from flask import Flask, request_started

_logger = logging.getLogger(__name__)

THREAD: Final = "signal-tasks-warm-up"
"""What the thread is called."""

_NOT_WARM: Final = (
    "the process was not warmed up, so its first event takes longer. The traceback says "
    "why."
)


class WarmUp:
    """Waits for the first request of a process, and runs once in a thread beside it.

    Nothing happens before, so a server may load the app, fork, and have each child
    warm itself up. Whoever makes it keeps it as long as it shall wait.

    Args:
        app: Whose request it is.
        wanted: Called in that request; returns what to run, or None to leave it at that.
    """

    def __init__(
        self, app: Flask, wanted: Callable[[], Callable[[], None] | None]
    ) -> None:
        self._wanted = wanted
        # Never released, for of several requests at once one is the first.
        self._first = Lock()
        request_started.connect(self._begin, app)

    def _begin(self, _app: Flask, **_: object) -> None:
        if not self._first.acquire(blocking=False):
            return
        try:
            # For every sender, which leaves nothing behind that later requests ask.
            request_started.disconnect(self._begin)
            warm_up = self._wanted()
            if warm_up is not None:
                Thread(target=_run, args=(warm_up,), name=THREAD, daemon=True).start()
        except Exception:
            _logger.exception(_NOT_WARM)


def _run(warm_up: Callable[[], None]) -> None:
    try:
        warm_up()
    except Exception:
        _logger.exception(_NOT_WARM)
