"""What is done to brokers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kombu import Connection

from signal_tasks.dev.processes import Children
from tests.faults.brokers import Broker, MissingServerError, running_broker
from tests.faults.cells import Cell
from tests.integration.servers import missing

pytestmark = pytest.mark.integration


def cell(broker: str) -> Cell:
    """Return a cell with that broker."""
    return Cell(fault="none", delivery="direct", broker=broker, store="sqlite")


@pytest.fixture(params=["redis", "redis-aof", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Return each broker in turn."""
    with Children() as children:
        try:
            with running_broker(cell(request.param), children, tmp_path) as broker:
                yield broker
        except MissingServerError as error:  # pragma: no cover  # where one is missing
            missing(error)


def put(broker: Broker) -> None:
    """Put a message into its queue."""
    with Connection(broker.url) as connection:
        queue = connection.SimpleQueue(broker.queue)
        queue.put("a message")
        queue.close()


def test_what_is_flushed_is_gone(broker: Broker) -> None:
    """A message waits until then, and a queue that is not there is empty."""
    before = broker.waiting()
    put(broker)
    with_one = broker.waiting()
    broker.flush()

    assert (before, with_one, broker.waiting()) == (0, 1, 0)


def test_connections_that_are_cut_are_dead(broker: Broker) -> None:
    """Nothing more is heard over them; others can be made."""
    url = urlsplit(broker.url)
    greeting = b"PING\r\n" if url.scheme == "redis" else b"AMQP\x00\x00\x09\x01"
    with socket.create_connection((url.hostname, url.port), timeout=20) as idle:
        idle.sendall(greeting)
        answer = idle.recv(65536)

        broker.cut()

        assert answer
        assert idle.recv(65536) == b""
    put(broker)
    assert broker.waiting() == 1


def test_redis_with_an_append_only_file_keeps_messages(tmp_path: Path) -> None:
    """That is the difference that a kill makes."""
    kept: dict[str, int] = {}
    for kind in ("redis", "redis-aof"):
        folder = tmp_path / kind
        folder.mkdir()
        with (
            Children() as children,
            running_broker(cell(kind), children, folder) as broker,
        ):
            put(broker)
            broker.node.kill()
            broker.node.start()
            kept[kind] = broker.waiting()

    assert kept == {"redis": 0, "redis-aof": 1}


def test_rabbitmq_that_is_not_there_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error says which server, and the variable that names another."""
    url = "amqp://guest:guest@127.0.0.1:1//"
    monkeypatch.setenv("SIGNAL_TASKS_TEST_RABBITMQ_URL", url)

    with (
        Children() as children,
        pytest.raises(MissingServerError, match="SIGNAL_TASKS_TEST_RABBITMQ_URL"),
        running_broker(cell("rabbitmq"), children, tmp_path),
    ):
        pass  # pragma: no cover  # it does not come to that
