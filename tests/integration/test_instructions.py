"""What a send costs in instructions of the processor, which no busy machine changes.

A budget is what was counted when it was last looked at, as a share of as many calls of
``delay()``. Whoever makes a send dearer on purpose raises it; whoever makes it cheaper
lowers it. ``make bench ARGS="--only instructions"`` prints what there is to write here.

The same program gives the same shares to within one per cent, but a share depends on what
executes it. A Python built with profiles, as Debian's is, makes its own functions faster,
and not those of libraries in C: that is up to 9 % for ``direct``. Python 3.13 takes 20 %
more for ``buffered`` than 3.11 does. So the budgets are narrow where what is not ours
takes as many instructions as it did where they were counted, and wide elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from benchmarks.contenders.contender import MissingError
from benchmarks.instructions import Counts, count, ratios
from benchmarks.place import Place
from signal_tasks.dev.broker import running_broker
from tests.integration.servers import missing

# The count takes forty seconds of a processor, which others may want as well.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

BUDGETS: Final[Mapping[tuple[str, int], float]] = {
    ("direct", 1): 0.1658,
    ("direct", 4): 0.0529,
    ("direct", 10): 0.0305,
    ("direct", 100): 0.01714,
    ("direct_public", 1): 0.256,
    ("direct_public", 4): 0.175,
    ("direct_public", 10): 0.1509,
    ("direct_public", 100): 0.1389,
    ("request", 1): 0.1219,
    ("request", 4): 0.04626,
    ("request", 10): 0.03154,
    ("request", 100): 0.01727,
    ("buffered", 1): 0.0218,
    ("buffered", 100): 0.000219,
}
"""By contender of the benchmarks and count of handlers."""

TOLERANCE: Final = 1.04

NOT_OURS: Final[Mapping[tuple[str, int], float]] = {
    ("delay", 1): 2_403_000,
    ("direct", 0): 8_400,
}
"""A call of ``delay()`` and a signal that nobody hears, with the Python of the budgets."""

NOT_OURS_TOLERANCE: Final = 0.015
TOLERANCES_ELSEWHERE: Final[Mapping[str, float]] = {
    **dict.fromkeys(("direct", "direct_public", "request"), 1.15),
    "buffered": 1.3,
}


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counts:
    """Return how many instructions a send takes."""
    folder: Path = tmp_path_factory.mktemp("instructions")
    try:
        with running_broker() as broker:
            return count(Place(redis_url=broker.url, directory=folder))
    except MissingError as error:  # pragma: no cover  # not every machine has valgrind
        missing(error)


def tolerance_of(delivery: str, counts: Counts) -> float:
    """Return how much of a budget a send may take."""
    known = {case: counts[case] for case in NOT_OURS}
    if known == pytest.approx(NOT_OURS, rel=NOT_OURS_TOLERANCE):
        return TOLERANCE
    return TOLERANCES_ELSEWHERE[delivery]


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{case[0]} {case[1]}") for case in BUDGETS]
)
def test_send_has_not_grown(counts: Counts, case: tuple[str, int]) -> None:
    """A send takes no larger share of ``delay()`` calls than is known to be needed."""
    assert ratios(counts)[case] <= BUDGETS[case] * tolerance_of(case[0], counts)


def test_budgets_are_narrow_where_they_were_counted() -> None:
    """What is not ours tells whether Python is built as it was there."""
    same = {case: number * 1.01 for case, number in NOT_OURS.items()}
    other = {**same, ("direct", 0): 6_875}

    assert tolerance_of("direct", same) == TOLERANCE
    assert tolerance_of("direct", other) == 1.15
    assert tolerance_of("buffered", other) == 1.3
