"""Pushes as Redis's protocol has them, and what Redis says to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from signal_tasks.publisher.redis_wire import converse, write_push


class OldConnection:
    """One of redis-py before version 8, which has less to offer."""

    def __init__(self, *replies: object, is_silent: bool = False) -> None:
        self.written: list[bytes] = []
        self._replies = list(replies)
        self._is_silent = is_silent

    def send_packed_command(
        self, command: Sequence[bytes], check_health: bool = True
    ) -> None:
        """Keep what is written."""
        self.written += command

    def can_read(self, timeout: float = 0) -> bool:
        """Tell whether a reply comes."""
        return not self._is_silent

    def read_response(self, disable_decoding: bool = False) -> object:
        """Return the next reply, or raise it."""
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def said(connection: Any, count: int, seconds: float | None = None) -> list[object]:
    """Return the replies to a push."""
    parts: list[bytes] = []
    write_push(parts, "bills", 2, [b"one", b"other"])
    return converse(connection, parts, count, lambda: seconds)


@pytest.mark.parametrize("seconds", [None, 0.5])
def test_push_leaves_in_one_write(seconds: float | None) -> None:
    """It is one command, and its reply is the length of the list."""
    connection = OldConnection(2)

    assert said(connection, 1, seconds) == [2]
    assert connection.written == [
        b"*4\r\n$5\r\nLPUSH\r\n$5\r\nbills\r\n$3\r\none\r\n$5\r\nother\r\n"
    ]


def test_refusal_is_a_reply() -> None:
    """What Redis does not do is told, and it goes on with the next command."""
    refusal = redis.ResponseError("WRONGTYPE")

    assert said(OldConnection(refusal, 1), 2) == [refusal, 1]


@pytest.mark.parametrize(
    "error",
    [redis.ConnectionError(), redis.TimeoutError(), redis.BusyLoadingError()],
    ids=lambda error: type(error).__name__,
)
def test_lost_connection_is_no_reply(error: Exception) -> None:
    """However the connection calls itself afterwards, nobody waits for more replies."""
    with pytest.raises(type(error)):
        said(OldConnection(error, 1), 2)


@pytest.mark.parametrize("seconds", [0.01, 0, -1])
def test_silence_is_not_waited_for(seconds: float) -> None:
    """There is a time for it, which may be over already."""
    with pytest.raises(TimeoutError):
        said(OldConnection(1, is_silent=True), 1, seconds)


@pytest.mark.parametrize("values", [[], [b"one"], [b"one"] * 3])
def test_wrong_number_of_values_is_noticed(values: list[bytes]) -> None:
    """Redis would wait for more, or take the rest for a command."""
    with pytest.raises(ValueError, match="zip"):
        write_push([], "bills", 2, values)
