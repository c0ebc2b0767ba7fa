"""The command that tries the whole matrix, or what is chosen of it."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.faults.brokers import MissingServerError
from tests.faults.cells import Cell, all_cells, chosen
from tests.faults.run import Extent, Result, run
from tests.faults.table import as_json, as_line, as_summary, as_table, broken_promises

say = partial(print, flush=True)


Try = Result | MissingServerError | AssertionError | OSError
"""What came of a cell: a result, or why there is none."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the cells that are asked for, and print what came of them.

    Returns:
        1 if a promise was broken or a run failed, else 0.
    """
    options = _parser().parse_args(arguments)
    cells = chosen(all_cells(), options.only)
    if options.list:
        say(*cells, sep="\n")
        return 0
    tries: list[Try] = []
    results: list[Result] = []
    for one in _tries(cells, options):
        tries.append(one)
        if isinstance(one, Result):
            results.append(one)
        write(results, options.json)  # now, for it may be long until all are there
    say(f"\n{as_table(results)}\n\nLost / doubled / phantom of committed:\n")
    say(f"{as_summary(results)}\n\nAs JSON: {options.json}")
    return verdict(tries)


def verdict(tries: Iterable[Try]) -> int:
    """Return 1 if one of *tries* broke a promise or could not be finished, else 0."""
    return int(any(map(_is_bad, tries)))


def _is_bad(one: Try) -> bool:
    if isinstance(one, Result):
        return bool(broken_promises(one))
    return not isinstance(one, MissingServerError)


def write(results: Sequence[Result], file: Path) -> None:
    """Write *results* to *file* as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([as_json(one) for one in results], indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", default=(), metavar="WORD", help="cells with these words")
    add("--seed", type=int, default=1, help="of the saboteur")
    add("--orders", type=int, default=400, help="placed in each cell")
    add("--seconds", type=float, default=12.0, help="that the orders of a cell take")
    add("--jobs", type=int, default=4, help="cells at a time")
    add("--json", type=Path, default=Path("build/faults.json"), help="what to write")
    add("--logs", type=Path, help="where to keep the logs and files of all runs")
    add("--list", action="store_true", help="print the cells, and try none")
    return parser


def _tries(cells: Sequence[Cell], options: argparse.Namespace) -> Iterator[Try]:
    """Try *cells*, several at a time, for most of the time they wait."""
    extent = Extent(orders=options.orders, seconds=options.seconds)

    def attempt(cell: Cell) -> Try:
        folder = _folder(cell, options)
        outcome: Try
        try:
            outcome = result = run(
                cell, seed=options.seed, extent=extent, folder=folder
            )
            said = as_line(result)
        except (MissingServerError, AssertionError, OSError) as error:
            outcome = error
            said = f"{cell}: {error}"
        if not options.logs:
            shutil.rmtree(folder)
        say(f"{time.strftime('%H:%M:%S')} {said}")
        return outcome

    with ThreadPoolExecutor(options.jobs) as executor:
        yield from executor.map(attempt, cells)


def _folder(cell: Cell, options: argparse.Namespace) -> Path:
    if not options.logs:
        return Path(tempfile.mkdtemp(prefix="signal-tasks-faults-"))
    folder: Path = options.logs / str(cell).replace(", ", "--").replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder.resolve()
