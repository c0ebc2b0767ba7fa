"""The deliveries of an application, put together around a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from blinker import Signal
from celery import Celery
from celery.signals import worker_process_shutdown
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from signal_tasks import (
    Bridge,
    ConfigurationError,
    EncodeError,
    PublishError,
    RegistrationError,
    dispatch_failed,
    event_spooled,
)
from signal_tasks.delivery.deliveries import BufferSettings, Deliveries
from signal_tasks.envelope import Seal
from signal_tasks.signals import DispatchFailed, EventSpooled
from signal_tasks.store import Store
from tests.in_memory import KEY, Broker


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of the application's database."""
    return tmp_path / "shop.sqlite3"


@pytest.fixture
def store(file: Path) -> Store:
    """Return the store, in the application's database."""
    return Store(f"sqlite:///{file}")


@pytest.fixture
def engine(file: Path) -> Iterator[Engine]:
    """Return the application's own way to its database."""
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE effects (event TEXT)"))
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[scoped_session[Session]]:
    """Return the application's session."""
    session = scoped_session(sessionmaker(engine))
    yield session
    session.remove()


@pytest.fixture
def bridge(
    celery_app: Celery, store: Store, session: scoped_session[Session]
) -> Bridge:
    """Return a bridge whose failures are logged."""
    return Bridge(celery_app, secret_key=KEY, store=store, session=session)


def rows_of(store: Store) -> list[str]:
    """Return the receivers in the outbox, and make them due for nobody else."""
    return [row.envelope.receiver for row in store.outbox.take_due(9, lease_seconds=60)]


def ignore(sender: object) -> None:
    """Do nothing."""


def test_outbox_row_commits_with_the_callers_rows(
    bridge: Bridge, store: Store, session: scoped_session[Session], signal: Signal
) -> None:
    """The row is there after the commit, and was not there before."""
    store.create()
    bridge.async_receiver(signal, name="bill", delivery="outbox")(ignore)
    session.execute(text("INSERT INTO effects VALUES ('mine')"))

    signal.send()
    before = store.outbox.state().kept
    session.commit()

    assert (before, rows_of(store)) == (0, ["bill"])


def test_outbox_row_is_rolled_back_with_the_callers_rows(
    bridge: Bridge, store: Store, session: scoped_session[Session], signal: Signal
) -> None:
    """An event of a transaction that did not happen did not happen either."""
    bridge.async_receiver(signal, name="bill", delivery="outbox")(ignore)
    session.execute(text("INSERT INTO effects VALUES ('mine')"))

    signal.send()
    session.rollback()

    assert rows_of(store) == []


def test_commit_delivery_publishes_after_the_commit(
    bridge: Bridge, broker: Broker, session: scoped_session[Session], signal: Signal
) -> None:
    """The message is on the queue when the caller's transaction has committed."""
    bridge.async_receiver(signal, name="bill", delivery="commit")(ignore)
    session.execute(text("INSERT INTO effects VALUES ('mine')"))

    signal.send()
    before = broker.names()
    session.commit()

    assert (before, broker.names()) == ([], ["bill"])


def test_each_receiver_has_its_own_delivery(
    bridge: Bridge,
    broker: Broker,
    store: Store,
    session: scoped_session[Session],
    signal: Signal,
) -> None:
    """Receivers of one event go different ways, with one identifier."""
    bridge.async_receiver(signal, name="bill", delivery="outbox")(ignore)
    bridge.async_receiver(signal, name="pack")(ignore)
    bridge.async_receiver(signal, name="wait", delivery="request")(ignore)

    ((_, event_id),) = signal.send()

    (message, other) = broker.take()
    (row,) = store.outbox.take_due(9, lease_seconds=60)
    assert message.headers["signal_tasks_event"] == row.envelope.id == event_id
    assert other.headers["task"] == "wait"


