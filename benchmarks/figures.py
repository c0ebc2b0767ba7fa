"""What the series of the rounds say: medians, 99th percentiles and ratios."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .rounds import Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one event costs with one contender."""

    contender: str
    handlers: int
    size: int
    rounds: int
    median: float
    """Seconds."""

    p99: float
    """Seconds; with fewer than a hundred rounds, the slowest of them."""

    ratio: float | None
    """The median over that of the baseline, in the same rounds; None without one."""


def figures_of(series: Iterable[Series], baselines: Mapping[str, str]) -> list[Figure]:
    """Sum up *series*.

    Args:
        series: At most one for each contender, count of handlers and size.
        baselines: Whom each contender is compared with.
    """
    by_place = {(one.contender, one.handlers, one.size): one for one in series}
    return [
        Figure(
            contender=one.contender,
            handlers=one.handlers,
            size=one.size,
            rounds=len(one.seconds),
            median=statistics.median(one.seconds),
            p99=percentile(one.seconds, 99),
            ratio=_ratio(
                one,
                by_place.get((baselines[one.contender], one.handlers, one.size)),
            ),
        )
        for one in by_place.values()
    ]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of *values* that *percent* of them do not exceed."""
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def _ratio(series: Series, baseline: Series | None) -> float | None:
    if baseline is None:
        return None
    return statistics.median(series.seconds) / statistics.median(baseline.seconds)
