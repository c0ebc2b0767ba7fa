"""Errors and lifecycle signals as users handle them. Checked and never run."""

from __future__ import annotations

from typing import assert_type

from blinker import Signal

from signal_tasks import (
    DecodeError,
    DispatchError,
    EncodeError,
    HopLimitError,
    PublishError,
    RefusedError,
    SignalTasksError,
    UnsupportedVersionError,
    dispatch_failed,
    envelope_refused,
    event_published,
)
from signal_tasks.signals import DispatchFailed, EnvelopeRefused, EventPublished


def send(signal: Signal) -> None:
    """Ask errors for their facts, so that nobody parses a message."""
    try:
        signal.send()
    except EncodeError as error:
        assert_type(error.path, str)
        assert_type(error.type_name, str)
    except PublishError as error:
        assert_type(error.receivers, tuple[str, ...])
    except HopLimitError as error:
        assert_type(error.trail, tuple[str, ...])
    except DispatchError as error:
        assert_type(error.receiver, str | None)


@dispatch_failed.connect
def count_failure(sender: object, details: DispatchFailed) -> None:
    """Count what did not leave."""
    assert_type(details.error, SignalTasksError)
    assert_type(details.receivers, tuple[str, ...])


@event_published.connect
def count_event(sender: object, details: EventPublished) -> None:
    """Count what left."""
    assert_type(details.event_id, str)


@envelope_refused.connect
def count_refusal(sender: object, details: EnvelopeRefused) -> None:
    """Count what was refused, and why."""
    error = details.error
    assert_type(error, RefusedError)
    if isinstance(error, DecodeError):
        assert_type(error.tag, str | None)
    elif isinstance(error, UnsupportedVersionError):
        assert_type(error.supported, tuple[int, ...])
