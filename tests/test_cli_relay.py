"""The command ``relay``, run as ``flask signal-tasks`` runs it."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blinker import Signal
from click.testing import Result
from flask import Flask

from signal_tasks import Bridge
from signal_tasks.cli.group import group
from signal_tasks.envelope import Envelope
from signal_tasks.store import Store
from tests.envelopes import envelope
from tests.in_memory import broker_of, new_app


@pytest.fixture
def app(flask_bridge: Bridge, tmp_path: Path) -> Flask:
    """Return an app with the command, a store of its own and one receiver."""
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    app = new_app(flask_bridge, SIGNAL_TASKS_STORE_URL=url)
    app.cli.add_command(group)
    flask_bridge.async_receiver(Signal(), name="bill")(lambda _sender: None)
    return app


@pytest.fixture
def store(app: Flask) -> Store:
    """Return the store of *app*."""
    store: Store = app.extensions["signal_tasks"].store
    return store


def envelopes(count: int, receiver: str = "bill") -> list[Envelope]:
    """Return envelopes for one receiver."""
    return [envelope(f"e{number}", receiver) for number in range(count)]


def run(app: Flask, *arguments: str) -> Result:
    """Run the command."""
    return app.test_cli_runner().invoke(args=["signal-tasks", "relay", *arguments])


def test_once_publishes_what_is_due(app: Flask, store: Store) -> None:
    """With --once the command ends when the outbox is empty, and says what it did."""
    store.outbox.add(envelopes(5))
    store.spool.add(envelopes(2), is_spooled=True)

    result = run(app, "--once", "--batch", "2")

    assert result.output == (
        f"Publishing what is in the outbox at {store.address}.\n7 published.\n"
    )
    assert broker_of(app).names() == ["bill"] * 7
    assert not store.spool.has_spooled()


def test_rows_without_a_receiver_here_stay(app: Flask, store: Store) -> None:
    """What another app put into the same store is left to its relay."""
    store.outbox.add(envelopes(1, "other.app"))

    result = run(app, "--once")

    assert result.output.endswith("\n0 published.\n")
    assert store.outbox.state().due == 1


def test_broker_that_takes_nothing_is_one_line(app: Flask, store: Store) -> None:
    """The command says why nothing left, and what is due stays due."""
    store.outbox.add(envelopes(3))
    app.extensions["celery"].conf.broker_url = "redis://127.0.0.1:1/0"

    result = run(app, "--once")

    assert result.exit_code == 1
    assert "Error: 0 published, the others stay: the broker" in result.output
    assert store.outbox.state().due == 3


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name
)
def test_relay_ends_when_it_is_told_to(
    app: Flask, store: Store, number: signal.Signals
) -> None:
    """It publishes what comes until a signal ends it, after the batch at hand."""
    store.create()
    has_left = threading.Event()

    def send_and_end() -> None:
        store.outbox.add(envelopes(3))
        deadline = time.monotonic() + 20
        while store.outbox.state().due and time.monotonic() < deadline:
            has_left.wait(0.05)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with ThreadPoolExecutor(1) as executor:
        executor.submit(send_and_end)
        result = run(app)

    assert result.exit_code == 0
    assert result.output.endswith("\n3 published.\n")
    assert signal.getsignal(number) is before
    assert broker_of(app).names() == ["bill"] * 3
