"""Which entries of a queue in Redis get as far as kombu."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kombu.transport.virtual import Message
from kombu.transport.virtual.base import Base64

from signal_tasks.tasks.entries import Entries


class Client:
    """A client of redis-py, as far as it is used."""

    def __init__(self) -> None:
        self.on_answer: Callable[..., Any] = print
        self.pushed: list[tuple[str, bytes]] = []

    def set_response_callback(self, command: str, callback: Callable[..., Any]) -> None:
        """Keep the callback."""
        assert command == "BRPOP"
        self.on_answer = callback

    def lpush(self, name: str, entry: bytes) -> None:
        """Keep what is pushed."""
        self.pushed.append((name, entry))


class Channel:
    """A channel of kombu's, as far as it is used."""

    Message = Message

    def __init__(self) -> None:
        self.client = Client()

    @contextmanager
    def conn_or_acquire(self) -> Iterator[Client]:
        """Give a client."""
        yield self.client

    def decode_body(self, body: Any, encoding: str | None = None) -> Any:
        """Decode as kombu does."""
        return {"base64": Base64().decode}[encoding](body) if encoding else body


class Shelf:
    """Keeps entries, or does not."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []
        self.is_sick = False

    def keep(self, entry: str, error: Exception) -> bool:
        """Keep *entry*."""
        self.kept.append((entry, type(error).__name__))
        return not self.is_sick


@pytest.fixture
def channel() -> Channel:
    """Return the channel of a worker's consumer."""
    return Channel()


@pytest.fixture
def shelf(channel: Channel) -> Shelf:
    """Return what keeps the entries of *channel* that are no messages."""
    shelf = Shelf()
    Entries(channel, shelf.keep).sift()
    return shelf


def good() -> dict[str, Any]:
    """Return a message as kombu writes it."""
    return {
        "body": "W10=",
        "headers": {"task": "bill", "compression": "zlib"},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": "t",
            "delivery_info": {"exchange": "", "routing_key": "celery"},
        },
    }


def test_message_gets_through(channel: Channel, shelf: Shelf) -> None:
    """What kombu can read comes out as redis-py would have answered."""
    entry = json.dumps(good()).encode()

    answer = channel.client.on_answer([b"celery", entry], keys=[])

    assert answer == (b"celery", entry)
    assert shelf.kept == []


def test_empty_list_is_none(channel: Channel, shelf: Shelf) -> None:
    """When there is nothing to read, there is nothing."""
    assert channel.client.on_answer(None) is None
    assert shelf.kept == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("properties",), None),
        (("properties", "delivery_info"), {}),
        (("properties", "delivery_info", "exchange"), 1),
        (("properties", "delivery_info", "routing_key"), None),
        (("properties", "delivery_tag"), []),
        (("headers",), "x"),
        (("properties", "body_encoding"), "rot13"),
        (("body",), "W1"),
    ],
    ids=str,
)
def test_message_of_another_form_is_kept(
    channel: Channel, shelf: Shelf, path: tuple[str, ...], value: object
) -> None:
    """What would end the worker is kept, and kombu does not see it."""
    message = at = good()
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    entry = json.dumps(message)

    answer = channel.client.on_answer([b"celery", entry.encode()])

    assert answer is None
    assert [kept for kept, _ in shelf.kept] == [entry]


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (b"", "JSONDecodeError"),
        (b"17", "TypeError"),
        (b"[" * 200_000, "RecursionError"),
        (b"\xff", "JSONDecodeError"),
    ],
    ids=["empty", "number", "deep", "bytes"],
)
def test_entry_that_is_no_json_is_kept(
    channel: Channel, shelf: Shelf, entry: bytes, error: str
) -> None:
    """What is no message at all is kept, too."""
    assert channel.client.on_answer([b"celery", entry]) is None

    ((kept, reason),) = shelf.kept
    assert kept == entry.decode(errors="backslashreplace")
    assert reason == error


def test_entry_that_no_store_takes_stays_in_redis(
    channel: Channel, shelf: Shelf
) -> None:
    """It is put into a list of its own there, and not lost."""
    shelf.is_sick = True

    channel.client.on_answer([b"celery", b"garbage"])

    assert channel.client.pushed == [("celery.unreadable", b"garbage")]
