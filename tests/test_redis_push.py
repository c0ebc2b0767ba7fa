"""The short way into Redis, beside kombu's."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
import redis
from blinker import NamedSignal, Signal
from hypothesis import given
from hypothesis import strategies as st
from kombu import Queue

from signal_tasks import Bridge, PublishError
from signal_tasks.dev.broker import running_broker
from signal_tasks.publisher import batch as batch_module
from signal_tasks.publisher import formats as formats_module
from signal_tasks.publisher import redis_push
from signal_tasks.publisher.recipes import Recipe
from signal_tasks.publisher.redis_push import Pushed, bodies
from tests.in_memory import KEY, Broker, new_celery_app
from tests.test_recipes import common, needed, watched

PATIENCE_SECONDS = 4


@pytest.fixture(scope="module")
def redis_url() -> Generator[str]:
    """Return the URL of a real broker that is ours alone."""
    with running_broker() as broker:
        yield broker.url


@pytest.fixture
def client(redis_url: str) -> Generator[redis.Redis]:
    """Return a client of the broker, which is empty."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


class Shop:
    """A sender, and its queue as it is in Redis."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.celery_app = new_celery_app(broker_url=url, **settings)
        self.bridge = Bridge(
            self.celery_app,
            secret_key=KEY,
            on_error="raise",
            publish_timeout_seconds=PATIENCE_SECONDS,
        )
        self.signal: Signal = NamedSignal('new "order" \\ \u00e9 %s')
        self.queue = str(self.celery_app.conf.task_default_queue)

    def receive(self, name: str = "bill", **options: Any) -> None:
        """Connect a receiver."""
        self.bridge.async_receiver(self.signal, name=name, **options)(print)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Generator[list[int]]:
    """Count the entries that are pushed."""
    counts: list[int] = []
    push = redis_push.push

    def count(connection: Any, lists: Any, seconds_left: Any) -> Any:
        counts.append(sum(len(one.places) for one in lists))
        return push(connection, lists, seconds_left)

    monkeypatch.setattr(batch_module, "push", count)
    yield counts


def plain(entry: bytes) -> dict[str, Any]:
    """Return what should be the same in two entries."""
    message = json.loads(entry)
    body = json.loads(b64decode(message["body"]))
    return {
        **message,
        "body": body[1:],
        "headers": common(message["headers"]),
        "properties": needed(message["properties"]),
    }


def test_entry_is_as_kombu_writes_it(redis_url: str, client: redis.Redis) -> None:
    """But for identifiers, an entry that we push is one that kombu does."""
    shop = Shop(redis_url)
    shop.receive(headers={"tenant": "\u00e9 %s"})

    shop.signal.send("shop")
    with watched():
        shop.signal.send("shop")

    celerys, ours = client.lrange(shop.queue, 0, -1)
    assert json.loads(ours).keys() == json.loads(celerys).keys()
    assert list(json.loads(ours)["headers"]) == list(json.loads(celerys)["headers"])
    assert plain(ours) == plain(celerys)


def test_all_messages_of_an_event_are_pushed_at_once(
    redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many receivers, there is one command, and each message is there once."""
    shop = Shop(redis_url)
    for number in range(20):
        shop.receive(f"bill_{number}")

    with counted(monkeypatch) as counts:
        shop.signal.send("shop")
        shop.signal.send("shop")

    assert counts == [20, 20]
    messages = Broker(shop.celery_app).take()
    assert [one.headers["task"] for one in messages] == [
        f"bill_{number}" for number in range(20)
    ] * 2
    assert len({one.headers["id"] for one in messages}) == 40
    assert len({one.delivery_tag for one in messages}) == 40


