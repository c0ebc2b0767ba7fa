"""The client that kombu publishes into Redis with, over one connection of a line.

kombu makes a client of redis-py for each message, and that takes a connection from a pool.
Both take longer than the round trip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Self

from .redis_wire import converse, write_push


def publish_over(connection: Any, channel: Any, timeout_seconds: float) -> None:
    """Let *channel* push its messages over *connection*, each send's at once.

    Args:
        connection: Of redis-py, and nobody else's.
        channel: Of kombu's; it waits for no messages.
        timeout_seconds: How long all answers to one write may take.
    """
    with channel.conn_or_acquire() as others:
        # Connected now, in time, and not when the first queue is declared.
        others.ping()
    way = _Way(connection, timeout_seconds)
    client = _Client(way, others, channel.global_keyprefix)

    def take(**_: object) -> _Client:
        return client

    channel.Client = take


class _Way:
    """The way of what is pushed. Once lost, the connection is not made again.

    Args:
        connection: Of redis-py.
        timeout_seconds: How long all answers to one write may take.
    """

    def __init__(self, connection: Any, timeout_seconds: float) -> None:
        self.connection = connection
        self._timeout_seconds = timeout_seconds

    def give(self, parts: Sequence[bytes], count: int) -> list[object]:
        """Give *count* commands, and return the replies.

        Raises:
            Exception: What is wrong with the connection, or else the first refusal.
        """
        deadline = monotonic() + self._timeout_seconds
        # All are read before one of them is raised, for there may be more.
        replies = converse(
            self.connection, parts, count, lambda: deadline - monotonic()
        )
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies


class _Client:
    """Stands for a client of redis-py.

    Args:
        way: Takes what is pushed into lists.
        others: Takes all other commands.
        prefix: Goes before the name of each list.
    """

    def __init__(self, way: _Way, others: Any, prefix: str) -> None:
        self._way = way
        self._others = others
        self._prefix = prefix

    def lpush(self, name: str, *values: str) -> object:
        """Append *values* to the list called *name*."""
        return self._way.give(_pushes({self._prefix + name: values}), 1)[0]

    def pipeline(self, *, transaction: bool = True) -> Any:
        """Return what gathers commands."""
        gathered = self._others.pipeline(transaction=transaction)
        if transaction:
            return gathered
        return _Pipeline(self._way, gathered, self._prefix)

    def __getattr__(self, name: str) -> Any:
        """Leave it to the other client."""
        return getattr(self._others, name)


class _Pipeline:
    """Stands for a pipeline of redis-py, which puts together what goes to the same list.

    Args:
        way: Takes the commands.
        others: Gathers those that are no pushes, for which it keeps nothing else.
        prefix: Goes before the name of each list.
    """

    def __init__(self, way: _Way, others: Any, prefix: str) -> None:
        self._way = way
        self._others = others
        self._prefix = prefix
        self._lists: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        """Begin to gather."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget what is left."""
        self.reset()

    def __getattr__(self, name: str) -> Any:
        """Leave it to the other pipeline."""
        return getattr(self._others, name)

    def lpush(self, name: str, *values: str) -> None:
        """Append *values* to the list called *name*."""
        self._lists.setdefault(self._prefix + name, []).extend(values)

    def reset(self) -> None:
        """Forget what was gathered."""
        self._lists.clear()
        self._others.reset()

    def execute(self) -> list[object]:
        """Give all commands, the pushes first.

        Raises:
            Exception: What is wrong with the connection, or else the first refusal.
        """
        others = [command for command, _ in self._others.command_stack]
        packed = _pushes(self._lists)
        packed += self._way.connection.pack_commands(others)
        count = len(self._lists) + len(others)
        self.reset()
        return self._way.give(packed, count)


def _pushes(lists: Mapping[str, Sequence[str]]) -> list[bytes]:
    parts: list[bytes] = []
    for name, values in lists.items():
        write_push(parts, name, len(values), (value.encode() for value in values))
    return parts
