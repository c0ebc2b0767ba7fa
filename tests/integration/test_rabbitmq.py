"""What RabbitMQ says about messages that it does not keep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from blinker import Signal
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.transport.base import StdChannel

from signal_tasks import Bridge, PublishError
from tests.integration.proxy import proxy_to
from tests.integration.servers import (
    PREFIX,
    PUBLISH_SECONDS,
    RABBITMQ,
    UnreachableError,
    check_broker,
    missing,
)

pytestmark = pytest.mark.integration

BLOCKED = bytes.fromhex("01 0000 00000008 000A 003C 03 66 6F 6F CE")
"""The frame of the method ``connection.blocked``, whose reason is ``foo``."""

UNBLOCKED = bytes.fromhex("01 0000 00000004 000A 003D CE")
"""The frame of the method ``connection.unblocked``."""

SENDS = 5
"""So many that what only happens sometimes does."""


@dataclass(slots=True)
class Shop:
    """A sender with queues of its own, and a channel to look into them."""

    url: str
    channel: StdChannel
    prefix: str = field(default_factory=lambda: f"{PREFIX}-{uuid4().hex[:8]}")
    signal: Signal = field(default_factory=Signal)

    def bridge(self, *, seconds: float = PUBLISH_SECONDS, **settings: object) -> Bridge:
        """Return a bridge whose sends raise, at the latest after so many seconds."""
        celery_app = Celery("shop", broker=self.url, set_as_current=False)
        celery_app.conf.update(task_default_queue=self.queue("default"), **settings)
        return Bridge(
            celery_app,
            secret_key="key",
            on_error="raise",
            publish_timeout_seconds=seconds,
        )

    def queue(self, name: str) -> str:
        """Return the name of one of our queues."""
        return f"{self.prefix}-{name}"

    def waiting(self, name: str) -> int:
        """Return how many messages are in one of our queues."""
        declared = self.channel.queue_declare(self.queue(name), passive=True)
        return int(declared.message_count)

    def clean_up(self) -> None:
        """Delete what we left."""
        for name in ("default", "a", "b", "full"):
            with suppress(Exception):
                self.channel.queue_delete(self.queue(name))
                self.channel.exchange_delete(self.queue(name))


@pytest.fixture
def shop() -> Iterator[Shop]:
    """Return a shop at RabbitMQ."""
    try:
        url = check_broker(RABBITMQ)
    except UnreachableError as error:  # pragma: no cover  # not every machine has one
        missing(error)
    with Connection(url) as connection:
        shop = Shop(url, connection.default_channel)
        yield shop
        shop.clean_up()


@pytest.mark.parametrize("name", ["default", "a"])
def test_queue_that_was_deleted_is_declared_again(shop: Shop, name: str) -> None:
    """A message for a queue that is gone makes the queue anew, and is not lost."""
    bridge = shop.bridge()
    options = {"queue": shop.queue(name)} if name == "a" else {}
    bridge.async_receiver(shop.signal, name="bill", **options)(print)
    shop.signal.send()
    shop.channel.queue_delete(shop.queue(name))

    shop.signal.send()

    assert shop.waiting(name) == 1


def test_full_queue_is_heard_of(shop: Shop) -> None:
    """A queue that takes no more messages is an error, and that of its receiver alone."""
    full = Queue(
        shop.queue("full"),
        Exchange(shop.queue("full")),
        routing_key=shop.queue("full"),
        queue_arguments={"x-max-length": 1, "x-overflow": "reject-publish"},
    )
    bridge = shop.bridge(task_queues=[full, Queue(shop.queue("a"))])
    bridge.async_receiver(shop.signal, name="pack", queue=shop.queue("full"))(print)
    bridge.async_receiver(shop.signal, name="ship", queue=shop.queue("a"))(print)
    shop.signal.send()

    with pytest.raises(PublishError, match="refused it") as caught:
        shop.signal.send()

    assert caught.value.unsent == ("pack",)
    assert (shop.waiting("full"), shop.waiting("a")) == (1, 2)


def test_other_queue_of_that_name_stops_no_other_receiver(shop: Shop) -> None:
    """A queue that is there with other properties keeps back its receivers alone."""
    shop.channel.queue_declare(shop.queue("a"), durable=False, auto_delete=False)
    bridge = shop.bridge()
    bridge.async_receiver(shop.signal, name="pack", queue=shop.queue("a"))(print)
    bridge.async_receiver(shop.signal, name="ship", queue=shop.queue("b"))(print)

    with pytest.raises(PublishError, match="PreconditionFailed") as caught:
        shop.signal.send()

    assert caught.value.unsent == ("pack",)
    assert shop.waiting("b") == 1


@pytest.mark.parametrize("refused", ["first", "last"])
def test_refused_queue_doubles_no_other_message(shop: Shop, refused: str) -> None:
    """While a queue is refused, other receivers' messages come once for each send."""
    shop.channel.queue_declare(shop.queue("a"), durable=False, auto_delete=False)
    queues = {"pack": "b", "ship": "b", "lose": "a", "drop": "a"}
    names = sorted(queues, reverse=refused == "last")
    bridge = shop.bridge()
    for name in names:
        queue = shop.queue(queues[name])
        bridge.async_receiver(shop.signal, name=name, queue=queue)(print)

    for _ in range(SENDS):
        with pytest.raises(PublishError, match="PreconditionFailed") as caught:
            shop.signal.send()

    assert sorted(caught.value.unsent) == ["drop", "lose"]
    assert shop.waiting("b") == 2 * SENDS


