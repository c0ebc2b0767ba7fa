"""Redis's protocol, as far as pushes need it.

redis-py's own way to write a command takes longer than all else that a push of many
messages needs.
"""

from __future__ import annotations

from collections.abc import Iterable
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


def reply_of(connection: Any, seconds: float | None = None) -> object:
    """Return what Redis answers, or the error that it answers with.

    Args:
        connection: Of redis-py.
        seconds: How long to wait, if not as long as *connection* does.

    Raises:
        Exception: The connection is lost.
    """
    options = {} if seconds is None else {"timeout": seconds}
    try:
        return connection.read_response(**options)
    except Exception as error:
        if not connection.is_connected:
            raise
        return error
