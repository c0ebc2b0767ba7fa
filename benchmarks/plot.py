"""The ratios as a picture: how each contender grows with the handlers of a signal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import NullLocator

from .figures import Figure

_OURS: Mapping[str, str] = {
    "direct": "#c1121f",
    "direct_public": "#e76f51",
    "request": "#1d4ed8",
    "commit": "#0891b2",
    "buffered": "#15803d",
    "outbox_sqlite": "#7e22ce",
    "outbox_postgresql": "#a855f7",
    "direct_rabbit": "#b45309",
}
_PEERS = "#9ca3af"
_LABELS: Mapping[str, str] = {
    "lpush": "LPUSH alone",
    "delay_rabbit": "delay(), RabbitMQ",
    "direct_rabbit": "direct, RabbitMQ",
}
_LABEL_GAP = 0.035
"""Of the height of a field: what a label needs."""


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Draw *figures* into *path*, one field for each size of payload."""
    sizes = sorted({one.size for one in figures})
    picture = Picture(figsize=(7 * len(sizes), 7), layout="constrained")
    fields = picture.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for field, size in zip(fields, sizes, strict=True):
        _draw_size(field, [one for one in figures if one.size == size])
        field.set_title(f"payload of {size} bytes")
        field.set_xlabel("handlers of the signal")
    fields[0].set_ylabel("time in the request, as a share of that many delay() calls")
    picture.savefig(path, dpi=120)


def _draw_size(field: Axes, figures: Sequence[Figure]) -> None:
    field.set_xscale("log")
    field.set_yscale("log")
    counts = sorted({one.handlers for one in figures})
    field.set_xticks(counts, [str(count) for count in counts])
    field.xaxis.set_minor_locator(NullLocator())
    field.grid(visible=True, which="major", color="#e5e7eb")
    ends: dict[str, float] = {}
    for name in dict.fromkeys(one.contender for one in figures):
        points = sorted(
            (one.handlers, one.ratio)
            for one in figures
            if one.contender == name and one.ratio
        )
        if not points:
            continue
        field.plot(
            [count for count, _ in points],
            [ratio for _, ratio in points],
            color=_OURS.get(name, _PEERS),
            linewidth=2.2 if name in _OURS else 1.2,
            linestyle="--" if name == "lpush" else "-",
            marker="o",
            markersize=4,
        )
        ends[name] = points[-1][1]
    _label(field, ends, counts[-1])


def _label(field: Axes, ends: Mapping[str, float], x: float) -> None:
    """Write the names where the lines end, one below the other where they are close."""
    low, high = (math.log10(limit) for limit in field.get_ylim())
    heights = spread(
        {name: (math.log10(y) - low) / (high - low) for name, y in ends.items()},
        _LABEL_GAP,
    )
    for name, height in heights.items():
        field.annotate(
            _LABELS.get(name, name),
            xy=(x, ends[name]),
            xytext=(1.02, height),
            textcoords="axes fraction",
            color=_OURS.get(name, "#4b5563"),
            fontsize=9,
            verticalalignment="center",
            annotation_clip=False,
        )


def spread(heights: Mapping[str, float], gap: float) -> dict[str, float]:
    """Return *heights* moved as little as leaves *gap* between any two, all below 1."""
    moved: dict[str, float] = {}
    lowest = -math.inf
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        moved[name] = lowest = max(height, lowest + gap)
    highest = 1.0 + gap
    for name in reversed(list(moved)):
        moved[name] = highest = min(moved[name], highest - gap)
    return moved
