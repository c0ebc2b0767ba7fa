"""Declaring receivers, and the whole way from a send to the handler without Flask."""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from blinker import ANY, Namespace, Signal
from celery import Celery

from signal_tasks import (
    Bridge,
    ConfigurationError,
    DispatchError,
    EncodeError,
    HopLimitError,
    RegistrationError,
    UnknownReceiverError,
    current_event,
    event_published,
)
from signal_tasks.registry import place_of
from signal_tasks.signals import LIFECYCLE_SIGNALS
from tests.in_memory import KEY, Broker, new_celery_app

MODULE = __name__


@dataclass(frozen=True)
class Order:
    """Something of the user's that travels once it is registered."""

    number: int


class Mailer:
    """Something with a method for a handler."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, sender: object, **extra: object) -> None:
        """Keep what a mail would be sent about."""
        self.sent.append((sender, extra))


def handle(sender: object, **extra: object) -> tuple[object, dict[str, object]]:
    """Return what a handler gets."""
    return sender, extra


async def handle_async(sender: object, **extra: object) -> object:
    """Return what an async handler gets."""
    await asyncio.sleep(0)
    return sender, extra


def yield_something(sender: object) -> Iterator[object]:
    """Stand for a function that by mistake yields."""
    yield sender  # pragma: no cover  # which is why it is refused


async def yield_async(sender: object) -> AsyncIterator[object]:
    """Stand for an async function that by mistake yields."""
    yield sender  # pragma: no cover  # which is why it is refused


def fail(*_: object, **__: object) -> Any:
    """Fail as a user's function may."""
    raise ZeroDivisionError


def names(bridge: Bridge) -> list[str]:
    """Return the names of the receivers that *bridge* has."""
    return [receiver.name for receiver in bridge.registry]


@pytest.mark.parametrize(
    "handler",
    [handle, handle_async, Mailer().send, lambda _: None, functools.partial(handle)],
    ids=["function", "async", "method", "lambda", "partial"],
)
def test_handler_is_returned_unchanged(
    bridge: Bridge, signal: Signal, handler: Callable[..., Any]
) -> None:
    """The decorator gives back the very thing that it was given."""
    assert bridge.async_receiver(signal, name="note")(handler) is handler


def test_send_runs_nothing_here(bridge: Bridge, broker: Broker, signal: Signal) -> None:
    """A send leaves a message and does not call the handler."""
    mailer = Mailer()
    bridge.async_receiver(signal, name="mail")(mailer.send)

    signal.send("web", order=7)

    assert mailer.sent == []
    assert broker.names() == ["mail"]


