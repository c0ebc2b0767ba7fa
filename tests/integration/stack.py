"""The shop at work: its app here, its worker elsewhere, a broker and a database between."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blinker import Signal
from celery import Celery
from flask import Flask
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from signal_tasks import event_published
from signal_tasks.signals import EventPublished
from tests.integration.servers import PREFIX, PUBLISH_SECONDS
from tests.integration.shop import create_app, signals
from tests.integration.shop.models import Base, Run
from tests.integration.shop.settings import REPORTS_QUEUE
from tests.integration.workers import Worker, Workers, await_answer, wait_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a shop gets its broker and its database."""

    name: str
    broker_url: str
    database_url: str
    folder: Path
    """For results, where the broker is no place for them."""

    def config(self) -> dict[str, object]:
        """Return the configuration of the shop's app, which is JSON."""
        is_redis = self.broker_url.startswith("redis")
        # On a server that others use too, every name begins with our prefix.
        own_keys = {"global_keyprefix": f"{PREFIX}:"} if is_redis else {}
        return {
            "SECRET_KEY": "the key of the shop, which only its processes have",
            "SQLALCHEMY_DATABASE_URI": self.database_url,
            "SIGNAL_TASKS_PUBLISH_TIMEOUT": PUBLISH_SECONDS,
            "CELERY": {
                "broker_url": self.broker_url,
                "broker_transport_options": own_keys,
                "result_backend": (
                    self.broker_url if is_redis else self.folder.as_uri()
                ),
                "result_backend_transport_options": own_keys,
                "task_default_queue": PREFIX,
                "control_exchange": PREFIX,
                "event_exchange": f"{PREFIX}.events",
            },
        }

    def environment(self) -> dict[str, str]:
        """Return what a worker of the shop is started with."""
        return {
            "FLASK_APP": "tests.integration.shop:create_app",
            **as_environment("SHOP", self.config()),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """An app with a worker of its own."""

    app: Flask
    worker: Worker
    engine: Engine
    """The way to the handlers' database that is not the app's."""

    @property
    def celery_app(self) -> Celery:
        """The app's Celery app."""
        celery_app: Celery = self.app.extensions["celery"]
        return celery_app

    def await_ready(self) -> None:
        """Wait until the worker takes tasks."""
        await_answer(self.worker, self.celery_app)

    def send(self, signal: Signal, sender: object = None, **kwargs: object) -> str:
        """Send *signal* inside the app's context, and return the event's identifier."""
        with publications(self.app) as published:
            self.send_only(signal, sender, **kwargs)
        (details,) = published
        return details.event_id

    def send_only(
        self, signal: Signal, sender: object = None, **kwargs: object
    ) -> None:
        """Send *signal* inside the app's context."""
        with self.app.app_context():
            signal.send(sender, **kwargs)

    def runs(self, event_id: str) -> Sequence[Run]:
        """Return the runs that the event has had so far, in their order."""
        with Session(self.engine) as session:
            wanted = select(Run).where(Run.event_id == event_id).order_by(Run.id)
            return session.scalars(wanted).all()

    def await_runs(self, event_id: str, count: int = 1) -> Sequence[Run]:
        """Return the runs of the event once there are *count*."""

        def enough() -> Sequence[Run] | None:
            runs = self.runs(event_id)
            return runs if len(runs) >= count else None

        return wait_for(enough, f"{count} runs of an event")

    def await_run(self, event_id: str, handler: str) -> Run:
        """Return the first run of *handler* for the event."""

        def of_handler() -> Run | None:
            runs = self.runs(event_id)
            return next((run for run in runs if run.handler == handler), None)

        return wait_for(of_handler, f"a run of {handler}")

    def await_effect(self, event_id: str, handler: str) -> Run:
        """Return the first run of *handler* for an event that this one has caused."""
        return wait_for(
            lambda: next(iter(self.effects(event_id, handler)), None),
            f"a run of {handler}",
        )

    def effects(self, event_id: str, *handlers: str) -> Sequence[Run]:
        """Return the runs of *handlers* for events that this one has caused."""
        with Session(self.engine) as session:
            wanted = select(Run).where(Run.handler.in_(handlers)).order_by(Run.id)
            runs = session.scalars(wanted).all()
        return [run for run in runs if run.facts["cause"] == event_id]

    def settle(self) -> None:
        """Wait until all that was sent before has run, unless it was told to wait."""
        self.await_runs(self.send(signals.day_closed))


@contextmanager
def publications(app: Flask) -> Iterator[list[EventPublished]]:
    """Give a list that the events published by *app* are added to."""
    published: list[EventPublished] = []

    def listen(sender: object, details: EventPublished) -> None:
        published.append(details)

    with event_published.connected_to(listen, sender=app):
        yield published


def close_connections(app: Flask) -> None:
    """Close what *app* has open to its broker, for sockets must not be left to chance."""
    for way in app.extensions["signal_tasks"].publisher._ways.values():
        way.lines.close()


def as_environment(prefix: str, config: Mapping[str, object]) -> dict[str, str]:
    """Write *config* as variables for Flask's ``from_prefixed_env()``."""
    return {f"{prefix}_{name}": json.dumps(value) for name, value in config.items()}


@contextmanager
def open_shop(
    layout: Layout,
    workers: Workers,
    *,
    application: str = "signal_tasks.worker",
    queues: Sequence[str] = (PREFIX, REPORTS_QUEUE),
) -> Iterator[Stack]:
    """Give the shop on fresh tables, with a worker that may not answer yet.

    Args:
        layout: Where it runs.
        workers: Among whom its worker is started, to end when they do.
        application: Where the worker finds the Celery app.
        queues: What the worker takes from.
    """
    app = create_app(TESTING=True, **layout.config())
    engine = create_engine(layout.database_url)
    Base.metadata.create_all(engine)
    app.extensions["signal_tasks"].store.create()
    worker = workers.start(
        layout.name,
        application=application,
        environment=layout.environment(),
        arguments=["--queues", ",".join(queues)],
    )
    yield Stack(app=app, worker=worker, engine=engine)
    engine.dispose()
    close_connections(app)