def test_missing_exchange_stops_no_other_receiver(shop: Shop) -> None:
    """What RabbitMQ refuses after it was sent is found out, and the rest is sent."""
    bridge = shop.bridge()
    bridge.async_receiver(shop.signal, name="bill", queue=shop.queue("a"))(print)
    bridge.async_receiver(
        shop.signal, name="pack", exchange=shop.queue("nowhere"), routing_key="x"
    )(print)
    bridge.async_receiver(shop.signal, name="ship", queue=shop.queue("b"))(print)

    with pytest.raises(PublishError, match="NotFound") as caught:
        shop.signal.send()

    assert caught.value.unsent == ("pack",)
    assert shop.waiting("a") >= 1
    assert shop.waiting("b") >= 1


def test_missing_exchange_doubles_one_other_message(shop: Shop) -> None:
    """While an exchange is missing, other messages come once; at the first send, twice."""
    bridge = shop.bridge()
    bridge.async_receiver(shop.signal, name="bill")(print)
    bridge.async_receiver(
        shop.signal, name="pack", exchange=shop.queue("b"), routing_key="x"
    )(print)

    for _ in range(SENDS):
        with pytest.raises(PublishError, match="NotFound") as caught:
            shop.signal.send()

    assert caught.value.unsent == ("pack",)
    assert SENDS <= shop.waiting("default") <= SENDS + 1


def test_exchange_that_is_made_at_last_is_used(shop: Shop) -> None:
    """What was refused once is published again as soon as the broker takes it."""
    name = shop.queue("b")
    bridge = shop.bridge()
    bridge.async_receiver(shop.signal, name="bill")(print)
    bridge.async_receiver(shop.signal, name="pack", exchange=name, routing_key="x")(
        print
    )
    with pytest.raises(PublishError, match="NotFound"):
        shop.signal.send()
    Queue(name, Exchange(name), routing_key="x").declare(channel=shop.channel)

    for _ in range(SENDS):
        shop.signal.send()

    assert shop.waiting("b") == SENDS


def test_message_that_may_be_lost_is(shop: Shop) -> None:
    """With ``mandatory=False`` a message that no queue gets is no error."""
    shop.channel.exchange_declare(
        shop.queue("a"), "direct", durable=True, auto_delete=False
    )
    bridge = shop.bridge()
    bridge.async_receiver(
        shop.signal,
        name="pack",
        exchange=shop.queue("a"),
        routing_key="nobody",
        mandatory=False,
    )(print)

    results = shop.signal.send()

    assert len(results) == 1


def test_many_messages_are_confirmed_together(shop: Shop) -> None:
    """RabbitMQ confirms many messages with one word, and all are there."""
    bridge = shop.bridge()
    for number in range(100):
        bridge.async_receiver(shop.signal, name=f"bill_{number}")(print)

    shop.signal.send()

    assert shop.waiting("default") == 100


def test_memory_alarm_is_named(shop: Shop) -> None:
    """A broker that blocks publishers is not waited for, and the error says what it is."""
    with proxy_to(shop.url) as proxy:
        blocked = Shop(proxy.url, shop.channel, prefix=shop.prefix)
        bridge = blocked.bridge(seconds=0.7)
        bridge.async_receiver(blocked.signal, name="bill")(print)
        blocked.signal.send()
        proxy.say(BLOCKED)

        with proxy.silence(), pytest.raises(PublishError, match="blocked publishers"):
            blocked.signal.send()


def test_blocked_broker_that_is_free_again_gets_messages(shop: Shop) -> None:
    """A broker that was blocked for a while is as good as before."""
    with proxy_to(shop.url) as proxy:
        blocked = Shop(proxy.url, shop.channel, prefix=shop.prefix)
        bridge = blocked.bridge()
        bridge.async_receiver(blocked.signal, name="bill")(print)
        blocked.signal.send()
        proxy.say(BLOCKED)
        proxy.say(UNBLOCKED)

        blocked.signal.send()

    assert shop.waiting("default") == 2
