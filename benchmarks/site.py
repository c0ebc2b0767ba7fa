"""The Flask app that is put under load: ``gunicorn 'benchmarks.site:create_app()'``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from blinker import Signal
from celery import Celery
from flask import Flask

from signal_tasks import Bridge, SignalTasks

from .events import SENDER, Event
from .place import Place

DELIVERIES = ("direct", "buffered")
WAYS = (*DELIVERIES, "delay")
"""How the views have handlers run."""

COUNTS = (1, 10)
"""How many handlers."""


def queue_of(place: Place, way: str) -> str:
    """Return the queue that the messages of *way* go to."""
    return f"signal_tasks_benchmark.{place.run}.site.{way}"


def create_app() -> Flask:
    """Return an app with a view for each way and count of handlers."""
    app = Flask("site")
    app.config["SECRET_KEY"] = "only for the benchmark"  # noqa: S105
    place = Place.from_environment()
    app.config["CELERY"] = {"broker_url": place.redis_url}
    bridge = Bridge()
    SignalTasks(app, bridge=bridge)
    signals = {
        (delivery, count): _signal(bridge, queue_of(place, delivery), delivery, count)
        for delivery in DELIVERIES
        for count in COUNTS
    }
    tasks = _tasks(app.extensions["celery"], queue_of(place, "delay"), max(COUNTS))
    payload = Event(handlers=1, size=200, serial=0).payload

    @app.get("/none/0")
    def none() -> str:
        return "ok"

    @app.get("/delay/<int:count>")
    def delay(count: int) -> str:
        for task in tasks[:count]:
            task.delay(SENDER, **payload)
        return "ok"

    @app.get("/<delivery>/<int:count>")
    def send(delivery: str, count: int) -> str:
        signals[delivery, count].send(SENDER, **payload)
        return "ok"

    return app


def _signal(bridge: Bridge, queue: str, delivery: str, count: int) -> Signal:
    signal = Signal(f"{delivery}-{count}")
    for index in range(count):
        bridge.async_receiver(
            signal,
            name=f"{delivery}.{count}.{index}",
            delivery=delivery,
            queue=queue,
        )(_handle)
    return signal


def _tasks(celery_app: Celery, queue: str, count: int) -> Sequence[Any]:
    return [_task(celery_app, queue, index) for index in range(count)]


def _task(celery_app: Celery, queue: str, index: int) -> Any:
    make_task: Callable[..., object] = celery_app.task(
        name=f"delay.{index}", queue=queue, shared=False
    )
    return make_task(_handle)


def _handle(sender: object, **arguments: object) -> None:
    """Do nothing, for no worker is there."""
