"""The way out: sender and kwargs become envelopes and go to the publisher.

In: an event, and the receivers connected to it. Out: one envelope for each receiver
that wants it. What fails for one receiver does not keep the event from the others.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from secrets import token_hex
from uuid import UUID

from .codec import Codec
from .contexts import Contexts
from .delivery.announcing import log_failure, tell_failure
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
from .references import FAIL, MissingPolicy, sending
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
        self._plan_of = functools.lru_cache(maxsize=256)(_plan_for)

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
        departure.leave_for(self._plan_of(tuple(receivers)))
        departure.settle()
        return departure.id

    def rehearse(
        self, host: Host, sending: Sending, receivers: Sequence[Receiver]
    ) -> tuple[list[Envelope], list[DispatchFailed]]:
        """Return what :meth:`dispatch` would publish, and what would fail."""
        departure = _Departure(self._codec, self._contexts, host, sending)
        envelopes = departure.envelopes_for(self._plan_of(tuple(receivers)))
        return envelopes, departure.failures


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What to do for the receivers of a signal, as far as no event changes it."""

    receivers: tuple[Receiver, ...]

    alike: Mapping[tuple[Wanted, MissingPolicy], Sequence[Receiver]]
    """Those that take every event whole, by what they need to travel."""

    choosy: Sequence[Receiver]
    """Those that have to be asked about each event."""

    deliveries: frozenset[Delivery | None]

    is_simple: bool
    """Whether nothing but sender and arguments travels, and to all of them."""


def _plan_for(receivers: tuple[Receiver, ...]) -> _Plan:
    alike: dict[tuple[Wanted, MissingPolicy], list[Receiver]] = {}
    choosy: list[Receiver] = []
    for receiver in receivers:
        if receiver.condition is None and receiver.extract is None:
            alike.setdefault(_needs(receiver), []).append(receiver)
        else:
            choosy.append(receiver)
    return _Plan(
        receivers=receivers,
        alike=alike,
        choosy=choosy,
        deliveries=frozenset(receiver.delivery for receiver in receivers),
        is_simple=not choosy and list(alike) == [((), FAIL)],
    )


_BUFFERED: frozenset[Delivery | None] = frozenset(("buffered",))
_DEFAULT_BUFFERED: frozenset[Delivery | None] = frozenset(("buffered", None))

# What nobody can change while it waits, and the codec never refuses.
_FROZEN = frozenset((type(None), bool, int, float, str, bytes, Decimal, UUID))


