"""One blinker receiver for each signal and sender, whatever listens there."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from blinker import ANY, Signal

from signal_tasks.audience import Audience
from signal_tasks.event import quiet
from signal_tasks.registry import Receiver
from signal_tasks.relay_receiver import RelayReceivers


@dataclass
class Shop:
    """A sender that equals others, and that cannot be hashed."""


@dataclass
class Deliveries:
    """Keeps what the relay receivers pass on."""

    made: list[tuple[Signal, object, Mapping[str, object], tuple[Receiver, ...]]] = (
        field(default_factory=list)
    )

    def __call__(
        self,
        signal: Signal,
        sender: object,
        kwargs: Mapping[str, object],
        audience: Audience,
    ) -> None:
        self.made.append((signal, sender, kwargs, audience.receivers))

    @property
    def receivers(self) -> list[str]:
        """The names of the receivers, one delivery after the other."""
        return [one.name for *_, receivers in self.made for one in receivers]


def connect_a_shop(relays: RelayReceivers, signal: Signal) -> Shop:
    """Connect a receiver to a sender that only the caller holds, if anybody."""
    shop = Shop()
    relays.connect(make_receiver("a", signal, sender=shop))
    return shop


@pytest.fixture
def deliveries() -> Deliveries:
    """Return the list of what was passed on."""
    return Deliveries()


@pytest.fixture
def relays(deliveries: Deliveries) -> RelayReceivers:
    """Return relay receivers that pass on to *deliveries*."""
    return RelayReceivers(deliveries)


def make_receiver(name: str, *signals: Signal, sender: object = ANY) -> Receiver:
    """Make a receiver that listens to *signals* of *sender*."""
    return Receiver(name=name, handler=print, signals=signals, sender=sender, place="")


def test_event_is_passed_on_with_all_its_facts(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """Signal, sender, keyword arguments and receivers arrive as they were."""
    receiver = make_receiver("a", signal)
    relays.connect(receiver)

    signal.send("shop", order=1, self=2, signal=3, deliver=4)

    kwargs = {"order": 1, "self": 2, "signal": 3, "deliver": 4}
    assert deliveries.made == [(signal, "shop", kwargs, (receiver,))]


def test_event_is_passed_on_once_for_all_receivers(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """Receivers of one signal and sender share one relay receiver, and one delivery."""
    for name in ("a", "b", "c"):
        relays.connect(make_receiver(name, signal))

    signal.send()

    assert len(signal.receivers) == 1
    assert len(deliveries.made) == 1
    assert deliveries.receivers == ["a", "b", "c"]


def test_receiver_of_several_signals_hears_each(
    relays: RelayReceivers, deliveries: Deliveries
) -> None:
    """A receiver listens to all its signals, and to no other."""
    signals = [Signal() for _ in range(3)]
    relays.connect(make_receiver("a", *signals[:2]))

    for signal in signals:
        signal.send()

    assert [signal for signal, *_ in deliveries.made] == signals[:2]


@pytest.mark.parametrize(
    ("listens_to", "sent_by"),
    [
        ("shop", str(b"shop", "ascii")),
        (10**20, int(f"1{0:020}")),
        (None, None),
        (ANY, "shop"),
        (ANY, None),
    ],
    ids=["equal text", "equal integer", "None", "any text", "any None"],
)
def test_sender_is_heard(
    relays: RelayReceivers,
    deliveries: Deliveries,
    signal: Signal,
    listens_to: object,
    sent_by: object,
) -> None:
    """Texts and integers are senders by value, and ANY is everybody."""
    relays.connect(make_receiver("a", signal, sender=listens_to))

    signal.send(sent_by)

    assert deliveries.receivers == ["a"]


@pytest.mark.parametrize(
    ("listens_to", "sent_by"),
    [("shop", "bank"), (1, 2), (1, "1"), (None, "shop"), (Shop(), Shop())],
    ids=["other text", "other integer", "digit", "not None", "equal object"],
)
def test_other_sender_is_not_heard(
    relays: RelayReceivers,
    deliveries: Deliveries,
    signal: Signal,
    listens_to: object,
    sent_by: object,
) -> None:
    """Objects are senders by identity, even when they are equal."""
    relays.connect(make_receiver("a", signal, sender=listens_to))

    signal.send(sent_by)

    assert deliveries.made == []


def test_object_is_heard_by_identity(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """The very object that a receiver listens to is heard, hashable or not."""
    shop = Shop()
    relays.connect(make_receiver("a", signal, sender=shop))

    signal.send(shop)

    assert deliveries.receivers == ["a"]


@pytest.mark.parametrize(
    ("one", "same"),
    [("shop", str(b"shop", "ascii")), (10**20, int(f"1{0:020}")), (ANY, ANY)],
    ids=["text", "integer", "any"],
)
def test_one_relay_receiver_for_a_sender(
    relays: RelayReceivers, signal: Signal, one: object, same: object
) -> None:
    """Receivers of the same sender share a relay receiver."""
    relays.connect(make_receiver("a", signal, sender=one))
    relays.connect(make_receiver("b", signal, sender=same))

    assert len(signal.receivers) == 1


def test_relay_receivers_for_several_senders(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """Receivers of different senders do not hear each other's events."""
    shops = [Shop(), Shop(), "shop", 1, "1", ANY]
    for number, shop in enumerate(shops):
        relays.connect(make_receiver(f"{number}", signal, sender=shop))

    signal.send(shops[0])

    assert len(signal.receivers) == len(shops)
    assert sorted(deliveries.receivers) == ["0", "5"]


