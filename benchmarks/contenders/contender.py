"""What takes part in a benchmark."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import redis

from ..events import Event
from ..ledger import Ledger
from ..place import Place


class MissingError(Exception):
    """A contender cannot take part here; the message says why."""


class Contender(ABC):
    """A way to have the handlers of an event run somewhere else.

    It is made once in the process that sends and once in each of its workers.

    Args:
        place: Where the servers are.

    Raises:
        MissingError: Something that it needs is not here.
    """

    name: ClassVar[str]

    baseline: ClassVar[str] = "delay"
    """The contender that its figures are divided by."""

    batch: ClassVar[int] = 1
    """How many events :meth:`send` is given; a figure is for one of them."""

    every: ClassVar[int] = 1
    """In which rounds it takes part, so that a worker has done with all in good time."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.ledger = Ledger(place, self.name)

    @property
    def queue(self) -> str:
        """The queue that its messages go to, and nobody else's."""
        return f"signal_tasks_benchmark.{self.place.run}.{self.name}"

    @property
    def most_handlers(self) -> int:
        """How many handlers are needed for the signal that has most."""
        return max(self.place.handler_counts)

    def prepare(self, events: Sequence[Event]) -> None:  # noqa: B027  (may be nothing)
        """Do what comes before :meth:`send` and is not counted."""

    @abstractmethod
    def send(self, events: Sequence[Event]) -> None:
        """Have the handlers of *events* run; this is what is timed."""

    def settle(self) -> None:  # noqa: B027  (may be nothing)
        """Do what comes after :meth:`send` and is not counted."""

    @property
    @abstractmethod
    def worker_command(self) -> Sequence[str]:
        """The command of a stock worker that runs the handlers."""

    @property
    @abstractmethod
    def served(self) -> Any:
        """What :mod:`benchmarks.worker` shows to that command."""

    def handler(self, index: int) -> Callable[..., None]:
        """Return handler number *index*, which writes into the ledger."""

        def handle(sender: object, **arguments: object) -> None:
            self.ledger.note(index, sender, arguments)

        return handle

    def close(self) -> None:
        """Leave nothing behind in the servers."""
        with redis.Redis.from_url(self.place.redis_url) as client:
            for key in client.scan_iter(f"*{self.queue}*"):
                client.delete(key)
        self.ledger.erase()


def python(*arguments: str) -> Sequence[str]:
    """Return the command that runs a module with this Python."""
    return [sys.executable, "-m", *arguments]
