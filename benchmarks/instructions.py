"""How many instructions a send takes of the processor, which no busy machine changes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from .contenders.contender import MissingError
from .counted import CASES, REPEATS
from .findings import Finding
from .goals import ratio_to_delay
from .place import Place

Counts = Mapping[tuple[str, int], float]
"""A number for each contender and count of handlers."""

_MARK = "getloadavg"
_ROOT = Path(__file__).parents[1]


def measure(place: Place) -> list[Finding]:
    """Count, and compare with as many calls of ``delay()``."""
    counts = count(place)
    return [
        *(
            Finding(what=f"{contender}, {handlers} handlers", value=instructions)
            for (contender, handlers), instructions in counts.items()
        ),
        *(
            ratio_to_delay(contender, handlers, ratio)
            for (contender, handlers), ratio in ratios(counts).items()
        ),
    ]


def count(place: Place) -> Counts:
    """Return how many instructions a send takes, or a call of ``delay()``.

    Those of the thread that sends are counted, and the kernel's are not. A buffered send
    is one that finds the buffer's thread awake.

    Raises:
        MissingError: There is no valgrind.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise MissingError("valgrind is not installed")
    with TemporaryDirectory(prefix="signal-tasks-callgrind-") as folder:
        subprocess.run(  # noqa: S603  (found on PATH, and ourselves)
            [valgrind, *_options(Path(folder)), sys.executable, "-m", _COUNTED],
            env=_environment(place),
            cwd=_ROOT,
            check=True,
        )
        totals = _totals(Path(folder))
    # Every other one is of what was done to prepare.
    counted = iter(totals[1::2])
    return {
        (case.contender, case.handlers): min(next(counted) for _ in range(REPEATS))
        / case.sends
        for case in CASES
    }


def ratios(counts: Counts) -> Counts:
    """Return *counts* of what has handlers, as shares of as many calls of ``delay()``."""
    return {
        (contender, handlers): instructions / (handlers * counts["delay", 1])
        for (contender, handlers), instructions in counts.items()
        if handlers and contender != "delay"
    }


_COUNTED = "benchmarks.counted"


def _options(folder: Path) -> Sequence[str]:
    return [
        *("--tool=callgrind", f"--log-file={folder / 'log'}"),
        *(f"--callgrind-out-file={folder / 'out'}", "--separate-threads=yes"),
        f"--dump-before={_MARK}",
    ]


def _environment(place: Place) -> Mapping[str, str]:
    """Return an environment in which each run counts the same."""
    environment = {
        name: value
        for name, value in place.environment().items()
        # Else coverage would trace what we count, when a test does so.
        if not name.startswith("COVERAGE_")
    }
    return {**environment, "PYTHONHASHSEED": "0"}


def _totals(folder: Path) -> Sequence[int]:
    """Return what was executed before each mark, since the one before it."""
    dumps = {
        int(dump.suffix[1:].removesuffix("-01")): dump
        for dump in folder.glob("out.*-01")
    }
    marks = 2 * REPEATS * len(CASES)
    if len(dumps) != marks:
        raise RuntimeError(f"callgrind saw {len(dumps)} calls of {_MARK}, not {marks}")
    return [_total(dumps[number]) for number in sorted(dumps)]


def _total(dump: Path) -> int:
    found = re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"callgrind wrote no totals into {dump.name}")
    return int(found[1])
