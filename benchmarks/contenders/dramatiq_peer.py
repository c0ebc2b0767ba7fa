"""Dramatiq: an actor for each handler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from ..events import SENDER, Event
from ..place import Place
from .contender import Contender, python


class Dramatiq(Contender):
    """``send()`` for each handler."""

    name = "dramatiq"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._broker = RedisBroker(url=place.redis_url, namespace=self.queue)
        self._actors = [
            dramatiq.actor(
                self.handler(index),
                broker=self._broker,
                actor_name=f"handler_{index}",
            )
            for index in range(self.most_handlers)
        ]

    def send(self, events: Sequence[Event]) -> None:
        """Send to each handler's actor."""
        for event in events:
            for actor in self._actors[: event.handlers]:
                actor.send(SENDER, **event.payload)

    @property
    def served(self) -> Any:
        """The broker."""
        return self._broker

    @property
    def worker_command(self) -> Sequence[str]:
        """``dramatiq``, with two processes."""
        return python(
            *("dramatiq", "benchmarks.worker:broker"),
            *("--processes", "2", "--threads", "4"),
        )
