"""What workers do with messages that nobody could handle: they keep them, and go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from signal_tasks.exceptions import UnreadableMessageError
from tests.integration import mine
from tests.integration.test_worker_faults import Mine, shared  # noqa: F401
from tests.integration.workers import wait_for

pytestmark = pytest.mark.integration

TASK = f"{mine.__name__}.dig"

Change = Callable[[dict[str, Any]], Any]
"""Makes something else of kombu's form of a message."""


def without(*path: str) -> Change:
    """Take a member away."""

    def change(message: dict[str, Any]) -> dict[str, Any]:
        at = message
        for name in path[:-1]:
            at = at[name]
        del at[path[-1]]
        return message

    return change


def with_(value: object, *path: str) -> Change:
    """Put *value* in a member's place."""

    def change(message: dict[str, Any]) -> dict[str, Any]:
        at = message
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value
        return message

    return change


def body(value: object) -> Change:
    """Let the body be that, as JSON."""
    return with_(json.dumps(value), "body")


RAW: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "a number": b"17",
    "a text": b'"text"',
    "a list": b"[1, 2]",
    "an empty object": b"{}",
    "no JSON": b"garbage",
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 200_000 + b"]" * 200_000,
    "NaN": b"NaN",
    "a surrogate": b'"\\ud800"',
    "an object that nothing is in": b'{"body": null, "properties": null}',
    "another program's": b'{"job": "resize", "args": []}',
}

CHANGES: dict[str, Change] = {
    "no properties": without("properties"),
    "null for properties": with_(None, "properties"),
    "a list for properties": with_([], "properties"),
    "no delivery tag": without("properties", "delivery_tag"),
    "a list for delivery tag": with_([], "properties", "delivery_tag"),
    "no delivery info": without("properties", "delivery_info"),
    "a text for delivery info": with_("x", "properties", "delivery_info"),
    "no routing key": without("properties", "delivery_info", "routing_key"),
    "no exchange": without("properties", "delivery_info", "exchange"),
    "a list for headers": with_(["x"], "headers"),
    "a text for headers": with_("x", "headers"),
    "unknown body encoding": with_("rot13", "properties", "body_encoding"),
    "a body that is no base64": with_("base64", "properties", "body_encoding"),
    "a number for body": with_(17, "body"),
    "no headers": without("headers"),
    "no task": without("headers", "task"),
    "null for task": with_(None, "headers", "task"),
    "a list for task": with_([], "headers", "task"),
    "no id": without("headers", "id"),
    "an eta that is no time": with_("noon", "headers", "eta"),
    "an eta that is a list": with_([1], "headers", "eta"),
    "an expiry that is no time": with_("noon", "headers", "expires"),
    "a time limit that is a text": with_("x", "headers", "timelimit"),
    "a time limit that is one number": with_([1], "headers", "timelimit"),
    "no body": without("body"),
    "a body that is cut off": with_('[["x"], {}, {', "body"),
    "a body that is null": body(None),
    "a body that is a number": body(17),
    "a body of two parts": body([[], {}]),
    "a body whose arguments are a number": body([1, {}, {}]),
    "a body whose keywords are a list": body([[], [], {}]),
    "a body whose embed is a list": body([["x"], {}, [1]]),
    "a body that is deep": with_("[" * 5000 + "]" * 5000, "body"),
    "arguments that are deep": with_(
        '[["' + "x" * 9 + '",' + "[" * 900 + "]" * 900 + "],{},{}]", "body"
    ),
    "no content type": without("content-type"),
    "a content type that nobody knows": with_("text/x-unknown", "content-type"),
    "pickle": with_("application/x-python-serialize", "content-type"),
    "a content encoding that nobody knows": with_("rot-17", "content-encoding"),
    "a compression that nobody knows": with_("squeeze", "headers", "compression"),
    "what is not compressed": with_("zlib", "headers", "compression"),
    "a poisoned date": with_(
        '[[{"__type__": "datetime", "__value__": "never"}], {}, {}]', "body"
    ),
}


