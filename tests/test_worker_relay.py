"""The relay inside a worker: when it runs, when it ends, and what a fork waits for."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from blinker import Signal
from celery import Celery
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down
from flask import Flask

from signal_tasks import Bridge
from signal_tasks.relay.worker_relay import ForkPause, WorkerRelay
from signal_tasks.store import Store
from tests.envelopes import envelope
from tests.in_memory import Broker, broker_of, new_app, new_celery_app


@dataclass(eq=False)
class Worker:
    """What Celery calls the sender of its signals."""

    app: Celery


def send_ready(celery_app: Celery) -> None:
    """Let a worker of *celery_app* be ready."""
    worker_ready.send(sender=Worker(celery_app))


def send_end() -> None:
    """Let the worker end."""
    worker_shutting_down.send(sender="celery@here", sig="TERM", how="warm", exitcode=0)
    worker_shutdown.send(sender=Worker(Celery(set_as_current=False)))


def relay_threads() -> list[threading.Thread]:
    """Return the threads that are relays."""
    return [one for one in threading.enumerate() if "ForkPause" in repr(one._target)]


def new_shop(bridge: Bridge, folder: Path, **config: object) -> Flask:
    """Make an app with one receiver, whose events go by the outbox."""
    url = f"sqlite:///{folder / 'store.sqlite3'}"
    app = new_app(bridge, SIGNAL_TASKS_STORE_URL=url, **config)
    bridge.async_receiver(Signal(), name="bill", delivery="outbox")(lambda _: None)
    return app


def await_empty(store: Store) -> None:
    """Wait until everything has been published."""
    deadline = time.monotonic() + 30
    while store.outbox.state().due and time.monotonic() < deadline:
        time.sleep(0.02)


def test_worker_publishes_what_is_in_the_outbox(
    flask_bridge: Bridge, tmp_path: Path
) -> None:
    """From when a worker is ready until it ends, rows leave."""
    app = new_shop(flask_bridge, tmp_path)
    store: Store = app.extensions["signal_tasks"].store
    store.outbox.add([envelope("e1")])

    send_ready(app.extensions["celery"])
    await_empty(store)
    send_end()

    assert broker_of(app).names() == ["bill"]
    assert relay_threads() == []


def test_worker_of_a_bridge_does_so_too(tmp_path: Path) -> None:
    """Without Flask it is the same, where the bridge has a store."""
    celery_app = new_celery_app()
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    bridge = Bridge(celery_app, store=store, delivery="outbox")
    bridge.async_receiver(Signal(), name="bill")(lambda _: None)
    store.outbox.add([envelope("e1")])

    send_ready(celery_app)
    await_empty(store)
    send_end()

    assert Broker(celery_app).names() == ["bill"]


def test_worker_that_is_told_not_to_has_no_relay(
    flask_bridge: Bridge, tmp_path: Path
) -> None:
    """Where a process of its own does it, workers need not."""
    app = new_shop(flask_bridge, tmp_path, SIGNAL_TASKS_RELAY_IN_WORKER=False)

    send_ready(app.extensions["celery"])

    assert relay_threads() == []
    send_end()


def test_worker_without_an_outbox_has_no_relay(
    flask_bridge: Bridge, tmp_path: Path
) -> None:
    """Where nothing goes by the outbox, no store is asked for rows."""
    app = new_app(flask_bridge)
    flask_bridge.async_receiver(Signal(), name="bill")(lambda _: None)

    send_ready(app.extensions["celery"])

    assert relay_threads() == []
    send_end()


def test_other_workers_are_none_of_ours(flask_bridge: Bridge, tmp_path: Path) -> None:
    """The worker of another Celery app publishes nothing for this one."""
    app = new_shop(flask_bridge, tmp_path)

    send_ready(Celery(set_as_current=False))

    assert app
    assert relay_threads() == []


@dataclass(eq=False)
class Host:
    """An application, which has nothing but its Celery app."""

    celery_app: Celery


def test_app_that_is_gone_is_not_missed() -> None:
    """The relay of an app keeps it no more alive than Celery's signals do."""
    celery_app = new_celery_app()
    relay = WorkerRelay(Host(celery_app))

    send_ready(celery_app)

    assert relay
    assert relay_threads() == []


# -- forks


class Relaying:
    """A relay that rests, and then is at work for as long as a test wants."""

    def __init__(self) -> None:
        self.rests = threading.Event()
        self.works = threading.Event()
        self.may_work = threading.Event()

    def run(self, stop: threading.Event, *, rest) -> None:
        with rest():
            self.rests.set()
            self.may_work.wait(20)
        self.works.set()
        stop.wait(20)


def test_fork_waits_for_a_relay_at_work() -> None:
    """Between work and work a fork goes on at once; during work it waits, in vain."""
    pause = ForkPause()
    relaying = Relaying()
    stop = threading.Event()
    thread = threading.Thread(target=pause.run, args=(relaying, stop))
    thread.start()
    relaying.rests.wait(20)

    pause._begin()
    relaying.may_work.set()
    assert not relaying.works.wait(0.05)
    pause._end()
    assert relaying.works.wait(20)
    pause._begin()
    assert not pause._is_held
    pause._end()

    stop.set()
    thread.join()
    pause._begin()
    assert pause._is_held
    pause._end()
