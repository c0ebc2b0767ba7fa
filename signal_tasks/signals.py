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
from .exceptions import RefusedError, SignalTasksError

_logger = logging.getLogger(__name__)
_namespace = Namespace()

event_published = _namespace.signal(
    "event-published", doc="The broker took every message of an event."
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

LIFECYCLE_SIGNALS = (
    event_published,
    dispatch_failed,
    handler_finished,
    envelope_refused,
    event_discarded,
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


Details: TypeAlias = (
    EventPublished | DispatchFailed | HandlerFinished | EnvelopeRefused | EventDiscarded
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
