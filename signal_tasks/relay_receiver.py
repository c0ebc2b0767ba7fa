"""The lightweight blinker receivers that the bridge connects, one per signal and sender.

In: ``signal.send(...)``. Out: the event, with all the receivers that it is for, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Protocol

from blinker import Signal

from .audience import Audience
from .event import is_quiet
from .registry import Receiver


class Deliver(Protocol):
    """Takes an event that a relay receiver heard."""

    def __call__(
        self,
        signal: Signal,
        sender: object,
        kwargs: Mapping[str, object],
        audience: Audience,
    ) -> str | None:
        """Send the event to *audience*; return its identifier if it has one."""
        ...


class RelayReceiver:
    """Hears one signal, of one sender or any, for all receivers connected there."""

    def __init__(self, signal: Signal, deliver: Deliver) -> None:
        self._signal = signal
        self._deliver = deliver
        self.audience = Audience.of(())
        """Replaced as a whole, so that a thread that is sending sees old or new."""

    # A method, for blinker asks of each receiver at each send whether it is a coroutine
    # function, and of a method or a function that costs a fifth.
    def hear(self, sender: object, /, **kwargs: object) -> str | None:
        """Pass the event on, unless the bridge's own work caused it.

        Returns:
            The event's identifier, which ``signal.send()`` hands to the sender.
        """
        if is_quiet():
            return None
        return self._deliver(self._signal, sender, kwargs, self.audience)

    @property
    def receivers(self) -> tuple[Receiver, ...]:
        """Those connected, in order."""
        return self.audience.receivers

    def serve(self, receivers: Iterable[Receiver]) -> None:
        """Pass events on to *receivers* from now on."""
        self.audience = Audience.of(receivers)


class RelayReceivers:
    """Connects receivers to their signals and disconnects them.

    Args:
        deliver: Gets the events.
    """

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._relays: dict[tuple[int, object], RelayReceiver] = {}
        self._lock = Lock()

    def connect(self, receiver: Receiver) -> None:
        """Connect *receiver* to its signals; once connected it stays so."""
        with self._lock:
            for signal in receiver.signals:
                relay = self._relay(signal, receiver.sender)
                if receiver not in relay.receivers:
                    relay.serve((*relay.receivers, receiver))

    def disconnect(self, receiver: Receiver) -> None:
        """Disconnect *receiver*; a signal without receivers costs nothing again."""
        with self._lock:
            for signal in receiver.signals:
                self._leave(signal, receiver)

    def has(self, receiver: Receiver) -> bool:
        """Tell whether *receiver* is connected to its signals."""
        relays = tuple(self._relays.values())
        return any(receiver in relay.receivers for relay in relays)

    def receivers_for(self, signal: Signal, sender: object) -> tuple[Receiver, ...]:
        """Return the receivers that hear *signal* from *sender*."""
        heard = tuple(signal.receivers_for(sender))
        return tuple(
            receiver
            for relay in tuple(self._relays.values())
            if relay.hear in heard
            for receiver in relay.receivers
        )

    def _relay(self, signal: Signal, sender: object) -> RelayReceiver:
        key = _key(signal, sender)
        if key not in self._relays:
            relay = RelayReceiver(signal, self._deliver)
            signal.connect(relay.hear, sender=sender, weak=False)
            self._relays[key] = relay
        return self._relays[key]

    def _leave(self, signal: Signal, receiver: Receiver) -> None:
        key = _key(signal, receiver.sender)
        relay = self._relays.get(key)
        if relay is None:
            return
        relay.serve(one for one in relay.receivers if one is not receiver)
        if not relay.receivers:
            signal.disconnect(relay.hear)
            del self._relays[key]


def _key(signal: Signal, sender: object) -> tuple[int, object]:
    """Tell senders apart as blinker does: strings and integers by value, else by identity.

    Signals and senders cannot be confused with later ones at the same address, for
    the receivers of the relay hold on to them.
    """
    if isinstance(sender, str | int):
        return id(signal), sender
    return id(signal), ("object", id(sender))
