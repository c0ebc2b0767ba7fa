"""The bridge's reports on itself."""

from __future__ import annotations

import logging

import pytest
from blinker import Signal

from signal_tasks import dispatch_failed, envelope_refused, event_published
from signal_tasks.event import is_quiet
from signal_tasks.signals import EventPublished, report

DETAILS = EventPublished(event_id="e1", signal="order-placed", receivers=("shop.bill",))


@pytest.mark.parametrize(
    "lifecycle_signal",
    [event_published, dispatch_failed, envelope_refused],
    ids=lambda one: one.name,
)
def test_lifecycle_signals_say_when_they_are_sent(lifecycle_signal: Signal) -> None:
    """Each lifecycle signal's docstring is about it, and not about signals in general."""
    assert lifecycle_signal.__doc__ != Signal.__doc__


def test_report_sends_application_and_details(signal: Signal) -> None:
    """A receiver gets the application as the sender, and one object with the details."""
    heard: list[tuple[object, object]] = []

    @signal.connect
    def note(sender: object, details: object) -> None:
        heard.append((sender, details))

    report(signal, "the app", DETAILS)

    assert heard == [("the app", DETAILS)]


def test_report_survives_its_receivers(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    """What an observer raises is logged with its traceback and goes no further."""

    @signal.connect
    def fail(_sender: object, **_: object) -> None:
        raise ZeroDivisionError

    report(signal, "the app", DETAILS)

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_report_is_quiet(signal: Signal) -> None:
    """Signals that an observer sends are the bridge's own work."""
    heard: list[bool] = []

    @signal.connect
    def note(_sender: object, **_: object) -> None:
        heard.append(is_quiet())

    report(signal, "the app", DETAILS)

    assert heard == [True]