def changed(change: Change, queue: str) -> bytes:
    """Return a message for a receiver as kombu writes it, with a change."""
    envelope = '{"v":1,"id":"x"}'
    message: dict[str, Any] = {
        "body": json.dumps([[envelope], {}, {}]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": TASK,
            "id": uuid4().hex,
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [None, None],
        },
        "properties": {
            "correlation_id": uuid4().hex,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "delivery_tag": uuid4().hex,
        },
    }
    return json.dumps(change(message)).encode()


@pytest.fixture
def raw_redis(shared: Mine) -> Iterator[redis.Redis]:  # noqa: F811
    """Return a client of the mine's Redis."""
    assert shared.broker is not None
    with redis.Redis.from_url(shared.broker.url) as client:
        yield client


def letters_after(shared: Mine, put: Callable[[], object]) -> list[dict[str, Any]]:  # noqa: F811
    """Return the letters that are new after *put*, once a good event has run."""
    before = {one["id"] for one in shared.letters()}
    put()
    assert shared.await_notes(shared.send("dig")) == ["dig"]

    def new() -> list[dict[str, Any]]:
        return [one for one in shared.letters() if one["id"] not in before]

    letters = wait_for(new, "a dead letter")
    assert shared.started[0].child.exit_code is None
    return letters


@pytest.mark.parametrize("shared", ["redis"], indirect=True)
@pytest.mark.parametrize("kind", RAW)
def test_entry_that_is_no_message_is_a_dead_letter(
    shared: Mine,  # noqa: F811
    raw_redis: redis.Redis,
    kind: str,
) -> None:
    """Whatever somebody pushes to a queue's list, it is kept, and the worker goes on."""
    letters = letters_after(shared, lambda: raw_redis.lpush("celery", RAW[kind]))

    (letter,) = letters
    assert (letter["receiver"], letter["reason"]) == (
        "(unreadable)",
        UnreadableMessageError.__name__,
    )


@pytest.mark.parametrize("shared", ["redis"], indirect=True)
@pytest.mark.parametrize("kind", CHANGES)
def test_malformed_message_is_a_dead_letter(
    shared: Mine,  # noqa: F811
    raw_redis: redis.Redis,
    kind: str,
) -> None:
    """A message that lacks a part, or has another, is kept, and the worker goes on."""
    entry = changed(CHANGES[kind], "celery")

    letters = letters_after(shared, lambda: raw_redis.lpush("celery", entry))

    (letter,) = letters
    assert letter["receiver"] in {"(unreadable)", TASK}


HEADERS = {"task": TASK, "id": "1"}


@pytest.mark.parametrize("shared", ["rabbitmq"], indirect=True)
@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"body": b"", "headers": {}}, id="nothing"),
        pytest.param({"body": b"garbage", "headers": HEADERS}, id="no JSON"),
        pytest.param({"body": b"17", "headers": HEADERS}, id="a number"),
        pytest.param({"body": b"[1, [], {}]", "headers": HEADERS}, id="no arguments"),
        pytest.param({"body": b"[[], {}, {}]", "headers": {"task": TASK}}, id="no id"),
        pytest.param(
            {"body": b"x", "headers": HEADERS, "content_type": "text/x-unknown"},
            id="a content type that nobody knows",
        ),
    ],
)
def test_malformed_message_of_rabbitmq_is_a_dead_letter(
    shared: Mine,  # noqa: F811
    message: dict[str, Any],
) -> None:
    """What comes from RabbitMQ and cannot be handled is kept as well."""
    celery_app = shared.app.extensions["celery"]
    facts = {"content_type": "application/json", "content_encoding": "utf-8", **message}

    def put() -> None:
        with celery_app.connection_for_write() as connection:
            connection.Producer().publish(
                **facts, routing_key=celery_app.conf.task_default_queue
            )

    (letter,) = letters_after(shared, put)

    assert letter["receiver"] in {"(unreadable)", TASK}
