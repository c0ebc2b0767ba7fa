"""Measure, and print what came out: ``make bench``, or ``python -m benchmarks``."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from signal_tasks import ConfigurationError

from . import (
    instructions,
    memory,
    no_receiver,
    requests_per_second,
    start_up,
    worker_overhead,
)
from .contenders import load
from .contenders.contender import Contender, MissingError
from .figures import figures_of
from .findings import Finding
from .goals import judged
from .options import Options, parse
from .place import Place
from .report import Report
from .rounds import Rounds, Series
from .servers import running_place
from .verify import verify_all


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for.

    Returns:
        The exit code: 0 if workers have run all that was sent, else 1.
    """
    options = parse(arguments)
    try:
        with running_place(options) as place:
            report = _measure(options, place)
    except ConfigurationError as error:
        print(f"The benchmark cannot start: {error}", file=sys.stderr)
        return 1
    if report.figures:
        _draw(report, options)
    print(report.text)
    print(f"\nAlso as JSON and as a picture in {options.output}.")
    return 0 if report.is_right else 1


def _measure(options: Options, place: Place) -> Report:
    report = Report()
    if "sends" in options.parts:
        _measure_sends(options, place, report)
        # What takes minutes is kept, whatever becomes of the rest.
        report.write(options.output)
    small = replace(place, handler_counts=(1,))
    parts: dict[str, Callable[[], list[Finding]]] = {
        "instructions": lambda: instructions.measure(place),
        "requests": lambda: requests_per_second.measure(place, seconds=2.0, repeats=3),
        "worker": lambda: worker_overhead.measure(small, tasks=4000, repeats=3),
        "no_receiver": lambda: no_receiver.measure(repeats=100),
        "memory": lambda: memory.measure(small, sends=100_000),
        "start_up": lambda: start_up.measure(repeats=10),
    }
    for name, measure in parts.items():
        if name in options.parts:
            _say(f"measuring {name}")
            try:
                report.findings[name] = measure()
            except MissingError as error:
                report.missing[name] = str(error)
            report.write(options.output)
    return report


def _measure_sends(options: Options, place: Place, report: Report) -> None:
    contenders = _contenders(options.contenders, place, report)
    try:
        series = _send_and_verify(contenders, options, report)
    finally:
        for contender in contenders:
            contender.close()
    right = {one.contender for one in report.verdicts if one.is_right}
    report.figures = figures_of(
        (one for one in series if one.contender in right),
        {contender.name: contender.baseline for contender in contenders},
    )
    report.findings["sends"] = judged(report.figures)


def _send_and_verify(
    contenders: Sequence[Contender], options: Options, report: Report
) -> list[Series]:
    rounds = Rounds(contenders)
    series: list[Series] = []
    for cell in options.cells():
        _say(
            f"sending to {cell.handlers} handlers, {cell.size} B, {cell.rounds} rounds"
        )
        series += rounds.run(cell)
    _say("letting workers run it all")
    report.verdicts = verify_all(contenders, rounds.sent)
    return series


def _contenders(names: Sequence[str], place: Place, report: Report) -> list[Contender]:
    """Load those that can take part, and the baselines that they need."""
    loaded: dict[str, Contender] = {}
    for name in names:
        try:
            contender = load(name, place)
            if contender.baseline not in (name, *loaded):
                loaded[contender.baseline] = load(contender.baseline, place)
        except MissingError as error:
            report.missing[name] = str(error)
        else:
            loaded.setdefault(name, contender)
    return list(loaded.values())


def _draw(report: Report, options: Options) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        report.missing["picture"] = "matplotlib is not installed"
        return
    from .plot import draw  # noqa: PLC0415  (a picture is optional)

    draw(report.figures, options.output / "ratios.png")


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words} ...", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
