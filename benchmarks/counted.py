"""What :mod:`benchmarks.instructions` counts: run as ``python -m benchmarks.counted``.

The sends that count stand between two calls of ``getloadavg()``, at which callgrind
writes down what was executed since the one before. Nothing else calls that function.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .contenders.contender import Contender
from .contenders.delay import DelayIgnore
from .contenders.ours import Buffered, Direct, DirectPublic, Request
from .events import Event
from .place import Place

REPEATS = 3
"""How often the sends of a case are counted."""

_SIZE = 200
_PATIENCE_SECONDS = 60
"""How long a publish may take: here everything takes fifty times as long as it does."""

_AWAKE_SECONDS = 0.1
"""How long the buffer's thread has to wake up; after a second it sleeps again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Sends of one kind."""

    contender: str
    handlers: int
    sends: int
    """How many are counted together."""

    warm_up: int
    """How many it takes until we have learned and Python has specialized."""


CASES = (
    Case(contender="delay", handlers=1, sends=20, warm_up=40),
    Case(contender="direct", handlers=0, sends=50, warm_up=20),
    Case(contender="direct", handlers=1, sends=10, warm_up=30),
    Case(contender="direct", handlers=4, sends=5, warm_up=10),
    Case(contender="direct", handlers=10, sends=5, warm_up=5),
    Case(contender="direct", handlers=100, sends=2, warm_up=4),
    Case(contender="direct_public", handlers=1, sends=10, warm_up=30),
    Case(contender="direct_public", handlers=4, sends=5, warm_up=10),
    Case(contender="direct_public", handlers=10, sends=5, warm_up=5),
    Case(contender="direct_public", handlers=100, sends=2, warm_up=2),
    Case(contender="request", handlers=1, sends=10, warm_up=30),
    Case(contender="request", handlers=4, sends=10, warm_up=10),
    Case(contender="request", handlers=10, sends=10, warm_up=10),
    Case(contender="request", handlers=100, sends=10, warm_up=4),
    Case(contender="buffered", handlers=1, sends=20, warm_up=30),
    Case(contender="buffered", handlers=100, sends=5, warm_up=4),
)
"""In the order in which they are sent."""


class _PatientDirect(Direct):
    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "SIGNAL_TASKS_PUBLISH_TIMEOUT": _PATIENCE_SECONDS}


class _PatientPublic(DirectPublic, _PatientDirect):
    pass


class _PatientRequest(Request, _PatientDirect):
    pass


class _PatientBuffered(Buffered, _PatientDirect):
    def prepare(self, events: Sequence[Event]) -> None:
        """Wake the thread, as an event some moments ago would have."""
        super().prepare(events)
        self.send(events[:1])
        time.sleep(_AWAKE_SECONDS)


_CONTENDERS: Mapping[str, Callable[[Place], Contender]] = {
    "delay": DelayIgnore,
    "direct": _PatientDirect,
    "direct_public": _PatientPublic,
    "request": _PatientRequest,
    "buffered": _PatientBuffered,
}


def main() -> None:
    """Send all that is counted."""
    place = Place.from_environment()
    for name, make in _CONTENDERS.items():
        cases = [case for case in CASES if case.contender == name]
        counts = tuple(case.handlers for case in cases)
        contender = make(replace(place, handler_counts=counts))
        try:
            for case in cases:
                _send(contender, case)
        finally:
            contender.close()


def _send(contender: Contender, case: Case) -> None:
    warm_up = _events(case, case.warm_up)
    contender.prepare(warm_up)
    contender.send(warm_up)
    contender.settle()
    events = _events(case, case.sends)
    gc.collect()
    gc.disable()
    for _ in range(REPEATS):
        contender.prepare(events)
        os.getloadavg()
        contender.send(events)
        os.getloadavg()
        contender.settle()
    gc.enable()


def _events(case: Case, count: int) -> Sequence[Event]:
    events = [
        Event(handlers=case.handlers, size=_SIZE, serial=serial)
        for serial in range(count)
    ]
    for event in events:
        event.payload  # noqa: B018  # made now, and not while we count
    return events


if __name__ == "__main__":
    main()
