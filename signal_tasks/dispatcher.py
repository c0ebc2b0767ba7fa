"""The way out: sender and kwargs become envelopes and go to the publisher.

In: an event, and the receivers connected to it. Out: one envelope for each receiver
that wants it. What fails for one receiver does not keep the event from the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from .audience import Audience, Group, groups_of
from .codec import Codec, are_plain, plain_entries
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
from .references import MissingPolicy, sending
from .registry import Receiver
from .signals import (
    DispatchFailed,
    dispatch_failed,
    report,
)
from .typing import Adapt, Delivery, JSONValue, named_items


@dataclass(slots=True)
class Sending:
    """One ``signal.send(...)``, as the bridge sees it. Nobody changes one."""

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

    def dispatch(self, host: Host, sending: Sending, audience: Audience) -> str:
        """Send one event to all of *audience* that want it.

        Args:
            host: The application that the event belongs to.
            sending: The event.
            audience: The receivers connected to it.

        Returns:
            The event's identifier.

        Raises:
            SignalTasksError: It did not leave for all of them, and the host wants to
                hear of it here. Otherwise that is logged and reported.
        """
        departure = _Departure(self._codec, self._contexts, host, sending)
        departure.leave_for(audience)
        if departure.failures:
            departure.tell_failures()
        return departure.id

    def rehearse(
        self, host: Host, sending: Sending, audience: Audience
    ) -> tuple[list[Envelope], list[DispatchFailed]]:
        """Return what :meth:`dispatch` would publish, and what would fail."""
        departure = _Departure(self._codec, self._contexts, host, sending)
        envelopes = departure.envelopes_for(audience)
        return list(envelopes), departure.failures


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
        self.id = os.urandom(16).hex()
        self._sent_at = datetime.now(UTC)
        self._trail = current_trail()
        self.failures: list[DispatchFailed] = []

    def leave_for(self, audience: Audience) -> None:
        """Seal and publish an envelope for each receiver that wants the event."""
        host = self._host
        try:
            if self._trail:
                self._check_hops()
            default = host.default_delivery if None in audience.deliveries else "direct"
            delivery = audience.common_delivery(default)
            if delivery == "buffered" and self._can_wait(audience):
                host.buffer.put(lambda: self._envelopes_later(audience))
                return
            envelopes = self.envelopes_for(audience, default)
            if delivery is None:
                self._publish_apart(audience, envelopes, default)
            elif envelopes:
                self._publish(delivery, envelopes)
        except Exception as error:  # noqa: BLE001  # a host may raise anything
            self._note_failure(_names(audience.receivers), _ours(error, "sending it"))

    def _can_wait(self, audience: Audience) -> bool:
        """Tell whether another thread may do the rest, with the same outcome."""
        sending = self._sending
        return (
            audience.is_simple
            and sending.adapt is None
            and not self._trail
            and (
                type(sending.sender) in _FROZEN
                or sending.sender is self._host.application
            )
            and _FROZEN.issuperset(map(type, sending.kwargs.values()))
        )

    def _envelopes_later(self, audience: Audience) -> Sequence[Envelope]:
        """Seal the envelopes in another thread, where there is nobody to raise to."""
        envelopes = self.envelopes_for(audience)
        for failure in self.failures:
            tell_failure(self._host.application, failure)
        return envelopes

    def tell_failures(self) -> None:
        """Report what failed, and raise or log it, as the host wants it."""
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
        if len(self._trail) > self._host.max_hops:
            raise HopLimitError((*self._trail, self._sending.signal))

    def envelopes_for(
        self, audience: Audience, default: Delivery = "direct"
    ) -> Sequence[Envelope]:
        """Seal an envelope for each receiver that wants the event.

        Args:
            audience: The receivers.
            default: The delivery of those that name none.
        """
        if audience.choosy:
            return self._chosen(audience, default)
        if len(audience.groups) == 1:
            return self._sealed(audience.groups[0], default)
        return self._sealed_all(audience.groups, default)

    def _chosen(self, audience: Audience, default: Delivery) -> list[Envelope]:
        """Ask the choosy receivers; seal for those that extract, and group the others."""
        envelopes: list[Envelope] = []
        whole = [one for group in audience.groups for one in group.receivers]
        for receiver in audience.choosy:
            if not self._is_wanted_by(receiver):
                continue
            if receiver.extract is None:
                whole.append(receiver)
            else:
                envelopes += self._sealed(Group.of([receiver]), default)
        return envelopes + self._sealed_all(groups_of(whole), default)

    def _sealed_all(self, groups: Iterable[Group], default: Delivery) -> list[Envelope]:
        return [one for group in groups for one in self._sealed(group, default)]

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

    def _sealed(self, group: Group, default: Delivery) -> Sequence[Envelope]:
        """Seal the event for *group*."""
        try:
            kwargs = self._arguments(group.receivers[0])
            return self._host.seal.seal(
                id=self.id,
                signal=self._sending.signal,
                sent_at=self._sent_at,
                trail=self._trail,
                payload=self._payload(kwargs, group.missing),
                context=self._context(group) if group.wanted else {},
                receivers=group.names,
                kept=group.kept(default),
            )
        except Exception as error:  # noqa: BLE001  # users' types are encoded
            self._note_failure(group.names, _ours(error, "sending it"))
            return ()

    def _payload(
        self, kwargs: Mapping[str, object], missing: MissingPolicy
    ) -> dict[str, JSONValue]:
        sender: Any = self._sending.sender
        plain = plain_entries(kwargs)
        if plain is not None and are_plain((sender,)):
            return {"sender": sender, "kwargs": plain}
        with sending(missing, self._host.database):
            return {
                "sender": self._encoded_sender(),
                "kwargs": self._codec.encode(dict(kwargs), path="kwargs"),
            }

    def _context(self, group: Group) -> dict[str, JSONValue]:
        with sending(group.missing, self._host.database):
            return self._contexts.capture(group.wanted)

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

    def _publish_apart(
        self, audience: Audience, envelopes: Sequence[Envelope], default: Delivery
    ) -> None:
        """Publish *envelopes*, which do not all go the same way."""
        deliveries = audience.deliveries_by_name(default)
        groups: dict[Delivery, list[Envelope]] = {}
        for envelope in envelopes:
            groups.setdefault(deliveries[envelope.receiver], []).append(envelope)
        for delivery, group in groups.items():
            self._publish(delivery, group)

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


def _checked(extracted: object) -> dict[str, object]:
    named = named_items(extracted)
    if named is None:
        raise DispatchError(
            "its extract returned something else than a dict of keyword arguments "
            f"({type(extracted).__name__}). Return a dict whose keys are strings."
        )
    return named


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
