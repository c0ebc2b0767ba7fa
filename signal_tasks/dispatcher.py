"""The way out: sender and kwargs become envelopes and go to the publisher.

In: an event, and the receivers connected to it. Out: one envelope for each receiver
that wants it. What fails for one receiver does not keep the event from the others.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from .announcing import log_failure
from .codec import Codec
from .contexts import Contexts
from .envelope import Envelope
from .event import current_trail
from .exceptions import (
    DispatchError,
    EncodeError,
    HopLimitError,
    PublishError,
    SignalTasksError,
)
from .host import Host
from .references import MissingPolicy, sending
from .registry import Receiver
from .signals import (
    DispatchFailed,
    dispatch_failed,
    report,
)
from .typing import Adapt, Delivery, JSONValue, Wanted, named_items


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One ``signal.send(...)``, as the bridge sees it."""

    signal: str
    """The signal's name."""

    sender: object
    kwargs: Mapping[str, object]

    adapt: Adapt | None = None
    """Makes :attr:`kwargs` travel, for receivers that extract nothing."""


class Dispatcher:
    """Sends events to the receivers' queues.

    Args:
        codec: Encodes senders and keyword arguments.
        contexts: Captures the surroundings that receivers ask for.
    """

    def __init__(self, codec: Codec, contexts: Contexts) -> None:
        self._codec = codec
        self._contexts = contexts

    def dispatch(
        self, host: Host, sending: Sending, receivers: Sequence[Receiver]
    ) -> str:
        """Send one event to all of *receivers* that want it.

        Args:
            host: The application that the event belongs to.
            sending: The event.
            receivers: Those connected to it.

        Returns:
            The event's identifier.

        Raises:
            SignalTasksError: It did not leave for all of them, and the host wants to
                hear of it here. Otherwise that is logged and reported.
        """
        departure = _Departure(self._codec, self._contexts, host, sending)
        departure.leave_for(receivers)
        departure.settle()
        return departure.id

    def rehearse(
        self, host: Host, sending: Sending, receivers: Sequence[Receiver]
    ) -> tuple[list[Envelope], list[DispatchFailed]]:
        """Return what :meth:`dispatch` would publish, and what would fail."""
        departure = _Departure(self._codec, self._contexts, host, sending)
        return departure.envelopes_for(receivers), departure.failures