def test_integer_is_not_the_object_at_that_address(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """A receiver of an object and one of the integer that is its id share nothing."""
    shop = Shop()
    relays.connect(make_receiver("object", signal, sender=shop))
    relays.connect(make_receiver("integer", signal, sender=id(shop)))

    assert len(signal.receivers) == 2


def test_relay_receivers_hold_on(
    relays: RelayReceivers, deliveries: Deliveries
) -> None:
    """Neither the relay receiver nor a sender that nobody else holds is collected."""
    signal = Signal()
    shop = weakref.ref(connect_a_shop(relays, signal))

    gc.collect()
    signal.send(shop())

    assert shop() is not None
    assert deliveries.receivers == ["a"]


def test_connecting_twice_is_connecting_once(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """A receiver gets an event once, however often it was connected."""
    receiver = make_receiver("a", signal)
    relays.connect(receiver)
    relays.connect(receiver)

    signal.send()

    assert deliveries.receivers == ["a"]


def test_signal_named_twice_is_one(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """A receiver of a signal twice over gets each event once."""
    relays.connect(make_receiver("a", signal, signal))

    signal.send()

    assert deliveries.receivers == ["a"]


def test_disconnected_receiver_hears_nothing(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """After a disconnect the others still hear, and the receiver does not."""
    receivers = [make_receiver(name, signal) for name in ("a", "b")]
    for receiver in receivers:
        relays.connect(receiver)

    relays.disconnect(receivers[0])
    signal.send()

    assert deliveries.receivers == ["b"]


@pytest.mark.parametrize("sender", [ANY, "shop", Shop()], ids=["any", "text", "object"])
def test_signal_without_receivers_has_no_relay_receiver(
    relays: RelayReceivers, signal: Signal, sender: object
) -> None:
    """With the last receiver goes the relay receiver: the signal costs nothing again."""
    receivers = [make_receiver(name, signal, sender=sender) for name in ("a", "b")]
    for receiver in receivers:
        relays.connect(receiver)

    for receiver in receivers:
        relays.disconnect(receiver)

    assert not signal.receivers
    assert not signal.has_receivers_for(sender)


def test_disconnecting_who_is_not_connected_does_nothing(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """A second disconnect, or one of a stranger, disturbs nobody."""
    receiver, stranger = make_receiver("a", signal), make_receiver("b", signal)
    relays.disconnect(stranger)
    relays.connect(receiver)

    relays.disconnect(stranger)
    signal.send()

    assert deliveries.receivers == ["a"]


def test_receiver_can_be_connected_again(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """A disconnect is not for ever."""
    receiver = make_receiver("a", signal)
    relays.connect(receiver)
    relays.disconnect(receiver)

    relays.connect(receiver)
    signal.send()

    assert deliveries.receivers == ["a"]


def test_relay_receivers_tell_who_is_connected(
    relays: RelayReceivers, signal: Signal
) -> None:
    """One can ask whether a receiver is connected."""
    receiver, other = make_receiver("a", signal), make_receiver("b", signal)
    before = relays.has(receiver)
    relays.connect(receiver)

    after = relays.has(receiver)

    assert (before, after, relays.has(other)) == (False, True, False)


def test_signals_of_others_are_left_alone(
    relays: RelayReceivers, signal: Signal
) -> None:
    """A disconnect takes none of the receivers that the user connected."""
    heard: list[object] = []
    signal.connect(heard.append, weak=False)
    receiver = make_receiver("a", signal)
    relays.connect(receiver)

    relays.disconnect(receiver)
    signal.send("shop")

    assert heard == ["shop"]


def test_quiet_work_is_not_passed_on(
    relays: RelayReceivers, deliveries: Deliveries, signal: Signal
) -> None:
    """An event that the bridge's own work causes goes nowhere."""
    relays.connect(make_receiver("a", signal))

    with quiet():
        signal.send()

    assert deliveries.made == []


def test_receivers_may_change_while_a_signal_is_sent(signal: Signal) -> None:
    """What an event causes may disconnect its receivers; the event reaches them all."""
    receivers = [make_receiver(name, signal) for name in ("a", "b")]
    heard: list[tuple[Receiver, ...]] = []

    def deliver(
        _signal: Signal, _sender: object, _kwargs: object, audience: Audience
    ) -> None:
        relays.disconnect(receivers[1])
        heard.append(audience.receivers)

    relays = RelayReceivers(deliver)
    for receiver in receivers:
        relays.connect(receiver)

    signal.send()

    assert heard == [tuple(receivers)]
