"""The time limits of tasks, in a timer of kombu's."""

from __future__ import annotations

from typing import Any

import pytest
from billiard.pool import Pool
from kombu.asynchronous.timer import Timer

from signal_tasks.tasks.time_limits import TimeLimits


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class IdlePool(Pool):
    """A pool of no processes, which notes whose time is over."""

    def __init__(self) -> None:
        self.over: list[str] = []

    def end(self, job: str) -> None:
        """Note that the time of *job* is over."""
        self.over.append(job)

    def fail(self, job: str) -> None:
        """Fail to end *job*."""
        raise RuntimeError(job)


class Worker:
    """An event loop's timer, and a pool whose limits it keeps."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.timer: Any = Timer()
        TimeLimits(self.timer, clock=self.clock).take_over()
        self.pool = IdlePool()

    def limit(self, seconds: float, job: str) -> Any:
        """Give *job* a limit."""
        return self.timer.call_after(seconds, self.pool.end, (job,))

    def wait(self, seconds: float) -> None:
        """Let time pass, and call what is due."""
        self.clock.now += seconds
        due = [one for one in self.timer.queue if one.eta <= self.clock.now]
        rest = [one for one in self.timer.queue if one.eta > self.clock.now]
        self.timer._queue[:] = rest  # kombu's loop goes by the real time
        for one in due:
            self.timer.apply_entry(one.entry)


@pytest.fixture
def worker() -> Worker:
    """Return a worker that nothing has run in."""
    return Worker()


def test_limit_ends_what_runs(worker: Worker) -> None:
    """What is still there at the end of its time is ended then, and once."""
    worker.limit(60, "slow")

    worker.wait(59)
    assert worker.pool.over == []
    worker.wait(1)
    worker.wait(60)
    assert worker.pool.over == ["slow"]


def test_task_that_ends_before_leaves_nothing_behind(worker: Worker) -> None:
    """However many have ended, the timer waits for one moment."""
    for _ in range(1000):
        worker.limit(60, "quick").cancel()

    assert len(worker.timer) == 1
    worker.wait(60)
    assert worker.pool.over == []
    assert len(worker.timer) == 0


def test_shorter_limit_ends_first(worker: Worker) -> None:
    """Each limit is kept, in whichever order they were set."""
    worker.limit(60, "long")
    worker.limit(10, "short")
    worker.limit(30, "middle")

    for _ in range(6):
        worker.wait(10)

    assert worker.pool.over == ["short", "middle", "long"]


def test_limit_outlasts_the_connection(worker: Worker) -> None:
    """Where Celery clears the timer, for it connects again, what runs keeps its limit."""
    worker.limit(60, "slow")
    worker.timer.call_after(60, print)

    worker.timer.clear()

    assert len(worker.timer) == 1
    worker.wait(60)
    assert worker.pool.over == ["slow"]


def test_timer_without_limits_is_cleared(worker: Worker) -> None:
    """Where nothing runs, nothing is left."""
    worker.timer.call_after(60, print)

    worker.timer.clear()

    assert len(worker.timer) == 0


def test_limit_that_fails_keeps_no_other_from_its_end(worker: Worker) -> None:
    """What the pool raises is logged by the timer, and the others end too."""
    worker.timer.call_after(60, worker.pool.fail, ("stubborn",))
    worker.limit(60, "slow")

    worker.wait(60)

    assert worker.pool.over == ["slow"]


def test_other_timers_are_kombus(worker: Worker) -> None:
    """What is no limit waits in the timer as before."""
    called: list[str] = []

    entry = worker.timer.call_after(60, called.append, ("now",), priority=6)

    (scheduled,) = worker.timer.queue
    assert scheduled.entry is entry
    assert scheduled.priority == 6
