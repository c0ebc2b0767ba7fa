"""taskiq: a task for each handler, sent one after the other or all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from taskiq_redis import ListQueueBroker

from ..events import SENDER, Event
from ..place import Place
from .contender import Contender, python


class Taskiq(Contender):
    """``await task.kiq()`` for each handler.

    The loop is there already; what it takes to enter it is counted, for a Flask view
    would have to.
    """

    name = "taskiq"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._broker = ListQueueBroker(place.redis_url, queue_name=self.queue)
        self._tasks = [
            self._broker.register_task(
                self.handler(index), task_name=f"handler_{index}"
            )
            for index in range(self.most_handlers)
        ]
        self._loop = asyncio.new_event_loop()

    def send(self, events: Sequence[Event]) -> None:
        """Send to the handlers' tasks."""
        for event in events:
            self._loop.run_until_complete(self._kick(event))

    async def _kick(self, event: Event) -> None:
        for task in self._tasks[: event.handlers]:
            await task.kiq(SENDER, **event.payload)

    @property
    def served(self) -> Any:
        """The broker."""
        return self._broker

    @property
    def worker_command(self) -> Sequence[str]:
        """``taskiq worker``, with two processes."""
        return python(
            *("taskiq", "worker", "benchmarks.worker:broker", "--workers", "2"),
            *("--log-level", "ERROR"),
        )

    def close(self) -> None:
        """Leave nothing behind, and close the loop."""
        self._loop.run_until_complete(self._broker.shutdown())
        self._loop.close()
        super().close()


class TaskiqGather(Taskiq):
    """All handlers of an event in one ``asyncio.gather()``."""

    name = "taskiq_gather"

    async def _kick(self, event: Event) -> None:
        await asyncio.gather(
            *(
                task.kiq(SENDER, **event.payload)
                for task in self._tasks[: event.handlers]
            )
        )
