"""What kombu publishes into Redis with, on a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from kombu import Connection, Producer

from signal_tasks.dev.broker import running_broker
from signal_tasks.publisher.redis_client import publish_over

PATIENCE_SECONDS = 4


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """Return the URL of a real broker that is ours alone."""
    with running_broker() as broker:
        yield broker.url


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """Return a client of the broker, which is empty."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def channel(redis_url: str) -> Iterator[Any]:
    """Return a channel that publishes over one connection."""
    with Connection(redis_url) as connection:
        yield prepared(connection.default_channel)


def prepared(channel: Any) -> Any:
    """Let *channel* publish over a connection of its own."""
    publish_over(channel.client.client().connection, channel, PATIENCE_SECONDS)
    return channel


def publish(channel: Any, *bodies: str, queue: str = "bills") -> None:
    """Let kombu publish messages, one after the other."""
    for body in bodies:
        Producer(channel).publish(body, routing_key=queue, serializer="json")


def publish_batch(channel: Any, *messages: tuple[str, Any]) -> None:
    """Let kombu publish queues' messages at once."""
    producer = Producer(channel)
    with producer.batch():
        for queue, body in messages:
            producer.publish(body, routing_key=queue, content_type="text/plain")


def received(channel: Any, queue: str = "bills") -> list[str]:
    """Take the bodies out of *queue*, the oldest first."""
    messages = iter(lambda: channel.basic_get(queue, no_ack=True), None)
    return [message.body.strip(b'"').decode() for message in messages]


def test_messages_arrive_in_order(channel: Any) -> None:
    """What kombu publishes one by one is there, in order."""
    publish(channel, "a", "b")

    assert received(channel) == ["a", "b"]


def test_batch_arrives_in_order(channel: Any, client: redis.Redis) -> None:
    """What kombu publishes at once is there, in each queue's order."""
    publish_batch(channel, ("bills", "a"), ("parcels", "b"), ("bills", "c"))

    assert (received(channel), received(channel, "parcels")) == (["a", "c"], ["b"])


def test_each_queue_of_a_batch_takes_one_command(
    channel: Any, client: redis.Redis
) -> None:
    """However many messages kombu has for a queue, they are pushed together."""
    client.config_resetstat()

    publish_batch(channel, ("bills", "a"), ("parcels", "b"), ("bills", "c"))

    stats: Any = client.info("commandstats")
    assert stats["cmdstat_lpush"]["calls"] == 2


def test_channel_has_one_client(channel: Any) -> None:
    """No message needs a client made for it."""
    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert first is second


def test_users_prefix_is_put_before_the_queue(
    redis_url: str, client: redis.Redis
) -> None:
    """With ``global_keyprefix`` the lists have the names that workers read."""
    options = {"global_keyprefix": "shop:"}
    with Connection(redis_url, transport_options=options) as connection:
        channel = prepared(connection.default_channel)

        publish(channel, "a")
        publish_batch(channel, ("bills", "b"))

        assert client.llen("shop:bills") == 2
        assert received(channel) == ["a", "b"]


def test_queue_that_expires_does_so(channel: Any, client: redis.Redis) -> None:
    """What kombu does about a queue's expiry is done as well."""
    channel.queue_declare("bills", arguments={"x-expires": 60_000})

    publish_batch(channel, ("bills", "a"))
    publish(channel, "b")

    assert 0 < client.pttl("bills") <= 60_000
    assert received(channel) == ["a", "b"]


def test_refusal_of_one_list_stops_no_other(channel: Any, client: redis.Redis) -> None:
    """What Redis refuses is an error, after which the connection is as good as before."""
    client.set("bills", "no list")

    with pytest.raises(redis.ResponseError):
        publish(channel, "a")
    with pytest.raises(Exception, match="uncertain") as caught:
        publish_batch(channel, ("bills", "b"), ("parcels", "c"))

    assert isinstance(caught.value.__cause__, redis.ResponseError)
    assert received(channel, "parcels") == ["c"]


def test_batch_that_is_given_up_leaves_nothing(
    channel: Any, client: redis.Redis
) -> None:
    """Of a batch that ends in an error, no message is sent, nor with the next one."""
    with pytest.raises(TypeError):
        publish_batch(channel, ("bills", "a"), ("bills", object()))

    publish_batch(channel, ("bills", "b"))

    assert received(channel) == ["b"]


def test_lost_connection_is_an_error(channel: Any, client: redis.Redis) -> None:
    """A connection that Redis has ended is not made again, behind the sender's back."""
    client.client_kill_filter(_type="normal", skipme=True)

    with pytest.raises(redis.ConnectionError):
        publish(channel, "a")

    assert client.llen("bills") == 0