class _Departure:
    """One event on its way out, and what kept it from which receivers."""

    def __init__(
        self, codec: Codec, contexts: Contexts, host: Host, sending: Sending
    ) -> None:
        self._codec = codec
        self._contexts = contexts
        self._host = host
        self._sending = sending
        self.id = token_hex(16)
        self._sent_at = datetime.now(UTC)
        self._trail = current_trail()
        self.failures: list[DispatchFailed] = []

    def leave_for(self, plan: _Plan) -> None:
        """Seal and publish an envelope for each receiver that wants the event."""
        try:
            self._check_hops()
            default = (
                self._host.default_delivery if None in plan.deliveries else "direct"
            )
            if plan.is_simple and self._can_wait(plan, default):
                self._host.buffer.put(lambda: self._envelopes_later(plan))
                return
            envelopes = self.envelopes_for(plan, default)
            for delivery, group in _by_delivery(plan, envelopes, default).items():
                self._publish(delivery, group)
        except Exception as error:  # noqa: BLE001  # a host may raise anything
            self._note_failure(_names(plan.receivers), _ours(error, "sending it"))

    def _can_wait(self, plan: _Plan, default: Delivery) -> bool:
        """Tell whether another thread may do the rest, with the same outcome."""
        ways = _DEFAULT_BUFFERED if default == "buffered" else _BUFFERED
        sending = self._sending
        return (
            plan.deliveries <= ways
            and sending.adapt is None
            and not self._trail
            and (
                sending.sender is self._host.application
                or type(sending.sender) in _FROZEN
            )
            and _FROZEN.issuperset(map(type, sending.kwargs.values()))
        )

    def _envelopes_later(self, plan: _Plan) -> list[Envelope]:
        """Seal the envelopes in another thread, where there is nobody to raise to."""
        envelopes = self.envelopes_for(plan)
        for failure in self.failures:
            tell_failure(self._host.application, failure)
        return envelopes

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

    def _check_hops(self) -> None:
        if self._trail and len(self._trail) > self._host.max_hops:
            raise HopLimitError((*self._trail, self._sending.signal))

    def envelopes_for(
        self, plan: _Plan, default: Delivery = "direct"
    ) -> list[Envelope]:
        """Seal an envelope for each receiver that wants the event.

        Args:
            plan: Made for the receivers.
            default: The delivery of those that name none.
        """
        if plan.choosy:
            envelopes, alike = self._chosen(plan, default)
        else:
            envelopes, alike = [], plan.alike
        for group in alike.values():
            envelopes += self._sealed(group, default)
        return envelopes

    def _chosen(
        self, plan: _Plan, default: Delivery
    ) -> tuple[
        list[Envelope], Mapping[tuple[Wanted, MissingPolicy], Sequence[Receiver]]
    ]:
        """Ask the choosy receivers; seal for those that extract, and group the others."""
        envelopes: list[Envelope] = []
        alike = {needs: list(group) for needs, group in plan.alike.items()}
        for receiver in plan.choosy:
            if not self._is_wanted_by(receiver):
                continue
            if receiver.extract is None:
                alike.setdefault(_needs(receiver), []).append(receiver)
            else:
                envelopes += self._sealed([receiver], default)
        return envelopes, alike

    def _is_wanted_by(self, receiver: Receiver) -> bool:
        if receiver.condition is None:
            return True
        sending = self._sending
        try:
            return bool(receiver.condition(sending.sender, **sending.kwargs))
        except Exception as error:  # noqa: BLE001  # it is the user's
            self._note_failure((receiver.name,), _ours(error, "its condition"))
            return False

    def _arguments(self, receiver: Receiver) -> Mapping[str, object]:
        sending = self._sending
        if receiver.extract is None:
            adapt = sending.adapt
            return sending.kwargs if adapt is None else adapt(sending.kwargs)
        try:
            return _checked(receiver.extract(sending.sender, **sending.kwargs))
        except SignalTasksError:
            raise
        except Exception as error:
            raise _ours(error, "its extract") from error

    def _sealed(
        self, receivers: Sequence[Receiver], default: Delivery
    ) -> list[Envelope]:
        """Seal the event for *receivers*, which all need the same to travel."""
        try:
            return self._seal(receivers, self._arguments(receivers[0]), default)
        except Exception as error:  # noqa: BLE001  # users' types are encoded
            self._note_failure(_names(receivers), _ours(error, "sending it"))
            return []

    def _seal(
        self,
        receivers: Sequence[Receiver],
        kwargs: Mapping[str, object],
        default: Delivery,
    ) -> list[Envelope]:
        wanted, missing = _needs(receivers[0])
        with sending(missing, self._host.database):
            payload: dict[str, JSONValue] = {
                "sender": self._encoded_sender(),
                "kwargs": self._codec.encode(dict(kwargs), path="kwargs"),
            }
            context = self._contexts.capture(wanted) if wanted else {}
        return self._host.seal.seal(
            id=self.id,
            signal=self._sending.signal,
            sent_at=self._sent_at,
            trail=self._trail,
            payload=payload,
            context=context,
            receivers=_names(receivers),
            kept={
                receiver.name
                for receiver in receivers
                if (receiver.delivery or default) == "outbox"
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
        except Exception as error:  # noqa: BLE001  # it may be somebody else's publisher
            ours = _ours(error, "publishing")
            names = tuple(envelope.receiver for envelope in envelopes)
            left = ours.receivers if isinstance(ours, PublishError) else names
            self._note_failure(left, ours)

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


def _by_delivery(
    plan: _Plan, envelopes: list[Envelope], default: Delivery
) -> Mapping[Delivery, list[Envelope]]:
    """Put together the envelopes that go the same way."""
    deliveries: dict[str, Delivery] = {
        one.name: one.delivery or default for one in plan.receivers
    }
    ways = set(deliveries.values())
    if len(ways) == 1 and envelopes:
        return {ways.pop(): envelopes}
    groups: dict[Delivery, list[Envelope]] = {}
    for envelope in envelopes:
        groups.setdefault(deliveries[envelope.receiver], []).append(envelope)
    return groups


def _names(receivers: Sequence[Receiver]) -> tuple[str, ...]:
    return tuple(receiver.name for receiver in receivers)


def _ours(error: Exception, doing: str) -> SignalTasksError:
    """Make an error of ours of whatever was raised.

    The user's functions and types, and other people's publishers, raise anything, and
    none of their errors may reach a request that has to go on.
    """
    if isinstance(error, SignalTasksError):
        return error
    ours = DispatchError(
        f"{doing} raised {type(error).__name__}. Mend it where the traceback points; "
        "the event was not sent to this receiver."
    )
    ours.__cause__ = error
    return ours
