"""How results are told."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.faults.cells import Cell
from tests.faults.counting import Counts
from tests.faults.run import Result
from tests.faults.table import as_json, as_line, as_summary, as_table, broken_promises

COUNTS = Counts(committed=90, lost=0, buried=0, doubled=0, phantom=0, unfinished=0)
RESULT = Result(
    cell=Cell(fault="web killed", delivery="outbox", broker="redis", store="sqlite"),
    seed=1,
    orders=100,
    counts=COUNTS,
    struck=("web killed", "web killed"),
    slowest_send=0.25,
    seconds=12.4,
)


def test_table_is_markdown() -> None:
    """Each result is a line, below headings of the same widths."""
    once = replace(RESULT.cell, delivery="direct", once=True)

    table = as_table([RESULT, replace(RESULT, cell=once)])

    headings, rule, first, second = table.splitlines()
    assert headings.startswith(
        "| fault      | delivery    | broker | store  | strikes |"
    )
    assert rule.startswith("| ---------- | ----------- | ------ | ------ | ------- |")
    assert first.startswith("| web killed | outbox      | redis  | sqlite | 2       |")
    assert second.startswith("| web killed | direct once | redis  | sqlite | 2       |")
    assert first.endswith(
        "| 90        | 0    | 0      | 0       | 0       | 0.25 s       |"
    )


def test_summary_adds_up_brokers_and_stores() -> None:
    """Faults are the lines, deliveries the columns; what was not tried is left out."""
    elsewhere = replace(RESULT.cell, broker="rabbitmq")
    lost = replace(COUNTS, lost=2, phantom=3)
    once = replace(RESULT.cell, fault="none", delivery="direct", once=True)

    summary = as_summary(
        [
            RESULT,
            replace(RESULT, cell=elsewhere, counts=lost),
            replace(RESULT, cell=once),
        ]
    )

    assert summary.splitlines() == [
        "| fault      | outbox           | direct once     |",
        "| ---------- | ---------------- | --------------- |",
        "| web killed | 2 / 0 / 3 of 180 |                 |",
        "| none       |                  | 0 / 0 / 0 of 90 |",
    ]


def test_line_tells_what_there_is() -> None:
    """A line names the cell, what was counted, and what was done."""
    assert as_line(RESULT) == (
        "web killed, outbox, redis, sqlite in 12 s: 90 committed; slowest send 0.25 s; "
        "web killed 2x."
    )
    assert as_line(replace(RESULT, struck=())).endswith("; in peace.")


def test_broken_promises_are_told() -> None:
    """Whatever is more than may be is named with its limit, and so is a slow send."""
    result = replace(
        RESULT, counts=replace(COUNTS, lost=2, phantom=1), slowest_send=2.25
    )

    broken = broken_promises(result)

    assert broken == [
        "lost 2 of 90, 0 at most",
        "phantom 1 of 90, 0 at most",
        "a send took 2.25 s",
    ]
    assert as_line(result).endswith(f" BROKEN: {'; '.join(broken)}")


def test_json_has_it_all() -> None:
    """A result as JSON has its cell, its counts, and what is broken."""
    told = json.loads(json.dumps(as_json(RESULT)))

    assert told["cell"]["fault"] == "web killed"
    assert told["counts"]["committed"] == 90
    assert told["struck"] == ["web killed", "web killed"]
    assert told["broken"] == []
