"""How long ``import signal_tasks`` takes, beside what an app imports anyway."""

from __future__ import annotations

import statistics
import subprocess
import sys
from time import perf_counter

from .findings import Finding

# Celery imports its parts when they are asked for.
_NEEDED = "import flask; from celery import Celery, Task"
_PROGRAMS = {
    "nothing": "",
    "flask, celery": _NEEDED,
    "flask, celery, signal_tasks": f"{_NEEDED}; import signal_tasks",
}


def measure(*, repeats: int) -> list[Finding]:
    """Start Python with each of the programs in turn, *repeats* times."""
    taken: dict[str, list[float]] = {name: [] for name in _PROGRAMS}
    for _ in range(repeats):
        for name, program in _PROGRAMS.items():
            taken[name].append(_seconds(program))
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    nothing = medians.pop("nothing")
    return [
        Finding(what=f"import {name}", value=(seconds - nothing) * 1000, unit=" ms")
        for name, seconds in medians.items()
    ]


def _seconds(program: str) -> float:
    started = perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603  (ours)
    return perf_counter() - started
