"""What a handler sees in a worker, of what was there where its signal was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import Context
from typing import Any, TypeAlias
from uuid import uuid4

from blinker import Signal
from flask import Flask

from tests.in_memory import broker_of

Asked: TypeAlias = Sequence[str] | Mapping[str, Sequence[str] | bool]


def seen_in_worker(app: Flask, look: Callable[[], Any], context: Asked) -> Any:
    """Send a signal from here, and return or raise what *look* does in its handler."""
    seen: Future[object] = Future()

    def handler(_: object) -> None:
        try:
            seen.set_result(look())
        except Exception as error:  # noqa: BLE001
            seen.set_exception(error)

    send_to(app, handler, context)
    run_worker(app)
    return seen.result(timeout=0)


def send_to(app: Flask, handler: Callable[..., object], context: Asked) -> None:
    """Send a signal from here to *handler*, which asks for *context*."""
    signal = Signal()
    bridge = app.extensions["signal_tasks"].bridge
    bridge.async_receiver(signal, name=uuid4().hex, context=context)(handler)
    signal.send(app)


def run_worker(app: Flask) -> list[object]:
    """Run the tasks that wait, as another process would: with none of our contexts."""
    return Context().run(broker_of(app).run)
