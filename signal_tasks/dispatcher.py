"""The way out: sender and kwargs become envelopes and go to the publisher.

In: an event, and the receivers connected to it. Out: one envelope for each receiver
that wants it. What fails for one receiver does not keep the event from the others.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
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
        deliveries: dict[str, Delivery] = {
            one.name: self._delivery_of(one) for one in receivers
        }
        ways = set(deliveries.values())
        if len(ways) == 1 and envelopes:
            return {ways.pop(): list(envelopes)}
        groups: dict[Delivery, list[Envelope]] = {}
        for envelope in envelopes:
            groups.setdefault(deliveries[envelope.receiver], []).append(envelope)
        return groups

    def _delivery_of(self, receiver: Receiver) -> Delivery:
        return receiver.delivery or self._default_delivery

    @cached_property
    def _default_delivery(self) -> Delivery:
        return self._host.default_delivery

    def _check_hops(self) -> None:
        if self._trail and len(self._trail) > self._host.max_hops:
            raise HopLimitError((*self._trail, self._sending.signal))

    def envelopes_for(self, receivers: Sequence[Receiver]) -> list[Envelope]:
        """Seal an envelope for each receiver that wants the event."""
        envelopes: list[Envelope] = []
        plain: list[Receiver] = []
        for receiver in receivers:
            if receiver.condition is None and receiver.extract is None:
                plain.append(receiver)
                continue
            with self._noting_failure([receiver]):
                if not self._is_wanted_by(receiver):
                    continue
                if receiver.extract is None:
                    plain.append(receiver)
                    continue
                with _naming_failure("its extract"):
                    extracted = receiver.extract(
                        self._sending.sender, **self._sending.kwargs
                    )
                envelopes += self._seal([receiver], _checked(extracted))
        for group in _alike(plain):
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
            kept={
                receiver.name
                for receiver in receivers
                if self._delivery_of(receiver) == "outbox"
            },
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
        try:
            self._host.delivery(delivery).publish(envelopes)
        except Exception as error:  # noqa: BLE001  # see _as_ours
            failure = _as_ours(error, "publishing")
            left = (
                failure.receivers
                if isinstance(failure, PublishError)
                else tuple(envelope.receiver for envelope in envelopes)
            )
            self.note_failure(left, failure)

    def _noting_failure(self, receivers: Sequence[Receiver]) -> _NotingFailure:
        return _NotingFailure(self, receivers)

    def note_failure(self, receivers: tuple[str, ...], error: SignalTasksError) -> None:
        """Note that *error* kept the event from *receivers*."""
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


class _NotingFailure:
    """Notes what is raised inside, and that it kept the event from some receivers.

    A generator would do the same at several times the price, at each send.
    """

    __slots__ = ("_departure", "_receivers")

    def __init__(self, departure: _Departure, receivers: Sequence[Receiver]) -> None:
        self._departure = departure
        self._receivers = receivers

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(exc, Exception):
            return False
        names = tuple(receiver.name for receiver in self._receivers)
        self._departure.note_failure(names, _as_ours(exc, "sending it"))
        return True


def _alike(receivers: Sequence[Receiver]) -> Iterable[list[Receiver]]:
    """Put together the receivers that need the same to travel."""
    groups: dict[tuple[Wanted, MissingPolicy], list[Receiver]] = {}
    # Neighbours are mostly alike, and to compare them costs less than to hash them.
    needs: tuple[Wanted, MissingPolicy] | None = None
    group: list[Receiver] = []
    for receiver in receivers:
        if _needs(receiver) != needs:
            needs = _needs(receiver)
            group = groups.setdefault(needs, [])
        group.append(receiver)
    return groups.values()


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
    """Make an error of ours of whatever is raised inside."""
    try:
        yield
    except SignalTasksError:
        raise
    except Exception as error:
        raise _as_ours(error, doing) from error


def _as_ours(error: Exception, doing: str) -> SignalTasksError:
    """Return *error*, or one of ours that it is the cause of.

    The user's functions and types, and other people's publishers, raise what they like,
    and none of that may reach a request that has to go on.
    """
    if isinstance(error, SignalTasksError):
        return error
    ours = DispatchError(
        f"{doing} raised {type(error).__name__}. Mend it where the traceback points; "
        "the event was not sent to this receiver."
    )
    ours.__cause__ = error
    return ours
