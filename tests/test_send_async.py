"""Signals that coroutines send, with asyncio alone and with Quart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from blinker import Signal
from flask import Flask, current_app
from quart import Quart, request
from quart.signals import request_finished

from signal_tasks import Bridge, EncodeError, current_event, in_thread
from tests.in_memory import Broker, broker_of, new_app


def test_coroutine_reaches_async_receivers(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A signal that a coroutine sends with in_thread reaches the broker."""
    got: list[object] = []

    @bridge.async_receiver(signal, name="receive")
    def receive(sender: str, **kwargs: object) -> None:
        got.append((sender, kwargs))

    asyncio.run(signal.send_async("kiosk", _sync_wrapper=in_thread, number=7))
    broker.run()

    assert got == [("kiosk", {"number": 7})]


def test_without_a_wrapper_blinker_refuses(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """Blinker does not call an async receiver for a coroutine that says not how."""
    bridge.async_receiver(signal, name="receive")(lambda sender: None)

    with pytest.raises(RuntimeError, match="Cannot send to a non-coroutine function"):
        asyncio.run(signal.send_async())

    assert broker.take() == []


def test_send_in_a_thread_does_the_same(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """Where no receiver is a coroutine, send() itself can run in a thread."""
    bridge.async_receiver(signal, name="receive")(lambda sender: None)

    asyncio.run(asyncio.to_thread(signal.send, "kiosk"))

    assert broker.names() == ["receive"]


def test_coroutines_of_blinker_are_awaited_too(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """Coroutine functions that blinker connects run in the sender's event loop."""
    loops: list[object] = []

    async def watch(sender: object) -> None:
        loops.append(asyncio.get_running_loop())

    async def send() -> object:
        await signal.send_async(_sync_wrapper=in_thread)
        return asyncio.get_running_loop()

    signal.connect(watch)
    bridge.async_receiver(signal, name="receive")(lambda sender: None)

    loop = asyncio.run(send())

    assert loops == [loop]
    assert broker.names() == ["receive"]


def test_event_loop_goes_on_while_the_event_is_sent(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """While an async receiver is at work, the loop runs other coroutines."""
    released = threading.Event()

    def wait(sender: object) -> dict[str, object]:
        return {"was_released": released.wait(timeout=20)}

    got: list[bool] = []

    @bridge.async_receiver(signal, name="receive", extract=wait)
    def receive(sender: object, *, was_released: bool) -> None:
        got.append(was_released)

    async def send() -> None:
        sending = asyncio.create_task(signal.send_async(_sync_wrapper=in_thread))
        await asyncio.sleep(0)
        released.set()
        await sending

    asyncio.run(send())
    broker.run()

    assert got == [True]


def test_app_context_of_the_coroutine_is_kept(
    flask_bridge: Bridge, signal: Signal
) -> None:
    """The event belongs to the app in whose context the coroutine sends it."""
    shop, blog = new_app(flask_bridge, "shop"), new_app(flask_bridge, "blog")
    names: list[str] = []

    def note(sender: object) -> dict[str, object]:
        names.append(current_app.name)
        return {}

    async def send(app: Flask) -> None:
        with app.app_context():
            await signal.send_async("kiosk", _sync_wrapper=in_thread)

    async def send_both() -> None:
        await asyncio.gather(send(shop), send(blog))

    flask_bridge.async_receiver(signal, name="receive", extract=note)(lambda _: None)

    asyncio.run(send_both())

    assert sorted(names) == ["blog", "shop"]
    assert broker_of(shop).names() == broker_of(blog).names() == ["receive"]


def test_coroutine_handler_sends_the_next_hop(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """What a coroutine handler sends in the worker knows where it comes from."""
    second = Signal()
    hops: list[int] = []

    @bridge.async_receiver(signal, name="first")
    async def pass_on(sender: object) -> None:
        hops.append(current_event.hops)
        await second.send_async(_sync_wrapper=in_thread)

    @bridge.async_receiver(second, name="second")
    def receive(sender: object) -> None:
        hops.append(current_event.hops)

    signal.send()
    broker.run()
    broker.run()

    assert hops == [0, 1]


def test_failed_send_raises_into_the_coroutine(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """Where a failed send raises, it does so where the coroutine awaits it."""
    bridge.async_receiver(signal, name="receive")(lambda sender, **_: None)

    with pytest.raises(EncodeError, match="receiver receive: cannot encode"):
        asyncio.run(signal.send_async(_sync_wrapper=in_thread, what=open))

    assert broker.take() == []


# -- Quart


@pytest.fixture
def quart_app(bridge: Bridge) -> Quart:
    """Return a Quart app, which may be a sender."""
    app = Quart("quart_shop")
    bridge.register_type(Quart, lambda app: app.name, lambda name: app)
    return app


@pytest.mark.parametrize("way", ["in_thread", "ensure_async"])
def test_view_of_quart_reaches_async_receivers(
    bridge: Bridge, broker: Broker, signal: Signal, quart_app: Quart, way: str
) -> None:
    """A view of Quart sends a signal with either wrapper, and its request is there."""
    wrappers: dict[str, Callable[..., Any]] = {
        "in_thread": in_thread,
        "ensure_async": quart_app.ensure_async,
    }
    got: list[object] = []

    @quart_app.route("/register/<name>")
    async def register(name: str) -> str:
        await signal.send_async(quart_app, _sync_wrapper=wrappers[way], name=name)
        return "registered"

    def pick(sender: Quart, name: str) -> dict[str, str]:
        return {"name": name, "path": request.path}

    @bridge.async_receiver(signal, name="receive", extract=pick)
    def receive(sender: Quart, **kwargs: str) -> None:
        got.append((sender, kwargs))

    asyncio.run(visit(quart_app, "/register/ada"))
    broker.run()

    assert got == [(quart_app, {"name": "ada", "path": "/register/ada"})]


def test_quart_s_own_signals_reach_async_receivers(
    bridge: Bridge, broker: Broker, quart_app: Quart
) -> None:
    """Quart passes a wrapper for the signals that it sends itself."""
    got: list[object] = []

    def pick(sender: Quart, response: Any) -> dict[str, Any]:
        return {"path": request.path, "status": response.status_code}

    @bridge.async_receiver(
        request_finished, sender=quart_app, name="receive", extract=pick
    )
    def receive(sender: Quart, *, path: str, status: int) -> None:
        got.append((path, status))

    asyncio.run(visit(quart_app, "/nowhere"))
    broker.run()
    bridge.disconnect("receive")

    assert got == [("/nowhere", 404)]


async def visit(app: Quart, path: str) -> None:
    """Open a page."""
    await app.test_client().get(path)
