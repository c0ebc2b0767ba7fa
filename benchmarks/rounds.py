"""Rounds in which each contender sends once, so that a noisy moment meets all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from time import perf_counter

from .contenders.contender import Contender
from .events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One case to measure: events of one kind."""

    handlers: int
    size: int
    rounds: int

    warm_up: int = 2
    """Rounds before the first that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What one contender took in the rounds of one cell."""

    contender: str
    handlers: int
    size: int
    seconds: tuple[float, ...]
    """For one event, in the order of the rounds."""


class Rounds:
    """Runs the rounds, and remembers what was sent.

    Args:
        contenders: Who takes part.
        clock: Tells the time, in seconds.
    """

    def __init__(
        self,
        contenders: Sequence[Contender],
        *,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._contenders = contenders
        self._clock = clock
        self.sent: defaultdict[str, list[Event]] = defaultdict(list)
        """The events that each contender has sent, the warm-up's as well."""

    def run(self, cell: Cell) -> list[Series]:
        """Measure one cell."""
        taken: dict[str, list[float]] = {one.name: [] for one in self._contenders}
        for number in range(cell.warm_up + cell.rounds):
            taking_part = [one for one in self._contenders if number % one.every == 0]
            for contender in _shuffled(taking_part, number):
                seconds = self._send(contender, cell)
                if number >= cell.warm_up:
                    taken[contender.name].append(seconds)
        return [
            Series(
                contender=name,
                handlers=cell.handlers,
                size=cell.size,
                seconds=tuple(seconds),
            )
            for name, seconds in taken.items()
        ]

    def _send(self, contender: Contender, cell: Cell) -> float:
        """Return what one event took."""
        sent = self.sent[contender.name]
        events = [
            Event(handlers=cell.handlers, size=cell.size, serial=serial)
            for serial in range(len(sent), len(sent) + contender.batch)
        ]
        for event in events:
            event.payload  # noqa: B018  # made now, and not while the clock runs
        contender.prepare(events)
        started = self._clock()
        contender.send(events)
        seconds = self._clock() - started
        contender.settle()
        sent += events
        return seconds / len(events)


def _shuffled(contenders: Sequence[Contender], number: int) -> Sequence[Contender]:
    """Return them in an order of each round's own, the same in every run.

    Who comes after one that has kept the processor for long finds its caches cold.
    """
    return Random(number).sample(contenders, len(contenders))  # noqa: S311  # no secret
