"""What is told of envelopes on their way to the broker."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from signal_tasks import (
    DispatchError,
    PublishError,
    dispatch_failed,
    event_published,
    event_spooled,
    event_withdrawn,
)
from signal_tasks.delivery.announcing import (
    Announcing,
    Unattended,
    tell_spooled,
    tell_withdrawn,
)
from tests.envelopes import envelope
from tests.hosts import PlainHost, RecordingPublisher

EVENTS = [envelope("one"), envelope("two"), envelope("one", "pack")]


@pytest.fixture
def publisher() -> RecordingPublisher:
    """Return what takes the envelopes."""
    return RecordingPublisher()


@pytest.fixture
def told() -> Iterator[list[tuple[str, Any]]]:
    """Return the reports, by the name of their signal."""
    reports: list[tuple[str, Any]] = []

    def note(name: str) -> Any:
        def receive(sender: object, details: object) -> None:
            reports.append((name, details))

        return receive

    signals = (event_published, dispatch_failed, event_spooled, event_withdrawn)
    notes = {signal: note(signal.name) for signal in signals}
    for signal, receive in notes.items():
        signal.connect(receive)
    yield reports
    for signal, receive in notes.items():
        signal.disconnect(receive)


def test_each_event_that_was_taken_is_reported(
    publisher: RecordingPublisher, told: list[tuple[str, Any]]
) -> None:
    """One report tells of an event and of all its receivers."""
    Announcing(PlainHost(publisher=publisher)).publish(EVENTS)

    assert publisher.batches == [EVENTS]
    assert [(name, one.event_id, one.receivers) for name, one in told] == [
        ("event-published", "one", ("bill", "pack")),
        ("event-published", "two", ("bill",)),
    ]


def test_event_that_was_not_taken_is_not_reported(
    publisher: RecordingPublisher, told: list[object]
) -> None:
    """What a publisher raises goes on, and nothing is said to have been published."""
    publisher.error = PublishError("gone", receivers=("bill",))

    with pytest.raises(PublishError):
        Announcing(PlainHost(publisher=publisher)).publish(EVENTS)

    assert told == []


def test_event_that_was_taken_with_others_that_were_not_is_reported(
    publisher: RecordingPublisher, told: list[tuple[str, Any]]
) -> None:
    """A batch that fails in part has been published in part."""
    publisher.error = PublishError("gone", receivers=("pack",))

    with pytest.raises(PublishError):
        Announcing(PlainHost(publisher=publisher)).publish(EVENTS)

    assert [(name, one.event_id) for name, one in told] == [("event-published", "two")]


def test_failure_that_nobody_waits_for_is_told(
    publisher: RecordingPublisher,
    told: list[tuple[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Those of each event that did not leave are reported and logged, and no others."""
    publisher.error = PublishError("gone", receivers=("pack",))

    Unattended(publisher, "shop").publish(EVENTS)

    ((name, details),) = told
    assert (name, details.event_id, details.receivers) == (
        "dispatch-failed",
        "one",
        ("pack",),
    )
    assert details.error is publisher.error
    assert "event not sent: " in caplog.text


def test_any_error_that_nobody_waits_for_is_told(
    publisher: RecordingPublisher, told: list[tuple[str, Any]]
) -> None:
    """An error that is not ours becomes ours, about every event."""
    publisher.error = KeyError("secret")

    Unattended(publisher, "shop").publish(EVENTS)

    assert [details.event_id for _, details in told] == ["one", "two"]
    error = told[0][1].error
    assert isinstance(error, DispatchError)
    assert error.__cause__ is publisher.error
    assert "secret" not in str(error)


def test_what_leaves_is_not_told_of(
    publisher: RecordingPublisher, told: list[object]
) -> None:
    """Envelopes that are taken are nobody's failure."""
    Unattended(publisher, "shop").publish(EVENTS)

    assert publisher.batches == [EVENTS]
    assert told == []


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (PublishError("gone", receivers=("bill",)), logging.WARNING),
        (None, logging.DEBUG),
    ],
    ids=["not taken", "behind others"],
)
def test_event_that_waits_is_told_of(
    told: list[tuple[str, Any]],
    caplog: pytest.LogCaptureFixture,
    error: PublishError | None,
    level: int,
) -> None:
    """A warning says why an event is kept; those behind it make no noise."""
    caplog.set_level(logging.DEBUG)

    tell_spooled("shop", [envelope("one")], error)

    ((name, details),) = told
    assert (name, details.event_id, details.error) == ("event-spooled", "one", error)
    (record,) = caplog.records
    assert record.levelno == level


def test_event_that_is_withdrawn_is_told_of(told: list[tuple[str, Any]]) -> None:
    """An event that is not to leave is reported with its receivers."""
    tell_withdrawn("shop", EVENTS)

    assert [(name, one.event_id, one.receivers) for name, one in told] == [
        ("event-withdrawn", "one", ("bill", "pack")),
        ("event-withdrawn", "two", ("bill",)),
    ]
