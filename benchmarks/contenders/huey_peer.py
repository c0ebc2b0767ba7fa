"""Huey: a task for each handler. It is the fastest of the peers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from huey import RedisHuey

from ..events import SENDER, Event
from ..place import Place
from .contender import Contender, python


class Huey(Contender):
    """A call for each handler."""

    name = "huey"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._huey = RedisHuey(self.queue, url=place.redis_url)
        self._tasks = [
            self._huey.task(name=f"handler_{index}")(self.handler(index))
            for index in range(self.most_handlers)
        ]

    def send(self, events: Sequence[Event]) -> None:
        """Call each handler's task."""
        for event in events:
            for task in self._tasks[: event.handlers]:
                task(SENDER, **event.payload)

    @property
    def served(self) -> Any:
        """The Huey."""
        return self._huey

    @property
    def worker_command(self) -> Sequence[str]:
        """``huey_consumer``, with two threads."""
        return python(
            *("huey.bin.huey_consumer", "benchmarks.worker.huey"),
            *("--workers", "2", "--no-periodic", "--quiet"),
        )
