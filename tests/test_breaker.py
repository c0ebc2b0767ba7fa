"""When a broker that has failed is asked again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from signal_tasks.publisher.breaker import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Breaker,
)


@dataclass(slots=True)
class Clock:
    """A clock that tests set."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """Return a breaker that has heard of no failure."""
    return Breaker(clock)


def fail(breaker: Breaker) -> None:
    """Fail, where one may try."""
    admitted = breaker.admit()
    assert admitted is not None
    breaker.fail(admitted)


def test_all_may_try_while_nothing_has_failed(breaker: Breaker) -> None:
    """A closed breaker lets everybody through."""
    assert breaker.admit() is not None
    assert breaker.admit() is not None
    assert not breaker.is_open


def test_first_failure_opens(breaker: Breaker) -> None:
    """After one failure nobody is let through."""
    fail(breaker)

    assert breaker.is_open
    assert breaker.admit() is None


def test_one_may_try_after_the_pause(breaker: Breaker, clock: Clock) -> None:
    """After the pause one caller is let through, and the others go on without."""
    fail(breaker)

    clock.now += FIRST_PAUSE_SECONDS

    assert breaker.admit() is not None
    assert breaker.admit() is None


def test_success_closes(breaker: Breaker, clock: Clock) -> None:
    """Once the broker is back, all are let through, and the next outage is a new one."""
    fail(breaker)
    clock.now += FIRST_PAUSE_SECONDS
    fail(breaker)

    breaker.succeed()

    assert not breaker.is_open
    fail(breaker)
    clock.now += FIRST_PAUSE_SECONDS
    assert breaker.admit() is not None


def test_each_pause_is_twice_the_last_one(breaker: Breaker, clock: Clock) -> None:
    """A broker that is down for long is asked ever more rarely, to a limit."""
    pauses = []
    for _ in range(7):
        fail(breaker)
        start = clock.now
        while breaker.admit() is None:
            clock.now += FIRST_PAUSE_SECONDS / 2
        pauses.append(clock.now - start)
        clock.now += LONGEST_PAUSE_SECONDS

    assert pauses == [0.5, 1, 2, 4, 8, 8, 8]


def test_those_under_way_count_once(breaker: Breaker, clock: Clock) -> None:
    """Many that fail together are one failure, and no pause grows by it."""
    admitted = [breaker.admit() for _ in range(100)]

    for one in admitted:
        assert one is not None
        breaker.fail(one)

    clock.now += FIRST_PAUSE_SECONDS
    assert breaker.admit() is not None


def test_who_never_comes_back_is_not_the_last(breaker: Breaker, clock: Clock) -> None:
    """When the one that tries is never heard of again, another one may try."""
    fail(breaker)
    clock.now += FIRST_PAUSE_SECONDS
    breaker.admit()

    clock.now += FIRST_PAUSE_SECONDS

    assert breaker.admit() is not None


def test_success_of_one_that_was_under_way_closes(breaker: Breaker) -> None:
    """Whoever hears from the broker has heard that it is there."""
    breaker.admit()
    fail(breaker)

    breaker.succeed()

    assert breaker.admit() is not None
