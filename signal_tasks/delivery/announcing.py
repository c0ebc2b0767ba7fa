"""Publishers that tell what became of the envelopes that they pass on.

In: envelopes, from a delivery. Out: the same, to the next publisher; and reports.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from ..envelope import Envelope
from ..exceptions import DispatchError, PublishError, SignalTasksError
from ..host import Publisher
from ..signals import (
    DispatchFailed,
    EventPublished,
    EventSpooled,
    EventWithdrawn,
    dispatch_failed,
    event_published,
    event_spooled,
    event_withdrawn,
    report,
)

_logger = logging.getLogger(__name__)

BATCH_SIZE = 100
"""How many envelopes leave at once: a publisher has a time for all of them together."""


class Sender(Protocol):
    """An application, as far as it is told of here."""

    @property
    def application(self) -> object:
        """What observers know it by."""
        ...

    @property
    def publisher(self) -> Publisher:
        """The way to its broker of now, for its Celery app may change."""
        ...


class Announcing:
    """Reports the events whose envelopes an application's publisher has taken.

    Args:
        sender: The application.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Pass *envelopes* on."""
        try:
            self._sender.publisher.publish(envelopes)
        except PublishError as error:
            self._tell(envelopes, error)
            raise
        if event_published.receivers:
            self._tell(envelopes, None)

    def _tell(self, envelopes: Sequence[Envelope], error: PublishError | None) -> None:
        for event in events_of(envelopes):
            if any(_is_held_back(one, error) for one in event):
                continue
            details = EventPublished(
                event_id=event[0].id,
                signal=event[0].signal,
                receivers=names_in(event),
            )
            report(event_published, self._sender.application, details)


class Unattended:
    """Survives what a publisher raises, for the ``send()`` that it was for is over.

    Args:
        publisher: Takes the envelopes.
        application: Whose events they are.
    """

    def __init__(self, publisher: Publisher, application: object) -> None:
        self._publisher = publisher
        self._application = application

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Pass *envelopes* on; log and report those that do not leave."""
        for start in range(0, len(envelopes), BATCH_SIZE):
            is_whole = len(envelopes) <= BATCH_SIZE
            batch = envelopes if is_whole else envelopes[start : start + BATCH_SIZE]
            try:
                self._publisher.publish(batch)
            except SignalTasksError as error:
                self._tell(batch, error)
            except Exception as error:  # noqa: BLE001  # there is nobody to raise it to
                failure = DispatchError(f"publishing raised {type(error).__name__}.")
                failure.__cause__ = error
                self._tell(batch, failure)

    def _tell(self, envelopes: Sequence[Envelope], error: SignalTasksError) -> None:
        for event in events_of(envelopes):
            kept_from = [one for one in event if _is_held_back(one, error)]
            if kept_from:
                tell_failure(self._application, failure_of(kept_from, error))


def _is_held_back(envelope: Envelope, error: SignalTasksError | None) -> bool:
    if error is None:
        return False
    if not isinstance(error, PublishError):
        return True
    return error.holds_back(envelope.id, envelope.receiver)


def failure_of(event: Sequence[Envelope], error: SignalTasksError) -> DispatchFailed:
    """Describe that the envelopes in *event*, which are all of one, did not leave."""
    return DispatchFailed(
        event_id=event[0].id,
        signal=event[0].signal,
        receivers=names_in(event),
        error=error,
    )


def tell_failure(application: object, failure: DispatchFailed) -> None:
    """Report and log an event that did not leave."""
    report(dispatch_failed, application, failure)
    log_failure(failure)


def log_failure(failure: DispatchFailed) -> None:
    """Log an event that did not leave."""
    _logger.error(
        "event not sent: %s",
        failure.error,
        exc_info=failure.error,
        extra=_facts(failure),
    )


def tell_spooled(
    application: object, envelopes: Sequence[Envelope], error: PublishError | None
) -> None:
    """Report and log events that wait for the broker.

    Args:
        application: Whose events they are.
        envelopes: Those that wait.
        error: Why the broker did not take them; None where they only queue up behind
            others that it did not take.
    """
    events = events_of(envelopes)
    _logger.log(
        logging.DEBUG if error is None else logging.WARNING,
        "%d events kept until the broker is back: %s",
        len(events),
        error or "they queue up behind others",
        extra={
            "signal_tasks.event_ids": [event[0].id for event in events],
            "signal_tasks.receivers": names_in(envelopes),
        },
    )
    for event in events:
        details = EventSpooled(
            event_id=event[0].id,
            signal=event[0].signal,
            receivers=names_in(event),
            error=error,
        )
        report(event_spooled, application, details)


def tell_withdrawn(application: object, envelopes: Sequence[Envelope]) -> None:
    """Report and log events that are not to leave, for what they tell of is undone."""
    for event in events_of(envelopes):
        details = EventWithdrawn(
            event_id=event[0].id, signal=event[0].signal, receivers=names_in(event)
        )
        report(event_withdrawn, application, details)
        _logger.debug("event withdrawn", extra=_facts(details))


def events_of(envelopes: Iterable[Envelope]) -> list[list[Envelope]]:
    """Put together the envelopes of each event, in the events' order."""
    events: dict[str, list[Envelope]] = {}
    for envelope in envelopes:
        events.setdefault(envelope.id, []).append(envelope)
    return list(events.values())


def names_in(envelopes: Iterable[Envelope]) -> tuple[str, ...]:
    """Return the names of the receivers that *envelopes* are for."""
    return tuple(envelope.receiver for envelope in envelopes)


def _facts(
    details: DispatchFailed | EventWithdrawn,
) -> dict[str, object]:
    return {
        "signal_tasks.event_id": details.event_id,
        "signal_tasks.signal": details.signal,
        "signal_tasks.receivers": details.receivers,
    }