def test_nobody_waits_for_another_thread_to_learn(
    redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one thread learns how entries look, the others let kombu write theirs."""
    shop = Shop(redis_url)
    shop.receive()
    templates = redis_push.Templates()
    monkeypatch.setattr(formats_module, "Templates", lambda: templates)

    with counted(monkeypatch) as counts:
        with templates._lock:
            shop.signal.send("shop")
        shop.signal.send("shop")

    assert counts == [1]
    assert client.llen(shop.queue) == 2


def test_what_is_known_of_sets_of_receivers_does_not_grow_for_ever(
    redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that gather always other events leave nothing behind in the process."""
    monkeypatch.setattr(formats_module, "_KNOWN_AT_MOST", 2)
    shop = Shop(redis_url)
    shop.receive()
    publisher = shop.bridge.publisher(shop.celery_app, PATIENCE_SECONDS)
    envelopes, _ = shop.bridge.rehearse(shop.signal, "shop", {})

    for count in range(1, 6):
        publisher.publish(envelopes * count)
        assert len(publisher._way().formats._known) <= 2

    assert client.llen(shop.queue) == 15


def test_learning_leaves_nothing_behind(redis_url: str, client: redis.Redis) -> None:
    """The list that messages are learned from is gone afterwards."""
    shop = Shop(redis_url)
    shop.receive()

    shop.signal.send("shop")

    assert not client.keys("signal_tasks.*")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"priority": 3}, id="priority"),
        pytest.param({"countdown": 1}, id="countdown"),
        pytest.param({"expires": 60}, id="expires"),
        pytest.param({"compression": "zlib"}, id="compression"),
        pytest.param({"exchange": "nowhere", "routing_key": "x"}, id="exchange"),
    ],
)
def test_other_messages_go_kombus_way(
    redis_url: str,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    """What is not just one more entry of the queue's list is left to kombu."""
    shop = Shop(redis_url)
    shop.receive(**options)
    shop.receive("pack")

    with counted(monkeypatch) as counts:
        shop.signal.send("shop")

    assert counts == [1]


def test_queue_that_expires_goes_kombus_way(
    redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kombu prolongs the life of such a queue with each message."""
    shop = Shop(redis_url, task_queues=[Queue("short-lived", expires=60)])
    shop.receive(queue="short-lived")

    with counted(monkeypatch) as counts:
        shop.signal.send("shop")

    assert counts == []
    assert client.pttl("short-lived") > 0


def test_prefixed_keys_are_pushed_to(
    redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a prefix, the list is the one that kombu's workers read, and no other."""
    shop = Shop(redis_url, broker_transport_options={"global_keyprefix": "shop:"})
    shop.receive()

    with counted(monkeypatch) as counts:
        shop.signal.send("shop")

    assert counts == [1]
    assert client.llen(f"shop:{shop.queue}") == 1
    assert client.keys("*learning*") == []


def test_other_encoding_goes_kombus_way(
    redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where kombu writes entries that we cannot make, it writes all of them."""
    monkeypatch.setattr("kombu.transport.redis.Channel.body_encoding", None)
    shop = Shop(redis_url)
    shop.receive()

    with counted(monkeypatch) as counts:
        shop.signal.send("shop")

    assert counts == []
    assert client.llen(shop.queue) == 1


def test_unknown_form_goes_kombus_way(
    redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where kombu writes something that we cannot read, it writes all of it."""
    monkeypatch.setattr("kombu.transport.redis.dumps", lambda _: "another form")
    shop = Shop(redis_url)
    shop.receive()

    with counted(monkeypatch) as counts:
        shop.signal.send("shop")

    assert counts == []
    assert client.lrange(shop.queue, 0, -1) == [b"another form"]


def test_messages_that_kombu_makes_leave_together(
    redis_url: str, client: redis.Redis
) -> None:
    """Of several messages that Celery makes itself, a wrong one stops no other."""
    shop = Shop(redis_url)
    for name, countdown in (("bill", 1), ("pack", "soon"), ("ship", 1)):
        shop.receive(name, countdown=countdown)

    with pytest.raises(PublishError, match="made no message") as caught:
        shop.signal.send("shop")

    assert caught.value.receivers == ("pack",)
    assert Broker(shop.celery_app).names() == ["bill", "ship"]


def test_lost_connection_of_kombu_is_not_made_again_by_itself(
    redis_url: str, client: redis.Redis
) -> None:
    """Also where kombu publishes, a connection that is lost is replaced in time."""
    shop = Shop(redis_url)
    shop.receive(priority=3)
    shop.signal.send("shop")

    client.client_kill_filter(_type="normal", skipme=True)
    shop.signal.send("shop")

    assert len(Broker(shop.celery_app).take()) == 2


def test_list_that_is_none_is_told_of_its_receivers(
    redis_url: str, client: redis.Redis
) -> None:
    """What Redis refuses for one queue keeps back that queue's messages alone."""
    shop = Shop(redis_url)
    shop.receive("bill", queue="a")
    shop.receive("pack", queue="b")
    shop.receive("ship", queue="b")
    client.set("b", "no list")

    for _ in range(2):
        with pytest.raises(PublishError, match="refused it") as caught:
            shop.signal.send("shop")

    assert sorted(caught.value.unsent) == ["pack", "ship"]
    assert client.llen("a") == 2


@pytest.mark.parametrize(
    "rights",
    [
        pytest.param(["~*", "+@all", "-lrange"], id="no looking"),
        pytest.param(["~orders*", "~_kombu*", "+@all"], id="no list of ours"),
    ],
)
def test_what_cannot_be_learned_is_left_to_kombu(
    redis_url: str, client: redis.Redis, rights: list[str]
) -> None:
    """Where Redis lets us push, but not look at it, events leave all the same."""
    client.execute_command("ACL", "SETUSER", "shop", "reset", "on", ">secret", *rights)
    address = redis_url.rpartition("@")[2].removeprefix("redis://")
    shop = Shop(f"redis://shop:secret@{address}", task_default_queue="orders")
    shop.receive()

    for _ in range(2):
        shop.signal.send("shop")

    assert client.llen("orders") == 2
    assert client.keys("*learning*") == []


def test_lost_connection_costs_no_event(redis_url: str, client: redis.Redis) -> None:
    """After CLIENT KILL the next event just leaves."""
    shop = Shop(redis_url)
    shop.receive()
    shop.signal.send("shop")

    client.client_kill_filter(_type="normal", skipme=True)
    shop.signal.send("shop")

    assert client.llen(shop.queue) == 2


class Ended:
    """A connection that ends before a reply has come."""

    is_connected = False

    def send_packed_command(self, *_: object, **__: object) -> None:
        """Take it, and be gone."""

    def read_response(self) -> NoReturn:
        """Tell that nothing comes any more."""
        raise redis.ConnectionError


def test_connection_that_ends_without_a_reply_is_no_refusal() -> None:
    """What may have arrived is another thing than what Redis did not want."""
    with pytest.raises(redis.ConnectionError):
        redis_push.push(Ended(), [Pushed("celery", [0], [b"message"])], lambda: None)


@given(st.text(alphabet=st.characters(codec="ascii")), st.text(max_size=9))
def test_body_is_as_kombu_encodes_it(text: str, receiver: str) -> None:
    """The shared beginning of texts changes nothing about how they are encoded."""
    recipe = Recipe(
        exchange="",
        routing_key="a",
        declare=(),
        headers={},
        header_marks=(),
        properties={},
        property_marks=(),
        body=("[[", "], {}, {}]"),
        content_type="application/json",
        content_encoding="utf-8",
    )
    rests = ("", f',"receiver":{json.dumps(receiver)}}}', ',"receiver":"b"}')

    escaped = [json.dumps(one)[1:-1] for one in rests]
    encoded = bodies(recipe.body, [text, text, text[:3]], escaped)

    texts = [text + rests[0], text + rests[1], text[:3] + rests[2]]
    assert [b64decode(json.loads(one)).decode() for one in encoded] == [
        recipe.body_for(one) for one in texts
    ]
