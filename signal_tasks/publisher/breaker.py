"""Keeps a process from asking a broker that has just failed, again and again.

In: how each publish went. Out: whether the next one is worth a try.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Final

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 8.0


class Breaker:
    """Open while the broker is believed to be down, except for a try now and then.

    The first failure opens it. After a pause, one caller is let through; if that one
    fails as well, the next pause is twice as long. Any success closes it.

    Args:
        clock: Returns the time in seconds; it never goes back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._next_try = 0.0
        self._round: int = 0
        self.is_open = False
        """Whether the last that was heard of the broker is a failure."""

    def admit(self) -> int | None:
        """Let the caller try, unless it would be in vain; nobody waits for another.

        Returns:
            What :meth:`fail` takes; None where the caller is not to try.
        """
        if not self.is_open:
            return self._round
        with self._lock:
            now = self._clock()
            if now < self._next_try:
                return None
            # Not for ever: the one that is let through now may never come back.
            self._next_try = now + self._pause_seconds
            return self._round

    def succeed(self) -> None:
        """Note that the broker did its work."""
        with self._lock:
            self.is_open = False
            self._pause_seconds = FIRST_PAUSE_SECONDS

    def fail(self, admitted: int) -> None:
        """Note that the broker did not do its work.

        Args:
            admitted: What :meth:`admit` returned. Of many that were under way when the
                broker failed, one counts.
        """
        with self._lock:
            if admitted != self._round:
                return
            self._round += 1
            if self.is_open:
                doubled = 2 * self._pause_seconds
                self._pause_seconds = min(doubled, LONGEST_PAUSE_SECONDS)
            self.is_open = True
            self._next_try = self._clock() + self._pause_seconds