def test_buffered_delivery_publishes_in_a_while(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A thread publishes; a flush does not wait for it."""
    bridge.async_receiver(signal, name="bill", delivery="buffered")(ignore)

    signal.send()
    bridge._own_host.delivery("buffered").flush()  # type: ignore[union-attr]

    assert broker.names() == ["bill"]


def test_default_delivery_is_chosen_for_the_bridge(
    celery_app: Celery, store: Store, signal: Signal
) -> None:
    """A receiver that names no delivery has that of its bridge."""
    bridge = Bridge(celery_app, secret_key=KEY, store=store, delivery="outbox")
    bridge.async_receiver(signal, name="bill")(ignore)

    signal.send()

    assert rows_of(store) == ["bill"]


def test_bridge_has_a_relay(
    bridge: Bridge, broker: Broker, store: Store, signal: Signal
) -> None:
    """A program without Flask publishes the rows of its outbox by itself."""
    bridge.async_receiver(signal, name="bill", delivery="outbox")(ignore)
    signal.send()

    bridge.relaying().run_once(Event())

    assert broker.names() == ["bill"]


def test_bridge_without_a_celery_app_has_no_relay() -> None:
    """With Flask there is a command for it."""
    with pytest.raises(ConfigurationError, match="flask signal-tasks relay"):
        Bridge().relaying()


def test_unknown_default_delivery_is_refused(celery_app: Celery) -> None:
    """A word that means nothing is an error where it is written."""
    delivery: Any = "later"

    with pytest.raises(RegistrationError, match="takes one of"):
        Bridge(celery_app, delivery=delivery)


def test_outbox_needs_a_store(celery_app: Celery, signal: Signal) -> None:
    """Without a database there is no table for the row."""
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    bridge.async_receiver(signal, name="bill", delivery="outbox")(ignore)

    with pytest.raises(ConfigurationError, match=r"Bridge\(celery_app, store="):
        signal.send()


def test_once_needs_a_store(celery_app: Celery, signal: Signal) -> None:
    """Where nothing can be noted, a receiver says so when it is declared."""
    bridge = Bridge(celery_app, secret_key=KEY)

    with pytest.raises(ConfigurationError, match="once=True needs a store"):
        bridge.async_receiver(signal, name="bill", once=True)(ignore)

    assert not list(bridge.registry)


@pytest.fixture
def broken(celery_app: Celery) -> Iterator[Celery]:
    """Return the Celery app with a broker where nobody listens."""
    url, celery_app.conf.broker_url = celery_app.conf.broker_url, "redis://127.0.0.1:1"
    yield celery_app
    celery_app.conf.broker_url = url


def test_event_that_the_broker_does_not_take_is_kept(
    broken: Celery, store: Store, signal: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a row of the spool, which beside a SQLite store has a file of its own."""
    spooled: list[EventSpooled] = []

    def note(sender: object, details: EventSpooled) -> None:
        spooled.append(details)

    # The drain has its own tests; here its thread would go on for ever.
    monkeypatch.setattr("signal_tasks.delivery.deliveries.drain", lambda *_: None)
    bridge = Bridge(broken, secret_key=KEY, store=store)
    bridge.async_receiver(signal, name="bill")(ignore)

    with event_spooled.connected_to(note):
        signal.send()

    assert [one.receivers for one in spooled] == [("bill",)]
    assert store.spool.has_spooled()
    assert not store.is_there


def test_event_that_raises_is_not_kept(
    broken: Celery, store: Store, signal: Signal
) -> None:
    """Who hears of the failure decides what becomes of the event."""
    bridge = Bridge(broken, secret_key=KEY, store=store, on_error="raise")
    bridge.async_receiver(signal, name="bill")(ignore)

    with pytest.raises(PublishError):
        signal.send()

    assert not store.spool.is_there


def test_deliveries_are_made_once(bridge: Bridge) -> None:
    """A buffer that was another one each time would forget what waits."""
    host = bridge._own_host
    assert host is not None
    deliveries = Deliveries(host)

    assert deliveries.named("buffered") is deliveries.named("buffered")
    assert deliveries.named("commit") is deliveries.named("commit")


def test_threads_that_are_first_share_a_buffer(bridge: Bridge) -> None:
    """What waited in another buffer would be gone with that."""
    host = bridge._own_host
    assert host is not None
    others: list[object] = []

    def settings() -> BufferSettings:
        if not others:
            others.append(None)
            others.append(deliveries.buffer)
        return BufferSettings()

    deliveries = Deliveries(host, buffer=settings)

    assert deliveries.buffer is others[1]


def test_child_of_a_pool_flushes_its_buffer(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """The processes of a worker end without a word to Python, but not to Celery."""
    bridge.async_receiver(signal, name="bill", delivery="buffered")(ignore)

    signal.send()
    worker_process_shutdown.send(sender=None, pid=1, exitcode=0)

    assert broker.names() == ["bill"]


class TestBuffered:
    """What is encoded at once, and what may wait for the thread."""

    @pytest.fixture
    def flush(self, bridge: Bridge, signal: Signal) -> Any:
        """Connect a buffered receiver, and return what publishes its events now."""
        bridge.async_receiver(signal, name="bill", delivery="buffered")(ignore)
        host = bridge._own_host
        assert host is not None
        # The thread would be in the way of what the tests change meanwhile.
        host.buffer._waiting.own.publishing.acquire()

        def flush() -> None:
            host.buffer._waiting.own.publishing.release()
            host.buffer.flush()

        return flush

    def test_what_can_change_is_encoded_at_once(
        self, broker: Broker, flush: Any, signal: Signal
    ) -> None:
        """A list that is changed after the send travels as it was."""
        goods = ["apple"]

        signal.send(goods=goods)
        goods.append("pear")
        flush()

        (message,) = broker.take()
        assert "apple" in message.payload[0][0]
        assert "pear" not in message.payload[0][0]

    def test_what_cannot_travel_is_an_error_at_the_send(
        self,
        celery_app: Celery,
        store: Store,
        signal: Signal,
    ) -> None:
        """Buffering hides nothing that the sender could mend."""
        bridge = Bridge(celery_app, secret_key=KEY, store=store, on_error="raise")
        bridge.async_receiver(signal, name="bill", delivery="buffered")(ignore)

        with pytest.raises(EncodeError, match=r"kwargs\['what'\]"):
            signal.send(what=object())

    @pytest.mark.parametrize(
        "sender", [None, "web", 7], ids=["nobody", "text", "number"]
    )
    def test_what_cannot_change_waits_as_it_is(
        self, broker: Broker, flush: Any, signal: Signal, sender: object
    ) -> None:
        """Plain values are encoded in the thread, with the identifier of the send."""
        ((_, event_id),) = signal.send(sender, name="Ada", age=36)

        flush()

        (message,) = broker.take()
        assert message.headers["signal_tasks_event"] == event_id
        assert '"name":"Ada","age":36' in message.payload[0][0]

    def test_failure_in_the_thread_is_told(
        self,
        bridge: Bridge,
        flush: Any,
        signal: Signal,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What fails where nobody can be told by raising is logged and reported."""
        failures: list[DispatchFailed] = []

        def note(sender: object, details: DispatchFailed) -> None:
            failures.append(details)

        def fail(*_: object, **__: object) -> None:
            raise MemoryError

        signal.send()
        monkeypatch.setattr(Seal, "seal", fail)
        with dispatch_failed.connected_to(note):
            flush()

        assert [one.receivers for one in failures] == [("bill",)]

    def test_default_delivery_may_be_buffered(
        self, celery_app: Celery, broker: Broker, store: Store, signal: Signal
    ) -> None:
        """Receivers that name none are buffered as those that name it."""
        bridge = Bridge(celery_app, secret_key=KEY, store=store, delivery="buffered")
        bridge.async_receiver(signal, name="bill")(ignore)

        signal.send()
        host = bridge._own_host
        assert host is not None
        host.buffer.flush()

        assert broker.names() == ["bill"]