def test_send_returns_the_events_identifier(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """Whoever sends a signal can tell which event the handlers in the worker had."""

    @bridge.async_receiver(signal, name="note")
    def note(_sender: object) -> str:
        return current_event.id

    ((_, event_id),) = signal.send()

    assert broker.run() == [event_id]


@pytest.mark.parametrize("handler", [handle, handle_async], ids=["plain", "async"])
def test_worker_calls_the_handler(
    bridge: Bridge, broker: Broker, signal: Signal, handler: Callable[..., Any]
) -> None:
    """What is sent arrives with its types, at plain and async handlers."""
    bridge.async_receiver(signal)(handler)

    signal.send("web", price=Decimal("9.90"), sizes=(1, 2))

    assert broker.run() == [("web", {"price": Decimal("9.90"), "sizes": (1, 2)})]


def test_async_handler_runs_eagerly_inside_a_loop(signal: Signal) -> None:
    """An async test whose Celery app is eager runs its async handlers at the send."""
    bridge = Bridge(
        new_celery_app(task_always_eager=True), secret_key=KEY, on_error="raise"
    )
    seen: list[object] = []

    @bridge.async_receiver(signal, name="see")
    async def see(sender: object) -> None:
        await asyncio.sleep(0)
        seen.append((sender, current_event.attempt))

    async def main() -> None:
        signal.send("web")

    asyncio.run(main())

    assert seen == [("web", 1)]


def test_method_of_an_object_is_a_handler(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A bound method is called on its object."""
    mailer = Mailer()
    bridge.async_receiver(signal)(mailer.send)

    signal.send("web", order=7)
    broker.run()

    assert names(bridge) == [f"{MODULE}.Mailer.send"]
    assert mailer.sent == [("web", {"order": 7})]


def test_handler_is_held_strongly(broker: Broker, signal: Signal) -> None:
    """A handler that nobody else keeps is still called, and so is its bridge."""
    bridge = Bridge(broker.celery_app, secret_key=KEY)
    bridge.async_receiver(signal, name="mail")(Mailer().send)
    del bridge

    signal.send()

    assert len(broker.run()) == 1


def test_name_is_the_handlers_own(bridge: Bridge, signal: Signal) -> None:
    """A receiver is called like its function, so that every process finds it."""
    bridge.async_receiver(signal)(handle)

    assert names(bridge) == [f"{MODULE}.handle"]


def test_name_can_be_given(bridge: Bridge, broker: Broker, signal: Signal) -> None:
    """The given name is that of the task, and of the receiver."""
    bridge.async_receiver(signal, name="shop.note")(handle)

    signal.send()

    assert broker.names() == ["shop.note"]


def test_several_signals_make_one_receiver(bridge: Bridge, broker: Broker) -> None:
    """A receiver of several signals is one task, and knows which signal it was."""
    signals = [Namespace().signal(name) for name in ("placed", "paid")]

    @bridge.async_receiver(*signals, name="note")
    def note(_sender: object) -> str:
        return current_event.signal

    for signal in signals:
        signal.send()

    assert names(bridge) == ["note"]
    assert broker.run() == ["placed", "paid"]


def test_decorators_stack(bridge: Bridge, broker: Broker) -> None:
    """Each decorator makes a receiver of its own, with options of its own."""
    placed, paid = Namespace().signal("placed"), Namespace().signal("paid")

    bridge.async_receiver(placed, extract=lambda _: {"from": "placed"})(
        bridge.async_receiver(paid)(handle)
    )
    placed.send()
    paid.send()

    assert names(bridge) == [f"{MODULE}.handle", f"{MODULE}.handle:placed"]
    assert broker.run() == [(None, {"from": "placed"}), (None, {})]


def test_third_decoration_with_the_same_signal_needs_a_name(
    bridge: Bridge, signal: Signal
) -> None:
    """Where the signal's name does not tell receivers apart, the user has to."""
    for sender in ("web", "app"):
        bridge.async_receiver(signal, sender=sender)(handle)

    with pytest.raises(RegistrationError, match=r"name='\.\.\.'"):
        bridge.async_receiver(signal, sender="desk")(handle)


def test_names_are_taken_once(bridge: Bridge, signal: Signal) -> None:
    """The error of a name that is taken says where both handlers are."""
    bridge.async_receiver(signal, name="note")(handle)

    with pytest.raises(RegistrationError) as caught:
        bridge.async_receiver(signal, name="note")(handle_async)

    assert place_of(handle) in str(caught.value)
    assert place_of(handle_async) in str(caught.value)


def test_refused_handler_hears_nothing(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A decoration that fails leaves nothing behind."""
    bridge.async_receiver(signal, name="note")(handle)
    with pytest.raises(RegistrationError):
        bridge.async_receiver(signal, name="note")(fail)

    signal.send()

    assert broker.run() == [(None, {})]


def test_reloaded_module_hears_once(
    bridge: Bridge, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reload the new handler gets the events, and the old one none."""
    (tmp_path / "reloaded_handlers.py").write_text(
        "from tests.test_bridge import wiring\n"
        "made = object()\n"
        "@wiring.bridge.async_receiver(wiring.signal)\n"
        "def handle(sender):\n return id(made)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(wiring, "bridge", bridge, raising=False)
    module = importlib.import_module("reloaded_handlers")

    importlib.reload(module)
    wiring.signal.send()
    del sys.modules["reloaded_handlers"]

    assert broker.run() == [id(module.made)]


class Wiring:
    """What a module of handlers that is written by a test imports."""

    bridge: Bridge
    signal = Signal()


wiring = Wiring()


def test_namespaced_signals_of_one_name_are_two(bridge: Bridge, broker: Broker) -> None:
    """A signal is the object, whatever other signals are called."""
    ours, theirs = Namespace().signal("paid"), Namespace().signal("paid")
    bridge.async_receiver(ours)(handle)

    theirs.send("theirs")
    ours.send("ours")

    assert broker.run() == [("ours", {})]


def test_anonymous_signal_is_called_so(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A signal without a name is as good as any."""
    bridge.async_receiver(signal, name="see")(lambda _: current_event.signal)

    signal.send()

    assert broker.run() == ["anonymous"]


@pytest.mark.parametrize(
    ("sender", "heard"),
    [
        ("web", ["web"]),
        (1, [1]),
        (None, [None]),
        (ANY, ["web", "app", 1, 2, None]),
    ],
    ids=str,
)
def test_sender_has_blinkers_meaning(
    bridge: Bridge, broker: Broker, signal: Signal, sender: object, heard: list[object]
) -> None:
    """A receiver hears the sender that it names, and any sender when it names none."""
    bridge.async_receiver(signal, sender=sender)(handle)

    for one in ("web", "app", 1, 2, None):
        signal.send(one)

    assert [who for who, _ in broker.run()] == heard  # type: ignore[misc]


def test_event_is_one_for_all_its_receivers(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """However many receivers an event has, it is one, encoded and published once."""
    published: list[Any] = []

    def note(_sender: object, details: object) -> None:
        published.append(details)

    for number in range(3):
        bridge.async_receiver(signal, name=f"r{number}")(lambda _: current_event.id)

    with event_published.connected_to(note, sender=broker.celery_app):
        signal.send()

    assert len(signal.receivers) == 1
    assert broker.run() == [published[0].event_id] * 3


def test_bridges_do_not_hear_each_others_receivers(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """Two bridges in one process have receivers, and Celery apps, of their own."""
    others_app = new_celery_app()
    other = Bridge(others_app, secret_key=KEY, on_error="raise")
    bridge.async_receiver(signal, name="mine")(handle)
    other.async_receiver(signal, name="theirs")(handle)

    signal.send()

    assert broker.names() == ["mine"]
    assert Broker(others_app).names() == ["theirs"]


@pytest.mark.parametrize("by", ["handler", "name"])
def test_receiver_can_be_disconnected_and_connected(
    bridge: Bridge, broker: Broker, signal: Signal, by: str
) -> None:
    """A handler, or a receiver's name, stops getting events, and starts again."""
    bridge.async_receiver(signal, name="note")(handle)
    which = handle if by == "handler" else "note"

    bridge.disconnect(which)
    signal.send("while disconnected")
    bridge.connect(which)
    signal.send("again")

    assert broker.run() == [("again", {})]


def test_method_can_be_disconnected(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A bound method is known again, though each access makes a new one."""
    mailer = Mailer()
    bridge.async_receiver(signal)(mailer.send)

    bridge.disconnect(mailer.send)
    signal.send()

    assert broker.take() == []


def test_disconnected_handler_leaves_the_signal_alone(
    bridge: Bridge, signal: Signal
) -> None:
    """A signal that nobody listens to any more has no receivers."""
    bridge.async_receiver(signal)(handle)

    bridge.disconnect(handle)

    assert not signal.receivers


def test_disconnecting_a_stacked_handler_means_all_its_receivers(
    bridge: Bridge, broker: Broker
) -> None:
    """The handler stands for each receiver made of it."""
    placed, paid = Namespace().signal("placed"), Namespace().signal("paid")
    bridge.async_receiver(placed)(bridge.async_receiver(paid)(handle))

    bridge.disconnect(handle)
    placed.send()
    paid.send()

    assert broker.take() == []


def test_message_on_its_way_runs_after_a_disconnect(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A disconnect is about events to come."""
    bridge.async_receiver(signal)(handle)
    signal.send("web")

    bridge.disconnect(handle)

    assert broker.run() == [("web", {})]


@pytest.mark.parametrize("whom", ["one", "all"])
def test_receivers_are_disconnected_while_a_block_runs(
    bridge: Bridge, broker: Broker, signal: Signal, whom: str
) -> None:
    """In a test one can do without handlers: without some, or without all."""
    bridge.async_receiver(signal, name="note")(handle)
    bridge.async_receiver(signal, name="other")(handle_async)

    with bridge.disconnected(*(["note"] if whom == "one" else [])):
        signal.send()
    inside = broker.names()
    signal.send()

    assert inside == (["other"] if whom == "one" else [])
    assert sorted(broker.names()) == ["note", "other"]


def test_block_gives_receivers_back_after_an_error(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A test that fails leaves the receivers connected."""
    bridge.async_receiver(signal, name="note")(handle)

    with pytest.raises(ZeroDivisionError), bridge.disconnected():
        raise ZeroDivisionError
    signal.send()

    assert broker.names() == ["note"]


def test_block_connects_nobody_who_was_not(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A receiver that was disconnected before the block is so after it."""
    bridge.async_receiver(signal, name="note")(handle)
    bridge.disconnect("note")

    with bridge.disconnected():
        """Nothing is sent."""
    signal.send()

    assert broker.take() == []


@pytest.mark.parametrize("act", ["connect", "disconnect"])
def test_stranger_cannot_be_connected(bridge: Bridge, act: str) -> None:
    """A function that is no receiver is named with its place."""
    with pytest.raises(RegistrationError, match="Decorate it first") as caught:
        getattr(bridge, act)(handle)

    assert place_of(handle) in str(caught.value)


def test_unknown_name_cannot_be_connected(bridge: Bridge) -> None:
    """A name that no receiver has is an error."""
    with pytest.raises(UnknownReceiverError):
        bridge.connect("gone")


def test_no_signal_is_refused(bridge: Bridge) -> None:
    """A decorator without a signal would never do anything."""
    with pytest.raises(RegistrationError, match="at least one signal"):
        bridge.async_receiver()


@pytest.mark.parametrize(
    "wrong",
    ["paid", handle, [Signal()], None],
    ids=["name", "handler", "list of signals", "nothing"],
)
def test_what_is_no_signal_is_refused(bridge: Bridge, wrong: Any) -> None:
    """A name, a list, or the handler itself is not a signal."""
    with pytest.raises(RegistrationError, match=type(wrong).__name__):
        bridge.async_receiver(wrong)


@pytest.mark.parametrize(
    "lifecycle_signal", LIFECYCLE_SIGNALS, ids=lambda one: one.name
)
def test_report_of_the_bridge_on_itself_is_refused(
    bridge: Bridge, lifecycle_signal: Signal
) -> None:
    """An async receiver of a lifecycle signal would cause the next one, for ever."""
    with pytest.raises(RegistrationError, match="plain receiver"):
        bridge.async_receiver(lifecycle_signal)


def test_method_in_its_class_is_refused(bridge: Bridge, signal: Signal) -> None:
    """A method has no instance yet where its class is made, so no worker has one."""
    with pytest.raises(RegistrationError, match="decorated in its class"):
        bridge.async_receiver(signal)(Mailer.send)


@pytest.mark.parametrize(
    ("option", "mend"),
    [
        ({"delivery": "Outbox"}, "takes one of 'direct', 'request', 'commit'"),
        ({"delivery": 1}, "takes one of"),
        ({"once": "yes"}, "takes True or False, not str"),
    ],
    ids=["unknown delivery", "delivery that is none", "once that is none"],
)
def test_policy_that_is_none_is_refused(
    bridge: Bridge, signal: Signal, option: dict[str, Any], mend: str
) -> None:
    """A word that means nothing is an error where it is written."""
    with pytest.raises(RegistrationError, match=mend):
        bridge.async_receiver(signal, **option)


@pytest.mark.parametrize(
    "option",
    [{"context": ()}, {"delivery": "direct"}, {"delivery": None}, {"once": False}],
    ids=str,
)
def test_what_is_there_already_may_be_said(
    bridge: Bridge, signal: Signal, option: dict[str, Any]
) -> None:
    """The defaults can be written out."""
    assert bridge.async_receiver(signal, **option)(handle) is handle


def test_unknown_option_is_refused(bridge: Bridge, signal: Signal) -> None:
    """An option that neither we nor Celery have is an error where it is written."""
    with pytest.raises(RegistrationError, match="'retrys'"):
        bridge.async_receiver(signal, retrys=3)


@pytest.mark.parametrize(
    "handler",
    [None, "handle", yield_something, yield_async, classmethod(handle)],
    ids=["None", "text", "generator", "async generator", "classmethod"],
)
def test_what_cannot_handle_is_refused(
    bridge: Bridge, signal: Signal, handler: Any
) -> None:
    """What cannot be called, or would run nothing when it is, is no handler."""
    with pytest.raises(RegistrationError):
        bridge.async_receiver(signal, name="note")(handler)

    assert not signal.receivers


@pytest.mark.parametrize("option", ["extract", "condition"])
@pytest.mark.parametrize(
    "wrong",
    ["is_paid", True, handle_async, yield_something],
    ids=["text", "bool", "async", "generator"],
)
def test_what_cannot_choose_is_refused(
    bridge: Bridge, signal: Signal, option: str, wrong: Any
) -> None:
    """Both extract and condition answer at once; a coroutine would always be true."""
    with pytest.raises(RegistrationError, match=option):
        bridge.async_receiver(signal, **{option: wrong})


def test_registered_type_travels(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """register_type lets the user's own types travel, and gives the class back."""
    bridge.async_receiver(signal)(handle)

    returned = bridge.register_type(Order)
    signal.send("web", order=Order(7))

    assert returned is Order
    assert broker.run() == [("web", {"order": Order(7)})]


def test_registered_type_may_be_the_sender(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """What travels can send."""
    bridge.register_type(Order, lambda order: order.number, Order, "order")
    bridge.async_receiver(signal)(handle)

    signal.send(Order(7))

    assert broker.run() == [(Order(7), {})]


def test_bridges_do_not_share_types(bridge: Bridge, signal: Signal) -> None:
    """A type that one bridge knows is unknown to the other."""
    Bridge().register_type(Order)
    bridge.async_receiver(signal)(handle)

    with pytest.raises(EncodeError):
        signal.send(order=Order(7))


def test_bridge_logs_by_default(
    celery_app: Celery, signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    """Without on_error a failed send is logged and goes no further."""
    bridge = Bridge(celery_app)
    bridge.async_receiver(signal, extract=fail)(handle)

    signal.send()

    assert "event not sent" in caplog.text


def test_bridge_raises_when_told_to(celery_app: Celery, signal: Signal) -> None:
    """With on_error="raise" a failed send raises."""
    bridge = Bridge(celery_app, on_error="raise")
    bridge.async_receiver(signal, extract=fail)(handle)

    with pytest.raises(DispatchError):
        signal.send()


def test_wrong_answer_to_errors_is_refused(celery_app: Celery) -> None:
    """A typo in on_error does not switch errors off."""
    with pytest.raises(ConfigurationError, match="on_error"):
        Bridge(celery_app, on_error="rasie")  # type: ignore[arg-type]


def test_fallback_that_is_one_string_is_refused(celery_app: Celery) -> None:
    """The letters of an older key are no keys that somebody might sign with."""
    with pytest.raises(ConfigurationError, match="list of keys"):
        Bridge(celery_app, secret_key="a", secret_key_fallbacks="bc")


@pytest.mark.parametrize("name", ["", 17, b"bill"], ids=repr)
def test_what_cannot_be_a_name_is_refused(
    bridge: Bridge, signal: Signal, name: Any
) -> None:
    """A name that no worker would find is refused where the handler is declared."""
    with pytest.raises(RegistrationError, match=r"async_receiver\(name=\.\.\.\)"):
        bridge.async_receiver(signal, name=name)


@pytest.mark.parametrize(
    ("signs", "verifies", "runs"),
    [
        ({"secret_key": "a"}, {"secret_key": "a"}, True),
        ({"secret_key": "a"}, {"secret_key": b"a"}, True),
        ({"secret_key": "a"}, {"secret_key": "b"}, False),
        ({"secret_key": "a"}, {"secret_key": "b", "secret_key_fallbacks": ["a"]}, True),
        ({"secret_key": "b", "secret_key_fallbacks": ["a"]}, {"secret_key": "b"}, True),
        ({"secret_key": "a"}, {}, False),
        ({}, {"secret_key": "a"}, False),
        ({}, {}, True),
        ({"secret_key": ""}, {"secret_key": "a"}, False),
    ],
    ids=str,
)
def test_worker_runs_what_its_keys_verify(
    celery_app: Celery,
    signal: Signal,
    signs: dict[str, Any],
    verifies: dict[str, Any],
    *,
    runs: bool,
) -> None:
    """Sender and worker need a key in common, or none at all."""
    ran: list[object] = []
    sender = Bridge(celery_app, **signs)
    sender.async_receiver(signal, name="note")(ran.append)
    signal.send("web")

    worker = Bridge(celery_app, **verifies)
    worker.async_receiver(Signal(), name="note")(ran.append)
    Broker(celery_app).run()

    assert ran == (["web"] if runs else [])


def test_hops_are_limited(celery_app: Celery, signal: Signal) -> None:
    """A handler that sends its own signal again stops at the limit."""
    bridge = Bridge(celery_app, on_error="raise", max_hops=2)
    trails: list[int] = []
    errors: list[HopLimitError] = []

    @bridge.async_receiver(signal, name="again")
    def again(_sender: object) -> None:
        trails.append(current_event.hops)
        try:
            signal.send()
        except HopLimitError as error:
            errors.append(error)

    signal.send()
    while Broker(celery_app).run():
        """Run what the handlers sent."""

    assert trails == [0, 1, 2]
    assert [error.trail for error in errors] == [("anonymous",) * 4]


def test_send_without_an_app_says_what_is_missing(signal: Signal) -> None:
    """A bridge that serves no app cannot send anything anywhere."""
    Bridge().async_receiver(signal)(handle)

    with pytest.raises(ConfigurationError, match=r"SignalTasks\(app\)"):
        signal.send()


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@contextmanager
def restored_tenant(name: str) -> Iterator[None]:
    """Work for the tenant called *name*."""
    token = tenant.set(name)
    try:
        yield
    finally:
        tenant.reset(token)


def test_context_of_ones_own_is_restored(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A bridge without Flask has the contexts that are registered on it."""
    bridge.context("tenant", tenant.get, restored_tenant)
    for name, context in (("asks", ("tenant",)), ("does not", ())):
        bridge.async_receiver(signal, name=name, context=context)(
            lambda _: tenant.get()
        )

    with restored_tenant("north"):
        signal.send("web")

    assert broker.run() == ["north", "nobody"]


def test_contexts_of_flask_are_not_those_of_a_bridge_without_it(
    bridge: Bridge, signal: Signal
) -> None:
    """Asking for the request where there is none to have is an error at the send."""
    bridge.async_receiver(signal, name="note", context=("request",))(handle)

    with pytest.raises(EncodeError, match="there are none"):
        signal.send("web")


def test_wrong_context_is_refused(bridge: Bridge, signal: Signal) -> None:
    """An option that cannot be read is an error at the import."""
    with pytest.raises(RegistrationError, match="context= takes names"):
        bridge.async_receiver(signal, context="request")


def test_arguments_are_adapted(bridge: Bridge, broker: Broker, signal: Signal) -> None:
    """A signal's arguments can be made to travel for every receiver of it."""
    bridge.adapt(signal, lambda kwargs: {name: str(kwargs[name]) for name in kwargs})
    bridge.async_receiver(signal, name="note")(handle)

    signal.send("web", order=object)

    assert broker.run() == [("web", {"order": "<class 'object'>"})]


def test_rehearsal_is_for_those_who_would_hear(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """It asks the receivers of that sender, and nothing is sent."""
    bridge.async_receiver(signal, sender="web", name="web")(handle)
    bridge.async_receiver(signal, sender="app", name="app")(handle)
    bridge.async_receiver(signal, name="any")(handle)
    bridge.disconnect("any")

    envelopes, failures = bridge.rehearse(signal, "web", {"order": 7})

    assert [envelope.receiver for envelope in envelopes] == ["web"]
    assert (failures, broker.take()) == ([], [])
