"""Lines to the broker: connections that are made in time, or not waited for.

A line serves one send at a time. There is no limit to how many there are, but a send
waits for whatever comes first: a new line, or that of another send which has ended. To
connect takes several round trips, and each has a timeout of its own in the libraries
below. So threads of their own do it, and a send waits as long as its deadline allows.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from contextlib import suppress
from math import inf
from threading import Condition, Thread
from typing import Any, Final

from amqp.exceptions import AMQPError, MessageNacked
from celery import Celery
from kombu.exceptions import OperationalError

from .broker_errors import WRAPPERS, cause_of, is_of_the_broker
from .line import Clock, Line

#: To connect keeps the interpreter busy for some milliseconds, which those that send
#: over the lines that are there could use as well. So there are few new ones at a time.
_CONNECTING_AT_ONCE: Final = 2
_PACE_SECONDS: Final = 0.02

#: Who waits for a spare line looks for it so often, and need not be woken.
_NAP_SECONDS: Final = 0.005


class CrowdedError(TimeoutError):
    """The broker is well, and the sends before have taken all the time."""


class Lines:
    """The lines of one process.

    Args:
        celery_app: Knows the broker.
        timeout_seconds: How long a single wait may take.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        celery_app: Celery,
        timeout_seconds: float,
        clock: Clock = time.monotonic,
    ) -> None:
        # Whoever is to close the lines in the end must not keep alive what they serve.
        self._celery_app = weakref.ref(celery_app)
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._idle: deque[Line] = deque()
        self._in_use: set[Line] = set()
        self._changed = Condition()
        self._waiting = 0
        self._connecting = 0
        self._last_connecting = -inf
        self._given_back = 0
        self._failures = 0
        self._last_failure: Exception = OperationalError()
        self._is_closed = False
        transport = celery_app.connection_for_write().transport
        self._is_in_memory = transport.driver_type == "memory"
        self.errors = _broker_errors(transport)
        """What says that the broker did not do its work, of all that may be raised."""
        self._refusals = (*transport.channel_errors, MessageNacked)

    def take(self, deadline: float) -> Line:
        """Return a line for one send, which gives it back or discards it.

        Raises:
            TimeoutError: There is none until *deadline*.
            CrowdedError: There is none because other sends were first.
            Exception: What kept the last one from being made.
        """
        try:
            line = self._idle.pop()
        except IndexError:
            line = self._wait(deadline)
        return self._taken(line)

    def take_spare(self, deadline: float) -> Line:
        """Return a line that no send waits for, or wait until there is one.

        Where there is none at all it has one made, which a send that comes meanwhile
        gets first, so that the send need not have another one made.

        Raises:
            TimeoutError: There is none until *deadline*.
            CrowdedError: There is none because all were in use.
            Exception: What kept the last one from being made.
        """
        known = self._failures
        while True:
            line = None if self._waiting else self._pop()
            if line is not None:
                return self._taken(line)
            with self._changed:
                has_some = bool(self._idle or self._in_use)
                if self._clock() >= deadline:
                    raise _too_late(is_crowded=has_some)
                if not (has_some or self._connecting):
                    if self._failures > known:
                        raise self._failure()
                    self._connect_soon()
            time.sleep(_NAP_SECONDS)

    def give_back(self, line: Line) -> None:
        """Take *line* back, with which all is well."""
        self._in_use.discard(line)
        self._given_back += 1
        self._add(line)

    def discard(self, line: Line) -> None:
        """Close *line*, with which something is wrong."""
        self._in_use.discard(line)
        line.close()
        self._tell_all()

    def discard_older(self, line: Line) -> None:
        """Close *line* and those that nobody uses and that are not newer than its use."""
        with suppress(IndexError):
            for _ in range(len(self._idle)):
                one = self._idle.popleft()
                if one.made_at > line.taken_at:
                    self._idle.append(one)
                else:
                    one.close()
        self.discard(line)

    def close(self) -> None:
        """Close all lines, also those that come back later."""
        self._is_closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def is_about_one(self, error: Exception) -> bool:
        """Tell whether *error* is about one queue or message, and not the broker."""
        cause = cause_of(error)
        return isinstance(cause, self._refusals) and not is_of_the_broker(cause)

    def _taken(self, line: Line) -> Line:
        line.taken_at = self._clock()
        self._in_use.add(line)
        return line

    def _add(self, line: Line) -> None:
        self._idle.append(line)
        if self._waiting:
            with self._changed:
                self._changed.notify()
        if self._is_closed:
            self.close()

    def _pop(self) -> Line | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _wait(self, deadline: float) -> Line:
        """Wait for a line that is made now, or that another send gives back."""
        with self._changed:
            self._waiting += 1
            known, given_back = self._failures, self._given_back
            try:
                while True:
                    line = self._pop()
                    if line is not None:
                        return line
                    is_lost = self._failures > known
                    if is_lost and not (self._in_use or self._connecting):
                        raise self._failure()
                    seconds = deadline - self._clock()
                    if seconds <= 0:
                        raise _too_late(is_crowded=self._given_back > given_back)
                    self._connect_soon()
                    if not self._idle:
                        # Of those who wait, one looks from time to time whether it is
                        # time for one more line.
                        pause = _PACE_SECONDS * self._waiting
                        self._changed.wait(min(seconds, pause))
            finally:
                self._waiting -= 1

    def _connect_soon(self) -> None:
        now = self._clock()
        is_soon = now < self._last_connecting + _PACE_SECONDS
        is_enough = self._connecting >= min(_CONNECTING_AT_ONCE, self._waiting or 1)
        if is_enough or (is_soon and self._in_use):
            return
        self._connecting += 1
        self._last_connecting = now
        if self._is_in_memory:
            self._connect()
            return
        # A daemon, for a name that is not resolved would hold up the process's end.
        thread = Thread(target=self._connect, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there are too many, or the interpreter is about to end
            self._connect()

    def _connect(self) -> None:
        """Make a line; and another one, while sends wait and none gives one back."""
        try:
            while True:
                before = self._given_back
                line = self._new_line()
                if line is None:
                    break
                is_enough = self._given_back > before
                self._add(line)
                with self._changed:
                    if is_enough or self._waiting <= len(self._idle):
                        break
        except Exception as error:  # noqa: BLE001  # raised where it is waited for
            self._last_failure = error
            self._failures += 1
        finally:
            self._connecting -= 1
            self._tell_all()

    def _new_line(self) -> Line | None:
        celery_app = self._celery_app()
        if celery_app is None:
            return None
        return Line(celery_app, self._timeout_seconds, self._clock)

    def _failure(self) -> Exception:
        """Return what kept the last line from being made, for one of many to raise."""
        error = self._last_failure
        if isinstance(error, self.errors):
            failure = OperationalError("the broker has not let us in")
            failure.__cause__ = cause_of(error)
            return failure
        return error

    def _tell_all(self) -> None:
        if self._waiting:
            with self._changed:
                self._changed.notify_all()


def _too_late(*, is_crowded: bool) -> TimeoutError:
    return (
        CrowdedError() if is_crowded else TimeoutError("the broker has not let us in")
    )


def _broker_errors(transport: Any) -> tuple[type[Exception], ...]:
    errors = (*transport.connection_errors, *transport.channel_errors)
    # kombu counts KeyError among those of Redis, for the sake of its event loop.
    own = {error for error in errors if error is not KeyError}
    return (*WRAPPERS, AMQPError, MessageNacked, OSError, *own)
