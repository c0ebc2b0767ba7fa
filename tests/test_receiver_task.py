"""How runs of a receiver's task begin and end: messages that come back or have to wait."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from blinker import Signal
from celery.exceptions import Reject
from celery.worker.request import Request
from kombu.exceptions import OperationalError

from signal_tasks import (
    Bridge,
    StillClaimedError,
    StoreError,
    dead_letter_kept,
    envelope_refused,
)
from signal_tasks.dead_letters import DeadLetter
from tests.in_memory import KEY, Broker, new_celery_app

AT_ONCE: dict[str, Any] = {"retry_backoff": False, "default_retry_delay": 0}


class Shelf:
    """Keeps dead letters, and counts redeliveries, or fails to."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.error: Exception | None = None

    def keep(self, letter: DeadLetter) -> None:
        """Keep *letter*."""
        self.letters.append(letter)

    def count_redelivery(self, event_id: str, receiver: str) -> int:
        """Count one more."""
        if self.error is not None:
            raise self.error
        self.counts[event_id, receiver] += 1
        return self.counts[event_id, receiver]


def store_of(shelf: Shelf | None) -> Any:
    """Return a store that is *shelf*."""
    return SimpleNamespace(dead_letters=shelf, inbox=shelf)


@pytest.fixture
def shelf() -> Shelf:
    """Return what stands for the store."""
    return Shelf()


@pytest.fixture
def bridge(broker: Broker, shelf: Shelf) -> Bridge:
    """Return a bridge with a store."""
    return Bridge(
        broker.celery_app, secret_key=KEY, on_error="raise", store=store_of(shelf)
    )


def execute(broker: Broker, message: Any, *, is_redelivered: bool = False) -> object:
    """Do what a worker's pool does with *message*."""
    message.delivery_info["redelivered"] = is_redelivered
    return Request(message, app=broker.celery_app).execute()


def raising(error: Exception) -> Callable[..., None]:
    """Return a handler that raises *error*."""

    def handler(sender: object) -> None:
        raise error

    return handler


# -- messages that come back


def test_message_that_comes_back_runs_again(
    bridge: Bridge, broker: Broker, shelf: Shelf, signal: Signal
) -> None:
    """A message that a broker hands out again runs, and is counted."""
    runs: list[object] = []
    bridge.async_receiver(signal, name="bill")(runs.append)
    event_id = signal.send("web")[0][1]
    (message,) = broker.take()

    for _ in range(5):
        execute(broker, message, is_redelivered=True)

    assert runs == ["web"] * 5
    assert shelf.counts == {(event_id, "bill"): 5}
    assert shelf.letters == []


def test_message_that_comes_back_too_often_is_a_dead_letter(
    bridge: Bridge, broker: Broker, shelf: Shelf, signal: Signal
) -> None:
    """What may be killing its worker is kept, told of, and does not run again."""
    runs: list[object] = []
    bridge.async_receiver(signal, name="bill")(runs.append)
    refused: list[str] = []
    signal.send("web")
    (message,) = broker.take()

    with envelope_refused.connected_to(
        lambda _, details: refused.append(type(details.error).__name__)
    ):
        for _ in range(6):
            execute(broker, message, is_redelivered=True)

    assert len(runs) == 5
    (letter,) = shelf.letters
    assert (letter.receiver, letter.reason) == ("bill", "TooManyDeliveriesError")
    assert letter.text == message.payload[0][0]
    assert "SIGNAL_TASKS_MAX_DELIVERIES" in letter.error
    assert refused == ["TooManyDeliveriesError"]


def test_user_chooses_how_often_a_message_may_come_back(
    broker: Broker, shelf: Shelf, signal: Signal
) -> None:
    """The limit is a setting."""
    bridge = Bridge(
        broker.celery_app,
        secret_key=KEY,
        on_error="raise",
        store=store_of(shelf),
        max_deliveries=1,
    )
    runs: list[object] = []
    bridge.async_receiver(signal, name="bill")(runs.append)
    signal.send("web")
    (message,) = broker.take()

    for _ in range(2):
        execute(broker, message, is_redelivered=True)

    assert runs == ["web"]
    assert [letter.reason for letter in shelf.letters] == ["TooManyDeliveriesError"]


def test_first_delivery_is_not_counted(
    bridge: Bridge, broker: Broker, shelf: Shelf, signal: Signal
) -> None:
    """The store has nothing to do with a message that comes for the first time."""
    bridge.async_receiver(signal, name="bill")(lambda _: None)
    signal.send()

    broker.run()

    assert shelf.counts == {}


def test_message_that_nobody_marked_is_counted_by_its_task(
    bridge: Bridge, broker: Broker, shelf: Shelf
) -> None:
    """Without the event's identifier in its headers, Celery's stands for it."""
    bridge.async_receiver(Signal(), name="bill")(print)
    broker.celery_app.send_task("bill", ["garbage"], task_id="t1")
    (message,) = broker.take()

    execute(broker, message, is_redelivered=True)

    assert shelf.counts == {("t1", "bill"): 1}