class _Departure:
    """One event on its way out, and what kept it from which receivers."""

    def __init__(
        self, codec: Codec, contexts: Contexts, host: Host, sending: Sending
    ) -> None:
        self._codec = codec
        self._contexts = contexts
        self._host = host
        self._sending = sending
        self.id = uuid4().hex
        self._sent_at = datetime.now(UTC)
        self._trail = current_trail()
        self.failures: list[DispatchFailed] = []

    def leave_for(self, receivers: Sequence[Receiver]) -> None:
        """Seal and publish an envelope for each receiver that wants the event."""
        with self._noting_failure(receivers):
            self._check_hops()
            envelopes = self.envelopes_for(receivers)
            for delivery, group in self._by_delivery(receivers, envelopes).items():
                self._publish(delivery, group)

    def settle(self) -> None:
        """Report what failed, and raise or log it, as the host wants it."""
        if not self.failures:
            return
        for failure in self.failures:
            report(dispatch_failed, self._host.application, failure)
        if self._host.raises:
            first, *others = (failure.error for failure in self.failures)
            for other in others:
                first.add_note(f"Also: {other}")
            raise first
        for failure in self.failures:
            log_failure(failure)

    def _by_delivery(
        self, receivers: Sequence[Receiver], envelopes: Sequence[Envelope]
    ) -> dict[Delivery, list[Envelope]]:
        """Put together the envelopes that go the same way."""
        deliveries = {one.name: self._delivery_of(one) for one in receivers}
        groups: dict[Delivery, list[Envelope]] = {}
        for envelope in envelopes:
            groups.setdefault(deliveries[envelope.receiver], []).append(envelope)
        return groups

    def _delivery_of(self, receiver: Receiver) -> Delivery:
        return receiver.delivery or self._host.default_delivery

    def _check_hops(self) -> None:
        if len(self._trail) > self._host.max_hops:
            raise HopLimitError((*self._trail, self._sending.signal))

    def envelopes_for(self, receivers: Sequence[Receiver]) -> list[Envelope]:
        """Seal an envelope for each receiver that wants the event."""
        envelopes: list[Envelope] = []
        alike: dict[tuple[Wanted, MissingPolicy], list[Receiver]] = {}
        for receiver in receivers:
            with self._noting_failure([receiver]):
                if not self._is_wanted_by(receiver):
                    continue
                if receiver.extract is None:
                    alike.setdefault(_needs(receiver), []).append(receiver)
                else:
                    with _naming_failure("its extract"):
                        extracted = receiver.extract(
                            self._sending.sender, **self._sending.kwargs
                        )
                    envelopes += self._seal([receiver], _checked(extracted))
        for group in alike.values():
            with self._noting_failure(group):
                envelopes += self._seal(group, self._adapted())
        return envelopes

    def _adapted(self) -> Mapping[str, object]:
        kwargs, adapt = self._sending.kwargs, self._sending.adapt
        return kwargs if adapt is None else adapt(kwargs)

    def _is_wanted_by(self, receiver: Receiver) -> bool:
        if receiver.condition is None:
            return True
        with _naming_failure("its condition"):
            return bool(
                receiver.condition(self._sending.sender, **self._sending.kwargs)
            )

    def _seal(
        self, receivers: Sequence[Receiver], kwargs: Mapping[str, object]
    ) -> list[Envelope]:
        """Seal the event for *receivers*, which all need the same to travel."""
        wanted, missing = _needs(receivers[0])
        with sending(missing, self._host.database):
            payload: dict[str, JSONValue] = {
                "sender": self._encoded_sender(),
                "kwargs": self._codec.encode(dict(kwargs), path="kwargs"),
            }
            context = self._contexts.capture(wanted)
        return self._host.seal.seal(
            id=self.id,
            signal=self._sending.signal,
            sent_at=self._sent_at,
            trail=self._trail,
            payload=payload,
            context=context,
            receivers=[receiver.name for receiver in receivers],
            kept=[
                receiver.name
                for receiver in receivers
                if self._delivery_of(receiver) == "outbox"
            ],
        )

    def _encoded_sender(self) -> JSONValue:
        try:
            return self._codec.encode(self._sending.sender, path="sender")
        except EncodeError as error:
            if error.path != "sender":
                raise
            raise EncodeError(
                path=error.path,
                type_name=error.type_name,
                reason=f"{error.reason} Or send the signal with a sender that always "
                "travels: None, a string, an integer or the Flask app.",
            ) from error

    def _publish(self, delivery: Delivery, envelopes: Sequence[Envelope]) -> None:
        names = tuple(envelope.receiver for envelope in envelopes)
        try:
            with _naming_failure("publishing"):
                self._host.delivery(delivery).publish(envelopes)
        except SignalTasksError as error:
            left = error.receivers if isinstance(error, PublishError) else names
            self._note_failure(left, error)

    @contextmanager
    def _noting_failure(self, receivers: Sequence[Receiver]) -> Generator[None]:
        try:
            with _naming_failure("sending it"):
                yield
        except SignalTasksError as error:
            self._note_failure(tuple(receiver.name for receiver in receivers), error)

    def _note_failure(
        self, receivers: tuple[str, ...], error: SignalTasksError
    ) -> None:
        if isinstance(error, DispatchError) and error.receiver is None:
            error.receiver = ", ".join(receivers)
        self.failures.append(
            DispatchFailed(
                event_id=self.id,
                signal=self._sending.signal,
                receivers=receivers,
                error=error,
            )
        )


def _needs(receiver: Receiver) -> tuple[Wanted, MissingPolicy]:
    """Return what decides how an event is encoded for *receiver*."""
    return receiver.context, receiver.missing


def _checked(extracted: object) -> dict[str, object]:
    named = named_items(extracted)
    if named is None:
        raise DispatchError(
            "its extract returned something else than a dict of keyword arguments "
            f"({type(extracted).__name__}). Return a dict whose keys are strings."
        )
    return named


@contextmanager
def _naming_failure(doing: str) -> Generator[None]:
    """Make an error of ours of whatever is raised inside.

    The user's functions and types, and other people's publishers, run inside, and none
    of their errors may reach a request that has to go on.
    """
    try:
        yield
    except SignalTasksError:
        raise
    except Exception as error:
        raise DispatchError(
            f"{doing} raised {type(error).__name__}. Mend it where the traceback points; "
            "the event was not sent to this receiver."
        ) from error
