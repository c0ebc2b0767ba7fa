"""How much a process grows by sending: run as ``python -m benchmarks.memory``."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import psutil
import redis

from .contenders import load
from .contenders.contender import Contender
from .events import Event
from .findings import Finding, at_most
from .place import Place

_WARM_UP = 2_000
_EMPTIED_EVERY = 1_000
_LIMIT_MIB = 1.0


def measure(place: Place, *, sends: int) -> list[Finding]:
    """Send in a process of its own, and see how it grows."""
    output = subprocess.run(  # noqa: S603  (ourselves)
        [sys.executable, "-m", __name__, str(sends)],
        env=place.environment(),
        cwd=Path(__file__).parents[1],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    before, after = json.loads(output)
    return [
        Finding(what="memory before", value=before / 2**20, unit=" MiB"),
        at_most(
            f"growth by {sends:,} sends",
            (after - before) / 2**20,
            _LIMIT_MIB,
            " MiB",
        ),
    ]


def main() -> None:
    """Print the process's memory before and after its sends."""
    place = Place.from_environment()
    contender = load("direct", place)
    _send(contender, place, _WARM_UP)
    before = _memory()
    _send(contender, place, int(sys.argv[1]))
    sys.stdout.write(json.dumps([before, _memory()]))


def _send(contender: Contender, place: Place, sends: int) -> None:
    handlers = min(place.handler_counts)
    with redis.Redis.from_url(place.redis_url) as client:
        for serial in range(sends):
            events = [Event(handlers=handlers, size=200, serial=serial)]
            contender.prepare(events)
            contender.send(events)
            contender.settle()
            if serial % _EMPTIED_EVERY == 0:
                client.delete(contender.queue)
        client.delete(contender.queue)


def _memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
