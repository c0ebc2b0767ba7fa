"""What a direct send costs in calls of functions, which no busy machine changes.

A budget is what was counted when it was last looked at. Whoever makes a send dearer on
purpose raises it; whoever makes it cheaper lowers it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest
from blinker import Signal
from celery import Celery

from signal_tasks import Bridge
from signal_tasks.dev.broker import running_broker
from tests.in_memory import KEY, Broker, new_celery_app

TOLERANCE = 1.06
"""Other versions of Python and of the libraries below count a little otherwise."""

PAYLOAD = {"user_id": 12345, "email": "someone@example.com", "text": "x" * 140}


@dataclass(slots=True)
class Counter:
    """Counts calls, those of Python's functions and those of C's."""

    calls: int = field(default=0)

    def __call__(self, _frame: FrameType, event: str, _arg: object) -> None:
        self.calls += event in ("call", "c_call")  # pragma: no cover  # not traced


def calls_of(function: Callable[[], object]) -> int:
    """Return how many calls *function* makes, at best of some times."""
    counts: list[int] = []
    gc.disable()
    for _ in range(5):
        counter = Counter()
        sys.setprofile(counter)
        function()
        sys.setprofile(None)
        counts.append(counter.calls)
    gc.enable()
    return min(counts)


def calls_of_send(celery_app: Celery, receivers: int, **options: Any) -> int:
    """Return how many calls a send makes that has so many receivers."""
    bridge = Bridge(
        celery_app, secret_key=KEY, on_error="raise", publish_timeout_seconds=10
    )
    signal = Signal()
    for number in range(receivers):
        bridge.async_receiver(signal, name=f"bill_{number}", **options)(print)
    signal.send("shop", **PAYLOAD)

    calls = calls_of(lambda: signal.send("shop", **PAYLOAD))

    Broker(celery_app).take()
    return calls


@pytest.mark.parametrize(
    ("receivers", "budget"),
    [
        pytest.param(1, 240, id="1"),
        pytest.param(10, 375, id="10"),
        pytest.param(100, 1725, id="100"),
    ],
)
def test_send_into_redis_has_not_grown(receivers: int, budget: int) -> None:
    """A send by the short way makes as many calls as are known to be needed."""
    with running_broker() as broker:
        calls = calls_of_send(new_celery_app(broker_url=broker.url), receivers)

    assert calls <= budget * TOLERANCE


@pytest.mark.parametrize(
    ("receivers", "budget"),
    [
        pytest.param(1, 310, id="1"),
        pytest.param(10, 1304, id="10"),
        pytest.param(100, 10574, id="100"),
    ],
)
def test_send_by_kombu_into_redis_has_not_grown(receivers: int, budget: int) -> None:
    """A send that the short way is closed to makes as many calls as are known."""
    with running_broker() as broker:
        celery_app = new_celery_app(broker_url=broker.url)
        calls = calls_of_send(celery_app, receivers, priority=1)

    assert calls <= budget * TOLERANCE


@pytest.mark.parametrize(
    ("receivers", "budget"),
    [
        pytest.param(1, 247, id="1"),
        pytest.param(10, 1039, id="10"),
        pytest.param(100, 8959, id="100"),
    ],
)
def test_send_by_kombu_has_not_grown(receivers: int, budget: int) -> None:
    """A send through kombu's public functions makes as many calls as are known."""
    calls = calls_of_send(new_celery_app(), receivers)

    assert calls <= budget * TOLERANCE
