"""How often a channel of kombu's makes a client of Redis."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection

from signal_tasks.dev.broker import running_broker
from signal_tasks.tasks.channel_client import keep_client


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """Return the URL of a real broker that is ours alone."""
    with running_broker() as broker:
        yield broker.url


@pytest.fixture
def channel(redis_url: str) -> Iterator[Any]:
    """Return a channel that keeps its client."""
    with Connection(redis_url) as connection:
        channel: Any = connection.default_channel
        keep_client(channel)
        yield channel


def client_of(channel: Any) -> Any:
    """Return the client that *channel* would give its next command with."""
    with channel.conn_or_acquire() as client:
        assert client.ping()
        return client


def test_client_is_made_once(channel: Any) -> None:
    """All commands of a channel are given with the same client."""
    assert client_of(channel) is client_of(channel)


def test_client_that_waits_is_another_one(channel: Any) -> None:
    """Those that wait for messages keep their connections to themselves."""
    waiting = channel.subclient

    assert waiting.connection_pool is channel.client.connection_pool
    assert waiting.connection_pool is not client_of(channel).connection_pool


def test_lost_connections_are_no_longer_used() -> None:
    """A channel that has got other connections gets a client that uses those."""
    channel = SimpleNamespace(pool=object(), Client=SimpleNamespace)
    keep_client(channel)
    former = channel.Client(connection_pool=channel.pool)
    channel.pool = object()

    client = channel.Client(connection_pool=channel.pool)

    assert client is not former
    assert client.connection_pool is channel.pool
