"""What a send may cost, as a share of what hand-written ``delay()`` calls cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .figures import Figure
from .findings import Finding, at_most

SIZE = 200
"""Bytes of the payload that the goals are about."""

RATIOS: Mapping[str, Mapping[int, float]] = {
    "direct": {1: 0.25, 4: 0.065, 10: 0.035, 100: 0.015},
    "direct_public": {1: 0.45, 4: 0.18, 10: 0.11, 100: 0.07},
    "request": {1: 0.06, 4: 0.025, 10: 0.02, 100: 0.011},
    "buffered": {1: 0.01, 4: 0.003, 10: 0.001, 100: 0.0003},
    "direct_rabbit": {1: 0.65, 4: 0.28, 10: 0.18, 100: 0.13},
}
"""By contender and count of handlers."""


def judged(figures: Iterable[Figure]) -> list[Finding]:
    """Compare *figures* with the goals, as far as they are about them."""
    by_place = {
        (one.contender, one.handlers): one for one in figures if one.size == SIZE
    }
    return [
        *_ratios(by_place),
        *_beside(by_place, "direct", "huey", "median against Huey's"),
        *_tails(by_place),
    ]


_ByPlace = Mapping[tuple[str, int], Figure]


def ratio_to_delay(contender: str, handlers: int, ratio: float) -> Finding:
    """Compare what a send takes, as a share of what ``delay()`` does, with its goal."""
    limit = RATIOS.get(contender, {}).get(handlers)
    what = f"{contender}, {_handlers(handlers)}, ratio"
    if limit is None:
        return Finding(what=what, value=ratio)
    return at_most(what, ratio, limit)


def _ratios(by_place: _ByPlace) -> list[Finding]:
    return [
        ratio_to_delay(contender, count, figure.ratio)
        for contender, limits in RATIOS.items()
        for count in limits
        if (figure := by_place.get((contender, count))) and figure.ratio is not None
    ]


def _beside(
    by_place: _ByPlace, contender: str, rival: str, words: str
) -> list[Finding]:
    return [
        at_most(
            f"{contender}, {_handlers(count)}, {words}",
            figure.median / by_place[rival, count].median,
            1.0,
        )
        for (name, count), figure in by_place.items()
        if name == contender and (rival, count) in by_place
    ]


def _tails(by_place: _ByPlace) -> list[Finding]:
    """With some handlers, even a slow send is below what ``delay()`` usually takes."""
    return [
        at_most(
            f"direct, {_handlers(count)}, p99 against delay()'s median",
            figure.p99 / by_place["delay", count].median,
            1.0,
        )
        for (name, count), figure in by_place.items()
        if name == "direct" and count >= _SOME and ("delay", count) in by_place
    ]


_SOME = 4


def _handlers(count: int) -> str:
    return "1 handler" if count == 1 else f"{count} handlers"
