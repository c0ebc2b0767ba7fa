"""Handlers that handle an event once, whatever number of messages comes for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from blinker import Signal
from celery import Celery
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from signal_tasks import Bridge, SignalTasks, current_event, duplicate_dropped
from signal_tasks.signals import DuplicateDropped
from signal_tasks.store import Store
from tests.in_memory import KEY, Broker, broker_of, celery_settings


@pytest.fixture
def dropped() -> Iterator[list[str]]:
    """Return the receivers whose duplicates are reported to have been dropped."""
    receivers: list[str] = []

    def note(sender: object, details: DuplicateDropped) -> None:
        receivers.append(details.receiver)

    with duplicate_dropped.connected_to(note):
        yield receivers


@dataclass(frozen=True, slots=True)
class Till:
    """A handler that writes one row and commits it."""

    engine: Engine
    session: scoped_session[Session]

    def bill(self, _: object) -> None:
        """Write the event's row."""
        row = {"event": current_event.id}
        self.session.execute(text("INSERT INTO effects VALUES (:event)"), row)
        self.session.commit()

    def effects(self) -> int:
        """Return how many rows there are."""
        with self.engine.connect() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM effects")) or 0)


class TestPlain:
    """A program without Flask, whose session is in the database of the store."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """Return the store."""
        store = Store(f"sqlite:///{tmp_path / 'shop.sqlite3'}")
        store.create()
        return store

    @pytest.fixture
    def engine(self, store: Store) -> Iterator[Engine]:
        """Return the program's own way to the database."""
        engine = create_engine(store.url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE effects (event TEXT)"))
        yield engine
        engine.dispose()

    @pytest.fixture
    def session(self, engine: Engine) -> Iterator[scoped_session[Session]]:
        """Return the program's session."""
        session = scoped_session(sessionmaker(engine))
        yield session
        session.remove()

    @pytest.fixture
    def bridge(
        self, celery_app: Celery, store: Store, session: scoped_session[Session]
    ) -> Bridge:
        """Return a bridge that has the session and the store."""
        return Bridge(
            celery_app, secret_key=KEY, on_error="raise", store=store, session=session
        )

    @pytest.fixture
    def till(self, engine: Engine, session: scoped_session[Session]) -> Till:
        """Return a handler that commits, and its effects."""
        return Till(engine, session)

    def test_second_message_is_dropped(
        self,
        bridge: Bridge,
        broker: Broker,
        till: Till,
        signal: Signal,
        dropped: list[str],
    ) -> None:
        """An event that was published twice has its effect once."""
        bridge.async_receiver(signal, name="bill", once=True)(till.bill)
        signal.send()
        (message,) = broker.take()
        for _ in range(2):
            again(broker, message)

        broker.run()

        assert (till.effects(), dropped) == (1, ["bill"])

    def test_row_goes_with_the_effect(
        self,
        bridge: Bridge,
        broker: Broker,
        store: Store,
        till: Till,
        dropped: list[str],
    ) -> None:
        """A row is gone when its handler has committed; a message without it is one."""
        signal = Signal()
        bridge.async_receiver(signal, name="bill", once=True, delivery="outbox")(
            till.bill
        )
        signal.send()
        publish_rows(bridge, store, times=2)

        broker.run()

        assert (till.effects(), dropped) == (1, ["bill"])
        assert store.outbox.state().kept == 0

    def test_row_stays_until_the_handler_has_finished(
        self,
        bridge: Bridge,
        broker: Broker,
        store: Store,
        signal: Signal,
    ) -> None:
        """A handler that fails leaves its row where it is, for the next attempt."""

        def fail(_: object) -> None:
            raise LookupError

        bridge.async_receiver(signal, name="bill", delivery="outbox")(fail)
        signal.send()
        publish_rows(bridge, store, times=1)

        broker.run()

        assert store.outbox.state().kept == 1

    def test_row_without_once_is_gone_after_the_handler(
        self, bridge: Bridge, broker: Broker, store: Store, signal: Signal
    ) -> None:
        """A handler that commits nothing has its row taken away when it returns."""
        bridge.async_receiver(signal, name="bill", delivery="outbox")(ignore)
        signal.send()
        publish_rows(bridge, store, times=1)

        broker.run()

        assert store.outbox.state().kept == 0

    def test_handler_without_a_session_is_noted_afterwards(
        self, celery_app: Celery, store: Store, signal: Signal, dropped: list[str]
    ) -> None:
        """Where there is no session, a duplicate is dropped all the same."""
        bridge = Bridge(celery_app, secret_key=KEY, store=store)
        broker = Broker(celery_app)
        runs: list[object] = []
        bridge.async_receiver(signal, name="bill", once=True)(runs.append)
        signal.send("shop")
        (message,) = broker.take()
        for _ in range(2):
            again(broker, message)

        broker.run()

        assert (runs, dropped) == (["shop"], ["bill"])


class TestFlask:
    """An app with Flask-SQLAlchemy, whose database is the store."""

    @pytest.fixture
    def db(self) -> SQLAlchemy:
        """Return the app's extension."""
        return SQLAlchemy()

    @pytest.fixture
    def app(self, db: SQLAlchemy, tmp_path: Path) -> Iterator[Flask]:
        """Return the app."""
        app = Flask("shop")
        app.config.update(
            TESTING=True,
            SECRET_KEY=KEY,
            CELERY=celery_settings(),
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'shop.sqlite3'}",
        )
        db.init_app(app)
        with app.app_context():
            with db.engine.begin() as connection:
                connection.execute(text("CREATE TABLE effects (event TEXT)"))
            yield app
            db.engine.dispose()

    def test_second_message_is_dropped(
        self, app: Flask, db: SQLAlchemy, signal: Signal, dropped: list[str]
    ) -> None:
        """The commit of db.session takes the note along, and the duplicate is dropped."""
        bridge = Bridge()
        SignalTasks(app, bridge=bridge)

        @bridge.async_receiver(signal, name="bill", once=True)
        def bill(_: object) -> None:
            row = {"event": current_event.id}
            db.session.execute(text("INSERT INTO effects VALUES (:event)"), row)
            db.session.commit()

        signal.send(app)
        broker = broker_of(app)
        (message,) = broker.take()
        for _ in range(2):
            again(broker, message)

        broker.run()

        count = db.session.scalar(text("SELECT count(*) FROM effects"))
        assert (count, dropped) == (1, ["bill"])


def ignore(_: object) -> None:
    """Do nothing."""


def again(broker: Broker, message: Any) -> None:
    """Put *message* into the queue as if it had been published once more."""
    broker.celery_app.send_task(
        message.headers["task"],
        args=message.payload[0],
        headers={"signal_tasks_event": message.headers["signal_tasks_event"]},
    )


def publish_rows(bridge: Bridge, store: Store, *, times: int) -> None:
    """Publish what is in the outbox, as a relay does that is killed before it notes it."""
    rows = store.outbox.take_due(9, lease_seconds=60)
    host = bridge._own_host
    assert host is not None
    for _ in range(times):
        host.publisher.publish([row.envelope for row in rows])
