"""The limit: messages that are there already, in one command of redis-py."""

from __future__ import annotations

from collections.abc import Sequence

import redis

from ..events import SENDER, Event
from ..place import Place
from .delay import Delay


class Lpush(Delay):
    """One variadic ``LPUSH`` of Celery messages that ``delay()`` has made before.

    They run in a stock worker as everybody's do. Only the command is counted.
    """

    name = "lpush"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._client = redis.Redis.from_url(place.redis_url)
        self._workshop = f"{self.queue}.workshop"
        self._messages: list[bytes | str] = []

    def prepare(self, events: Sequence[Event]) -> None:
        """Make the messages."""
        for event in events:
            for task in self._tasks[: event.handlers]:
                task.apply_async((SENDER,), event.payload, queue=self._workshop)
        self._messages = self._client.lrange(self._workshop, 0, -1)
        self._client.delete(self._workshop)

    def send(self, events: Sequence[Event]) -> None:
        """Push them."""
        self._client.lpush(self.queue, *self._messages)
