"""The time limits of what runs, in a worker's timer.

kombu's timer keeps what was cancelled until its time would have come. With a limit of
minutes for each task that is all that has run in these minutes. And Celery clears the
timer when the broker's connection is lost, while tasks run on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import Any

from billiard.pool import Pool
from kombu.asynchronous.timer import Entry


class TimeLimits:
    """Keeps the limits of tasks that run, and of no others.

    Args:
        timer: The one of the worker's event loop.
        clock: Tells the time by which the timer goes.
    """

    def __init__(self, timer: Any, *, clock: Callable[[], float] = monotonic) -> None:
        self._timer = timer
        self._clock = clock
        self._call_after: Callable[..., Any] = timer.call_after
        self._clear: Callable[[], object] = timer.clear
        self._ends: dict[_Limit, float] = {}
        self._wakes_at = inf

    def take_over(self) -> None:
        """Keep from now on what a pool of processes asks the timer for."""
        self._timer.call_after = self.call_after
        self._timer.clear = self.clear

    def call_after(
        self,
        seconds: float,
        function: Callable[..., object],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        priority: int = 0,
    ) -> Any:
        """Do what the timer does, whose method this stands for."""
        if not isinstance(getattr(function, "__self__", None), Pool):
            return self._call_after(seconds, function, args, kwargs, priority)
        limit = _Limit(function, args, kwargs, self._ends)
        self._ends[limit] = self._clock() + seconds
        self._wake_by(self._ends[limit])
        return limit

    def clear(self) -> None:
        """Clear the timer, but for the limits."""
        self._clear()
        self._wake_for_next()

    def _wake_by(self, moment: float) -> None:
        if moment < self._wakes_at:
            self._wakes_at = moment
            self._timer.call_at(moment, self._wake)

    def _wake(self) -> None:
        now = self._clock()
        for limit in [limit for limit, end in self._ends.items() if end <= now]:
            self._ends.pop(limit, None)
            self._timer.apply_entry(limit)
        self._wake_for_next()

    def _wake_for_next(self) -> None:
        self._wakes_at = inf
        if self._ends:
            self._wake_by(min(self._ends.values()))


class _Limit(Entry):
    """What is to be called at the end of a task's time, unless the task ends before.

    Args:
        function: Called with the arguments.
        args: Its arguments.
        kwargs: Its named arguments.
        ends: All limits, from which it is taken when it is cancelled.
    """

    __slots__ = ("_ends",)

    def __init__(
        self,
        function: Callable[..., object],
        args: Sequence[Any],
        kwargs: dict[str, Any] | None,
        ends: dict[_Limit, float],
    ) -> None:
        super().__init__(function, list(args), kwargs)
        self._ends = ends

    def cancel(self) -> None:
        """Forget it."""
        super().cancel()
        self._ends.pop(self, None)
