"""How many of Python's instructions a send takes: ``python -m benchmarks.instructions``.

Unlike a time, that is the same on every machine and at every moment, for one version of
Python. So it can be held against a number in CI.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import signal_tasks
from signal_tasks.dev.broker import running_broker

from .contenders import load
from .events import Event
from .findings import Finding
from .place import Place

COUNTS = (1, 10)
_PACKAGE = str(Path(signal_tasks.__file__).parent)
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """What was executed."""

    ours: int
    all: int
    """With the libraries that we call, as far as they are in Python."""


def measure(place: Place) -> list[Finding]:
    """Count the instructions of a direct send."""
    return [
        Finding(what=f"{whose}, {handlers} handlers", value=count)
        for handlers, counted in counted_sends(place).items()
        for whose, count in (("ours", counted.ours), ("all", counted.all))
    ]


def counted_sends(place: Place) -> dict[int, Instructions]:
    """Return what sends take, by their count of handlers, once they are warm."""
    contender = load("direct", place)
    found: dict[int, Instructions] = {}
    for handlers in place.handler_counts:
        tries: list[Instructions] = []
        for serial in range(_TRIES):
            events = [Event(handlers=handlers, size=200, serial=serial)]
            contender.prepare(events)
            tries.append(_counted(lambda events=events: contender.send(events)))
            contender.settle()
        found[handlers] = min(tries, key=lambda one: one.all)
    contender.close()
    return found


def _counted(call: Callable[[], None]) -> Instructions:
    counts = {True: 0, False: 0}

    def trace(frame: FrameType, _event: str, _arg: object) -> Callable[..., object]:
        is_ours = frame.f_code.co_filename.startswith(_PACKAGE)
        frame.f_trace_opcodes, frame.f_trace_lines = True, False

        def count(_frame: FrameType, event: str, _arg: object) -> Callable[..., object]:
            if event == "opcode":
                counts[is_ours] += 1
            return count

        return count

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(former)
    return Instructions(ours=counts[True], all=counts[True] + counts[False])


def main() -> None:
    """Print the counts as JSON."""
    with tempfile.TemporaryDirectory() as folder, running_broker() as broker:
        place = Place(
            redis_url=broker.url, directory=Path(folder), handler_counts=COUNTS
        )
        counts = {
            handlers: counted.ours for handlers, counted in counted_sends(place).items()
        }
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    main()
