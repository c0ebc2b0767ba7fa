"""What came out, as a table for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Final

from tests.faults.cells import Cell, promise_of
from tests.faults.plant import PUBLISH_SECONDS
from tests.faults.run import Result

SLACK_SECONDS: Final = 1.5
"""What a send may take besides, on a machine whose processors are all busy."""

_HEADINGS: Final = (
    *("fault", "delivery", "broker", "store", "strikes", "committed"),
    *("lost", "buried", "doubled", "phantom", "slowest send"),
)


def broken_promises(result: Result) -> list[str]:
    """Return what of *result* is against the promises, in words."""
    promise = promise_of(result.cell, len(result.struck))
    broken = [
        f"{name} {found} of {result.counts.committed}, {limit} at most"
        for name in ("lost", "doubled", "phantom")
        if (limit := getattr(promise, name)) is not None
        and (found := getattr(result.counts, name)) > limit
    ]
    if result.slowest_send > PUBLISH_SECONDS + SLACK_SECONDS:
        broken.append(f"a send took {result.slowest_send:.2f} s")
    return broken


def as_table(results: Iterable[Result]) -> str:
    """Return *results* as a table in Markdown."""
    return _table([_HEADINGS, *map(_row, results)])


def as_summary(results: Iterable[Result]) -> str:
    """Return *results* as a table of faults and deliveries.

    A field has what was lost, doubled and phantom, of what was committed, with all
    brokers and stores that were tried.
    """
    fields: dict[str, dict[str, Counter[str]]] = {}
    for result in results:
        row = fields.setdefault(result.cell.fault, {})
        field = row.setdefault(_delivery(result.cell), Counter())
        field.update(asdict(result.counts))
    deliveries = list(dict.fromkeys(name for row in fields.values() for name in row))
    rows = [
        [fault, *(_summed(row.get(name)) for name in deliveries)]
        for fault, row in fields.items()
    ]
    return _table([["fault", *deliveries], *rows])


def _summed(counts: Counter[str] | None) -> str:
    if counts is None:
        return ""
    harm = " / ".join(str(counts[name]) for name in ("lost", "doubled", "phantom"))
    return f"{harm} of {counts['committed']}"


def _delivery(cell: Cell) -> str:
    return f"{cell.delivery} once" if cell.once else cell.delivery


def _row(result: Result) -> Sequence[str]:
    cell, counts = result.cell, result.counts
    return (
        *(cell.fault, _delivery(cell), cell.broker, cell.store),
        *(str(len(result.struck)), str(counts.committed)),
        *(str(counts.lost), str(counts.buried)),
        *(str(counts.doubled), str(counts.phantom)),
        f"{result.slowest_send:.2f} s",
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    headings, *others = rows
    rule = ["-" * width for width in widths]
    return "\n".join(_line(row, widths) for row in (headings, rule, *others))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    fields = (field.ljust(width) for field, width in zip(row, widths, strict=True))
    return f"| {' | '.join(fields)} |"


def as_line(result: Result) -> str:
    """Return what to say of *result* when it is there."""
    found = asdict(result.counts)
    counts = ", ".join(f"{number} {name}" for name, number in found.items() if number)
    strikes = Counter(result.struck)
    struck = ", ".join(f"{name} {times}x" for name, times in strikes.items())
    broken = "; ".join(broken_promises(result))
    return (
        f"{result.cell} in {result.seconds:.0f} s: {counts}; slowest send "
        f"{result.slowest_send:.2f} s; {struck or 'in peace'}."
        f"{broken and f' BROKEN: {broken}'}"
    )


def as_json(result: Result) -> dict[str, object]:
    """Return all of *result* as JSON has it."""
    return {**asdict(result), "broken": broken_promises(result)}
