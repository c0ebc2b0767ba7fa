"""Whether a message may stay in a worker longer than its broker waits for it.

A worker keeps what it has taken, unacknowledged, until its time has come and its handler
has run. A broker that waits no longer hands it to another worker meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from math import inf
from typing import Any, Final

from ..registry import Receiver
from .findings import Finding, Status, listed

# Kombu's own for Redis, and the server's own for RabbitMQ.
_VISIBILITY_SECONDS: Final = 3600.0
_CONSUMER_SECONDS: Final = 1800.0

_countdowns = partial(Finding, check="countdowns")
_limits = partial(Finding, check="time-limits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a broker waits for a worker to acknowledge a message."""

    setting: str
    seconds: float

    status: Status = Status.WRONG
    """How bad it is not to keep to it; less where its value is only assumed."""


def patience_of(driver: str, conf: Mapping[str, Any]) -> Patience | None:
    """Return how long a broker waits; None where nothing is known to wait.

    Args:
        driver: The kind of the broker, as kombu calls it.
        conf: Celery's settings of the worker.
    """
    if driver == "redis":
        options: Mapping[str, Any] = conf.get("broker_transport_options", {})
        seconds = options.get("visibility_timeout", _VISIBILITY_SECONDS)
        return Patience(setting="visibility_timeout", seconds=float(seconds))
    if driver == "amqp":
        return Patience(
            setting="RabbitMQ's consumer_timeout",
            seconds=_CONSUMER_SECONDS,
            status=Status.WARNING,
        )
    return None


def longest_wait_of(receiver: Receiver, task: Any) -> float:
    """Return how many seconds a message of *receiver* may wait in a worker, at most.

    A worker that has a message for later keeps it, unacknowledged, until it is time.
    """
    countdown = receiver.message_options.get("countdown") or 0
    return max(_seconds(countdown), _longest_pause(task))


def check_countdowns(
    waits: Mapping[str, float], patience: Patience
) -> Iterator[Finding]:
    """Compare how long messages wait in workers with how long the broker waits."""
    setting, limit = patience.setting, patience.seconds
    late = sorted(name for name, seconds in waits.items() if seconds >= limit)
    if late:
        longest = max(waits[name] for name in late)
        yield _countdowns(
            status=patience.status,
            found=f"the countdown or the pause between retries of {listed(late)} may be "
            f"{longest:g} seconds, and {setting} is {limit:g}: the message is handed out "
            "twice.",
            mend=f"Raise {setting}, or lower countdown and retry_backoff_max.",
            about=tuple(late),
        )
    elif waits:
        yield _countdowns(
            status=Status.OK,
            found=f"no countdown or pause is as long as {setting} ({limit:g} s).",
        )


def check_limits(limits: Mapping[str, float], patience: Patience) -> Iterator[Finding]:
    """Compare how long handlers may run with how long the broker waits for them.

    Args:
        limits: The time limit of each receiver that is acknowledged late, which may be
            infinite.
        patience: That of the broker.
    """
    setting, longest = patience.setting, patience.seconds
    beyond = sorted(name for name, limit in limits.items() if longest <= limit < inf)
    endless = sorted(name for name, limit in limits.items() if limit == inf)
    if beyond:
        yield _limits(
            status=patience.status,
            found=f"{listed(beyond)} may run as long as {setting} ({longest:g} s), after "
            "which the message is handed out to another worker.",
            mend=f"Raise {setting} above the time limit, or lower time_limit.",
            about=tuple(beyond),
        )
    if endless:
        yield _limits(
            status=Status.WARNING,
            found=f"{listed(endless)} may run for ever, and after {setting} "
            f"({longest:g} s) the message is handed out to another worker.",
            mend="Set time_limit for the receiver, or task_time_limit in "
            "app.config['CELERY'].",
            about=tuple(endless),
        )
    if limits and not beyond and not endless:
        yield _limits(
            status=Status.OK,
            found=f"all time limits are below {setting} ({longest:g} s).",
        )


def _longest_pause(task: Any) -> float:
    """Return the longest pause between two attempts of *task*, without jitter."""
    retries: int | None = task.max_retries
    if retries == 0:
        return 0
    backoff = float(getattr(task, "retry_backoff", 0))
    if not backoff:
        return _seconds(task.default_retry_delay)
    most = _seconds(getattr(task, "retry_backoff_max", 600))
    if retries is None:
        return most
    return min(most, max(backoff, 1.0) * 2.0 ** (min(retries, 64) - 1))


def _seconds(value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return float(value)
