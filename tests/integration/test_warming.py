"""Processes that warm up beside their first request, with a broker that is there or not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from blinker import Signal
from flask import Flask

from signal_tasks import Bridge
from signal_tasks.bridge import default_bridge
from signal_tasks.dev.broker import running_broker
from signal_tasks.flask.warming import THREAD
from signal_tasks.publisher.lines import Lines
from tests.in_memory import broker_of, celery_settings, new_app
from tests.integration.workers import wait_for
from tests.test_publisher import listening
from tests.test_warming import await_threads, serving

pytestmark = pytest.mark.integration

PER_LINE = 2
"""How many connections a line has with Redis: kombu writes over one of them."""

PRELOADED = """
import os, sys, threading
from tests.test_warming import await_threads, serving

app = serving(CELERY={"broker_url": sys.argv[1]})
assert "redis" not in sys.modules
assert threading.active_count() == 1
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        app.test_client().get("/")
        await_threads()
        assert "redis" in sys.modules
        assert "sqlalchemy" not in sys.modules  # nobody has needed it
        os.write(1, b"warm ")
        sys.stdin.read()
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Let no receiver of the demo hear of the requests, for it listens to all apps."""
    with default_bridge.disconnected():
        yield


@pytest.fixture
def url() -> Iterator[str]:
    """Return the URL of a real broker that is ours alone."""
    with running_broker() as broker:
        yield broker.url


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    """Return a client of that broker."""
    with redis.Redis.from_url(url) as client:
        yield client


def shop(url: str, signal: Signal) -> Flask:
    """Return an app with two receivers, and a page that sends *signal*."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="bill")(print)
    bridge.async_receiver(Signal(), name="pack")(print)
    app = new_app(
        bridge,
        TESTING=False,
        CELERY=celery_settings(broker_url=url),
        SIGNAL_TASKS_ON_ERROR="raise",
    )
    app.add_url_rule("/order", "order", lambda: str(signal.send(app)))
    return app


def connections(client: redis.Redis) -> int:
    """Return how many connections the broker has had."""
    count: int = client.info("stats")["total_connections_received"]
    return count


def calls(client: redis.Redis) -> dict[str, int]:
    """Return how often each command was called, but for our own."""
    stats = client.info("commandstats")
    return {name: one["calls"] for name, one in stats.items() if "info" not in name}


def test_event_after_a_plain_request_finds_everything_there(
    url: str, client: redis.Redis, signal: Signal
) -> None:
    """The first event is one command, over the line that the first request has made."""
    app = shop(url, signal)
    before = connections(client)
    app.test_client().get("/")
    await_threads()
    warm, called = connections(client), calls(client)

    response = app.test_client().get("/order")

    assert response.status_code == 200
    assert (warm, connections(client)) == (before + PER_LINE, before + PER_LINE)
    after = calls(client)
    lpush = "cmdstat_lpush"
    assert after == {**called, lpush: called[lpush] + 1}
    assert broker_of(app).names() == ["bill"]


def test_event_of_the_first_request_shares_the_connection(
    url: str,
    client: redis.Redis,
    signal: Signal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An event sent while the process warms up has no second connection made for it."""
    app = shop(url, signal)
    new_line = Lines._new_line

    def connect(lines: Lines) -> object:
        wait_for(lambda: lines._waiting, "an event")
        return new_line(lines)

    monkeypatch.setattr(Lines, "_new_line", connect)
    before = connections(client)

    response = app.test_client().get("/order")
    await_threads()

    assert response.status_code == 200
    assert connections(client) == before + PER_LINE
    assert broker_of(app).names() == ["bill"]


def test_each_child_of_a_preloaded_app_warms_up(url: str, client: redis.Redis) -> None:
    """A server may load the app and fork; the parent starts, imports and connects nothing."""
    before = connections(client)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PRELOADED, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=os.environ,
    )
    with process:
        assert process.stdout is not None
        warm = process.stdout.read(len("warm warm "))
        made = connections(client) - before

    assert (warm, made, process.returncode) == (b"warm warm ", 2 * PER_LINE, 0)


def test_request_does_not_wait_for_a_broker_that_hangs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The request is answered while the thread still waits, and the log tells it once."""
    with listening() as port:
        app = serving(CELERY=celery_settings(broker_url=f"redis://127.0.0.1:{port}/0"))

        response = app.test_client().get("/")

        still_waits = any(one.name == THREAD for one in threading.enumerate())
    await_threads()
    assert response.status_code == 404
    assert still_waits
    assert caplog.text.count(f"127.0.0.1:{port}/0 is not there yet") == 1
