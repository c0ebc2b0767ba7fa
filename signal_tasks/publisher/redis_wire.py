"""Redis's protocol, as far as pushes need it.

redis-py's own way to write a command takes longer than all else that a push of many
messages needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def write_push(
    parts: list[bytes], name: str, count: int, values: Iterable[bytes]
) -> None:
    """Add to *parts* the command that appends *values* to the list called *name*.

    Raises:
        ValueError: There are not *count* values; a wrong number would leave Redis waiting.
    """
    key = name.encode()
    parts.append(b"*%d\r\n$5\r\nLPUSH\r\n$%d\r\n%b" % (count + 2, len(key), key))
    for _, value in zip(range(count), values, strict=True):
        parts += (b"\r\n$%d\r\n" % len(value), value)
    parts.append(b"\r\n")


def converse(
    connection: Any,
    parts: Iterable[bytes],
    count: int,
    seconds_left: Callable[[], float | None],
) -> list[object]:
    """Give *count* commands in one write, and return the replies.

    Args:
        connection: Of redis-py, in any version that kombu takes.
        parts: The commands.
        count: How many there are.
        seconds_left: Asked before each reply how long to wait for it; None stands for as
            long as *connection* does.

    Returns:
        What Redis has answered, errors as well.

    Raises:
        TimeoutError: There was no answer in time.
        Exception: The connection is lost.
    """
    connection.send_packed_command([b"".join(parts)], check_health=False)
    return [_reply_of(connection, seconds_left()) for _ in range(count)]


def _reply_of(connection: Any, seconds: float | None) -> object:
    if seconds is not None and not (seconds > 0 and connection.can_read(seconds)):
        raise TimeoutError("Redis has not answered in time")
    try:
        return connection.read_response()
    except Exception as error:
        if not is_reply(error):
            raise
        return error


def is_reply(error: Exception) -> bool:
    """Tell whether *error* is an answer of Redis, after which it listens on.

    By the name of its class, for to import redis-py takes long where nobody needs it.
    """
    return any(base.__name__ == "ResponseError" for base in type(error).__mro__)
