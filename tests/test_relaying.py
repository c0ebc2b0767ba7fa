"""A relay at work on a store: how it hears of rows, and what it leaves there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import text

from signal_tasks.envelope import Envelope
from signal_tasks.exceptions import StoreError
from signal_tasks.inbox import Claim
from signal_tasks.relay.relaying import Relaying, RelaySettings
from signal_tasks.store import Store
from signal_tasks.store.relays import Relays
from signal_tasks.store.tables import handled, relays
from tests.envelopes import envelope
from tests.stores import Clock, url

__all__ = ["url"]


class Broker:
    """Takes what is published, and tells of it."""

    def __init__(self, when_taken: Callable[[], object] = lambda: None) -> None:
        self.taken: list[str] = []
        self.when_taken = when_taken

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        self.taken += [one.id for one in envelopes]
        self.when_taken()


@pytest.fixture
def store(url: str) -> Store:
    """Return a store in each kind of database."""
    store = Store(url)
    store.create()
    return store


def relaying(store: Store, broker: Broker, **settings: Any) -> Relaying:
    """Return a relay."""
    return Relaying(
        store, broker, receivers=lambda: ["bill"], settings=RelaySettings(**settings)
    )


def names(store: Store) -> Sequence[str]:
    """Return the relays that are noted."""
    with store.reading() as connection:
        return connection.scalars(sqlalchemy.select(relays.c.name)).all()


def test_row_that_comes_later_leaves(store: Store) -> None:
    """A relay that waits hears of rows, or looks for them."""
    stop = threading.Event()
    broker = Broker(stop.set)
    work = relaying(store, broker)

    with ThreadPoolExecutor(1) as executor:
        done = executor.submit(work.run, stop)
        store.outbox.add([envelope("e1")])
        done.result(timeout=60)

    assert broker.taken == ["e1"]
    assert work.published == 1


def test_relay_rests_while_it_waits(store: Store) -> None:
    """What is to happen in its pauses does, and not while it publishes."""
    stop = threading.Event()
    log: list[str] = []

    @contextmanager
    def rest() -> Iterator[None]:
        log.append("rests")
        store.outbox.add([envelope(f"e{len(log)}")])
        yield
        log.append("works")

    broker = Broker(lambda: log.append("publishes") or (len(log) > 4 and stop.set()))
    relaying(store, broker).run(stop, rest=rest)

    assert log[:3] == ["rests", "works", "publishes"]
    assert log[3:6] == ["rests", "works", "publishes"]


def test_relay_tells_that_it_is_there(store: Store) -> None:
    """While it is at work the store knows it by its machine and process."""
    stop = threading.Event()
    seen: list[Sequence[str]] = []
    broker = Broker(lambda: (seen.append(names(store)), stop.set()))
    store.outbox.add([envelope("e1")])
    work = relaying(store, broker)

    work.run(stop)

    assert seen == [[work.name]]
    assert work.name.startswith(f"{socket.gethostname()}:")
    assert work.address == store.address
    assert names(store) == []


def test_relay_forgets_old_keys(url: str) -> None:
    """What was handled long ago is not kept for ever."""
    clock = Clock(datetime.now(UTC))
    store = Store(url, now=clock)
    store.create()
    for event_id, age in (("old", 8), ("new", 6)):
        clock.time = datetime.now(UTC) - timedelta(days=age)
        claim = store.inbox.claim(event_id, "bill", is_kept=False, lease_seconds=1)
        assert isinstance(claim, Claim)
        store.inbox.finish(claim)
    clock.time = datetime.now(UTC)

    store.outbox.add([envelope("e1")])
    stop = threading.Event()

    relaying(store, Broker(stop.set), keep_keys=timedelta(days=7)).run(stop)

    with store.reading() as connection:
        left = connection.scalars(sqlalchemy.select(handled.c.event_id)).all()
    assert left == ["new"]


def test_relay_looks_for_old_keys_now_and_then(store: Store) -> None:
    """What has grown old since a relay looked waits until it looks again."""
    stop = threading.Event()
    work = relaying(store, Broker(stop.set), keep_keys=timedelta(0))
    for event_id in ("e1", "e2"):
        claim = store.inbox.claim(event_id, "bill", is_kept=False, lease_seconds=1)
        assert isinstance(claim, Claim)
        store.inbox.finish(claim)
        store.outbox.add([envelope(event_id)])
        stop.clear()
        work.run(stop)

    with store.reading() as connection:
        left = connection.scalars(sqlalchemy.select(handled.c.event_id)).all()
    assert left == ["e2"]


def test_relay_that_cannot_take_its_leave_ends_all_the_same() -> None:
    """A store that is gone at the end changes nothing about the end."""
    store = Store("postgresql+psycopg://postgres@127.0.0.1:1/shop")
    stop = threading.Event()
    stop.set()

    relaying(store, Broker()).run(stop)

    assert stop.is_set()


def test_once_tells_of_a_store_that_is_not_there() -> None:
    """Who runs it once is told that the store did not do it."""
    store = Store("postgresql+psycopg://postgres@127.0.0.1:1/shop")

    with pytest.raises(StoreError):
        relaying(store, Broker()).run_once(threading.Event())


def test_relays_that_are_long_gone_are_forgotten(url: str) -> None:
    """One that was killed is known for a day."""
    clock = Clock()
    store = Store(url, now=clock)
    store.create()
    store.relays.note("killed", started_at=clock())
    clock.move(23 * 3600)
    store.relays.note("alive", started_at=clock())
    assert sorted(names(store)) == ["alive", "killed"]
    clock.move(2 * 3600)

    store.relays.note("alive", started_at=clock())

    assert names(store) == ["alive"]
    assert isinstance(store.relays, Relays)


# -- listening


class Impatient(threading.Event):
    """An event that nobody waits for, but that notes who would."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0)
        return self.is_set()


def test_listener_looks_or_listens(store: Store) -> None:
    """SQLite tells of nothing, so it is looked at five times a second."""
    listener = store.listener()
    stop = Impatient()

    for _ in range(3):
        listener.wait(stop)
    listener.close()

    is_polling = store.address.startswith("sqlite")
    assert stop.waits == ([0.2] * 3 if is_polling else [])


def test_listener_survives_its_connection(store: Store) -> None:
    """A connection that the server ends is replaced."""
    if store.address.startswith("sqlite"):
        return
    listener = store.listener()
    stop = Impatient()
    listener.wait(stop)
    with store.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                "datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    listener.wait(stop)
    assert stop.waits == [0.2]
    listener.wait(stop)
    store.outbox.add([envelope("e1")])
    listener.wait(stop)

    listener.close()
    listener.close()
    assert stop.waits == [0.2]


def test_listener_waits_for_a_server_that_is_not_there() -> None:
    """What is wrong with the store is said elsewhere."""
    listener = Store("postgresql+psycopg://postgres@127.0.0.1:1/shop").listener()
    stop = Impatient()

    listener.wait(stop)

    assert stop.waits == [0.2]
