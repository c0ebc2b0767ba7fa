"""RQ: a job for each handler, enqueued one by one or all at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import redis
from rq import Queue

from ..events import SENDER, Event
from ..ledger import Ledger
from ..place import Place
from .contender import Contender, python


class Rq(Contender):
    """``enqueue()`` for each handler."""

    name = "rq"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._queue = Queue(
            self.queue, connection=redis.Redis.from_url(place.redis_url)
        )

    def send(self, events: Sequence[Event]) -> None:
        """Enqueue a job for each handler."""
        for event in events:
            for index in range(event.handlers):
                self._queue.enqueue(handle, self.name, index, SENDER, **event.payload)

    @property
    def served(self) -> Any:
        """Nothing; its jobs name the function."""
        return None

    @property
    def worker_command(self) -> Sequence[str]:
        """``rq worker`` that does not fork for each job, which would take minutes."""
        return python(
            *("rq.cli", "worker", "--worker-class", "rq.SimpleWorker", "--quiet"),
            *("--url", self.place.redis_url, self.queue),
        )

    def close(self) -> None:
        """Remove the queue, with its jobs."""
        self._queue.delete(delete_jobs=True)
        self.ledger.erase()


class RqMany(Rq):
    """``enqueue_many()`` for the event."""

    name = "rq_many"

    def send(self, events: Sequence[Event]) -> None:
        """Enqueue the jobs of an event together."""
        for event in events:
            self._queue.enqueue_many(
                [
                    Queue.prepare_data(
                        handle,
                        args=(self.name, index, SENDER),
                        kwargs=event.payload,
                    )
                    for index in range(event.handlers)
                ]
            )


def handle(contender: str, index: int, sender: object, **arguments: object) -> None:
    """Write into the ledger; RQ finds this by its name."""
    _ledger(contender).note(index, sender, arguments)


@cache
def _ledger(contender: str) -> Ledger:
    return Ledger(Place.from_environment(), contender)