def test_store_that_cannot_count_stops_nothing(
    bridge: Bridge,
    broker: Broker,
    shelf: Shelf,
    signal: Signal,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A message that comes back runs, and the log says what is wrong with the store."""
    shelf.error = StoreError("the disk is full")
    runs: list[object] = []
    bridge.async_receiver(signal, name="bill")(runs.append)
    event_id = signal.send("web")[0][1]
    (message,) = broker.take()

    execute(broker, message, is_redelivered=True)

    assert runs == ["web"]
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.name == "signal_tasks.tasks.receiver_task"
    assert event_id in record.message
    assert "the disk is full" in str(record.exc_text)


def test_without_a_store_nothing_is_counted(broker: Broker, signal: Signal) -> None:
    """Where nothing is kept, a message runs as often as it comes."""
    bridge = Bridge(broker.celery_app, secret_key=KEY, on_error="raise")
    runs: list[object] = []
    bridge.async_receiver(signal, name="bill")(runs.append)
    signal.send("web")
    (message,) = broker.take()

    for _ in range(9):
        execute(broker, message, is_redelivered=True)

    assert len(runs) == 9


# -- messages that have to wait


def test_event_that_is_claimed_elsewhere_is_tried_again(
    bridge: Bridge, broker: Broker, shelf: Shelf, signal: Signal
) -> None:
    """It waits as long as it is told to, and the attempt does not count."""
    bridge.async_receiver(signal, name="bill", max_retries=0)(
        raising(StillClaimedError("not now", seconds=30))
    )
    event_id = signal.send("web")[0][1]
    (first,) = broker.take()
    first.headers["retries"] = 2

    execute(broker, first)

    (second,) = broker.take()
    wait = datetime.fromisoformat(second.headers["eta"]) - datetime.now(UTC)
    assert 25 < wait.total_seconds() <= 30
    assert second.headers["retries"] == 2
    assert second.headers["signal_tasks_event"] == event_id
    assert second.payload[0] == first.payload[0]
    assert shelf.letters == []


def test_event_that_has_to_wait_is_no_failure(
    bridge: Bridge,
    broker: Broker,
    signal: Signal,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither Celery nor our signals hear of an error."""
    caplog.set_level(logging.INFO)
    bridge.async_receiver(signal, name="bill")(
        raising(StillClaimedError("not now", seconds=30))
    )
    signal.send("web")
    heard: list[object] = []

    with dead_letter_kept.connected_to(lambda _, details: heard.append(details)):
        broker.run()

    assert heard == []
    assert not [one for one in caplog.records if one.levelno > logging.WARNING]
    assert "tried again in 30 seconds: not now" in caplog.text


def test_event_that_has_to_wait_goes_back_where_the_broker_refuses(
    bridge: Bridge,
    broker: Broker,
    shelf: Shelf,
    signal: Signal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that takes no new message has the old one still."""
    bridge.async_receiver(signal, name="bill")(
        raising(StillClaimedError("not now", seconds=30))
    )
    signal.send("web")
    (message,) = broker.take()
    monkeypatch.setattr(broker.celery_app, "send_task", raising_any(OSError()))

    outcome: Any = execute(broker, message)

    assert isinstance(outcome.exception.exc, Reject)
    assert outcome.exception.exc.requeue
    assert shelf.letters == []


def raising_any(error: Exception) -> Callable[..., None]:
    """Return a function that takes anything and raises *error*."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_direct_call_that_has_to_wait_raises(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """Who calls the task as a function hears what is the matter."""
    bridge.async_receiver(signal, name="bill")(
        raising(StillClaimedError("not now", seconds=30))
    )
    signal.send("web")
    (message,) = broker.take()

    with pytest.raises(StillClaimedError, match="not now"):
        broker.celery_app.tasks["bill"](*message.payload[0])


# -- retries that the broker does not take


def test_retry_goes_back_where_the_broker_cannot_be_reached(
    bridge: Bridge,
    broker: Broker,
    shelf: Shelf,
    signal: Signal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker has the message still, and hands it out when it is there again."""
    bridge.async_receiver(signal, name="bill", **AT_ONCE)(raising(OSError("why")))
    signal.send("web")
    (message,) = broker.take()
    monkeypatch.setattr(broker.celery_app, "send_task", raising_any(OperationalError()))

    outcome: Any = execute(broker, message)

    assert isinstance(outcome.exception.exc, Reject)
    assert outcome.exception.exc.requeue
    assert shelf.letters == []


def test_retry_is_kept_where_the_message_is_acknowledged_already(
    shelf: Shelf, signal: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With early acknowledgement the broker has nothing to hand out again."""
    broker = Broker(new_celery_app(task_acks_late=False))
    bridge = Bridge(
        broker.celery_app, secret_key=KEY, on_error="raise", store=store_of(shelf)
    )
    bridge.async_receiver(signal, name="bill", **AT_ONCE)(raising(OSError("why")))
    signal.send("web")
    (message,) = broker.take()
    monkeypatch.setattr(broker.celery_app, "send_task", raising_any(OperationalError()))

    execute(broker, message)

    assert [letter.reason for letter in shelf.letters] == ["OSError"]
