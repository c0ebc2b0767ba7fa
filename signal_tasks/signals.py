"""The bridge's reports on itself: blinker signals for logs, metrics and traces.

The sender is the application concerned (the Flask app, or the Celery app of a
``Bridge``); ``details`` is one frozen object. What a receiver of these signals
raises is logged and goes no further.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TypeAlias

from blinker import Namespace, Signal

from .event import Event, quiet
from .exceptions import PublishError, RefusedError, SignalTasksError

_logger = logging.getLogger(__name__)
_namespace = Namespace()

event_published = _namespace.signal(
    "event-published", doc="The broker took every message of an event."
)
event_spooled = _namespace.signal(
    "event-spooled",
    doc="The broker did not take an event, which is kept and published later.",
)
event_withdrawn = _namespace.signal(
    "event-withdrawn",
    doc="An event is not to leave: its transaction was rolled back, or its request failed.",
)
dispatch_failed = _namespace.signal(
    "dispatch-failed", doc="An event did not leave, or not for all its receivers."
)
envelope_refused = _namespace.signal(
    "envelope-refused", doc="A worker got an envelope that it will not run."
)
handler_finished = _namespace.signal(
    "handler-finished", doc="A handler has run in a worker, or raised."
)
event_discarded = _namespace.signal(
    "event-discarded",
    doc="A worker dropped an event, as its receiver wants where something is gone.",
)
duplicate_dropped = _namespace.signal(
    "duplicate-dropped",
    doc="A worker got an event again that its receiver has handled.",
)
dead_letter_kept = _namespace.signal(
    "dead-letter-kept",
    doc="A worker kept as a dead letter what it will not try again.",
)

LIFECYCLE_SIGNALS = (
    event_published,
    event_spooled,
    event_withdrawn,
    dispatch_failed,
    handler_finished,
    envelope_refused,
    event_discarded,
    duplicate_dropped,
    dead_letter_kept,
)
"""All of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPublished:
    """Details of :data:`event_published`.

    .. versionadded:: 0.1
    """

    event_id: str
    signal: str
    receivers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSpooled:
    """Details of :data:`event_spooled`.

    .. versionadded:: 0.1
    """

    event_id: str
    signal: str
    receivers: tuple[str, ...]
    error: PublishError | None
    """Why the broker did not take it; None where it queues up behind others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWithdrawn:
    """Details of :data:`event_withdrawn`.

    .. versionadded:: 0.1
    """

    event_id: str
    signal: str
    receivers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchFailed:
    """Details of :data:`dispatch_failed`.

    .. versionadded:: 0.1
    """

    event_id: str
    signal: str
    receivers: tuple[str, ...]
    """The receivers that this failure keeps the event from."""
    error: SignalTasksError


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeRefused:
    """Details of :data:`envelope_refused`.

    .. versionadded:: 0.1
    """

    receiver: str
    error: RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerFinished:
    """Details of :data:`handler_finished`.

    .. versionadded:: 0.1
    """

    event: Event
    seconds: float
    """How long the handler ran, on the wall's clock."""
    error: BaseException | None
    """What it raised; Celery may try it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDiscarded:
    """Details of :data:`event_discarded`.

    .. versionadded:: 0.1
    """

    event_id: str
    receiver: str
    error: RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateDropped:
    """Details of :data:`duplicate_dropped`.

    .. versionadded:: 0.1
    """

    event_id: str
    receiver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterKept:
    """Details of :data:`dead_letter_kept`.

    .. versionadded:: 0.1
    """

    event_id: str | None
    """None where the envelope could not be read."""
    signal: str | None
    receiver: str
    attempts: int
    """How many attempts have failed; to refuse an envelope is none."""
    error: BaseException
    """What the handler raised last, or why the envelope was refused."""


Details: TypeAlias = (
    EventPublished
    | EventSpooled
    | EventWithdrawn
    | DispatchFailed
    | HandlerFinished
    | EnvelopeRefused
    | EventDiscarded
    | DuplicateDropped
    | DeadLetterKept
)


def report(
    signal: Signal,
    application: object,
    details: Details,
) -> None:
    """Send a lifecycle signal, surviving whatever its receivers do."""
    if not signal.receivers:
        return
    try:
        # Quiet, for an async receiver of these signals would report on itself for ever.
        with quiet():
            signal.send(application, details=details)
    except Exception:
        _logger.exception("a receiver of a lifecycle signal failed")
