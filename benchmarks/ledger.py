"""Which handlers have run with which events, written down by the workers in Redis."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping

import redis

from .events import Event, is_intact
from .place import Place


class Ledger:
    """The runs of one contender's handlers.

    Args:
        place: Knows the Redis server.
        contender: Whose handlers they are.
    """

    def __init__(self, place: Place, contender: str) -> None:
        self._url = place.redis_url
        self._name = f"signal_tasks_benchmark.{place.run}.{contender}.ledger"
        self._clients: dict[int, redis.Redis] = {}

    def note(self, index: int, sender: object, arguments: Mapping[str, object]) -> None:
        """Write down that handler number *index* has run."""
        verdict = "intact" if is_intact(sender, arguments) else "wrong"
        self._client.hincrby(self._name, f"{arguments['key']}:{index}:{verdict}", 1)

    def length(self) -> int:
        """Return how many handlers have run with different events."""
        return int(self._client.hlen(self._name))

    def runs(self) -> Counter[str]:
        """Return how often each handler has run with each event."""
        entries = self._client.hgetall(self._name)
        return Counter({str(field): int(count) for field, count in entries.items()})

    def erase(self) -> None:
        """Forget everything."""
        self._client.delete(self._name)

    @property
    def _client(self) -> redis.Redis:
        # A worker's children must not share their parent's socket.
        client = self._clients.get(os.getpid())
        if client is None:
            client = self._clients[os.getpid()] = redis.Redis.from_url(
                self._url, decode_responses=True
            )
        return client


def expected_runs(events: Iterable[Event]) -> Counter[str]:
    """Return what the ledger says when each handler has run once, with the right arguments."""
    return Counter(
        f"{event.key}:{index}:intact"
        for event in events
        for index in range(event.handlers)
    )
