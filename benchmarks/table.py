"""The figures and findings as text, for a terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .figures import Figure
from .findings import Finding


def figures_table(figures: Sequence[Figure]) -> str:
    """Return a table with a row for each contender and columns for each signal."""
    places = sorted({(one.size, one.handlers) for one in figures})
    names = list(dict.fromkeys(one.contender for one in figures))
    by_place = {(one.contender, one.size, one.handlers): one for one in figures}
    sizes = dict.fromkeys(size for size, _ in places)
    return "\n\n".join(
        _one_size(
            size,
            [handlers for other, handlers in places if other == size],
            names,
            by_place,
        )
        for size in sizes
    )


def _one_size(
    size: int,
    counts: Sequence[int],
    names: Sequence[str],
    by_place: Mapping[tuple[str, int, int], Figure],
) -> str:
    head = [f"{size} B"]
    for count in counts:
        head += [f"N={count}", "p99", "ratio"]
    rows = [head]
    for name in names:
        row = [name]
        for count in counts:
            row += _cells(by_place.get((name, size, count)))
        rows.append(row)
    return aligned(rows)


def _cells(figure: Figure | None) -> list[str]:
    if figure is None:
        return ["-", "-", "-"]
    ratio = "-" if figure.ratio is None else ratio_text(figure.ratio)
    return [duration(figure.median), duration(figure.p99), ratio]


def findings_table(findings: Iterable[Finding]) -> str:
    """Return a table with a row for each finding, and whether its goal is kept."""
    return aligned(
        [
            [
                finding.what,
                f"{number(finding.value)}{finding.unit}",
                finding.goal,
                _KEPT[finding.is_kept],
            ]
            for finding in findings
        ]
    )


_KEPT = {True: "kept", False: "NOT KEPT", None: ""}


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return *rows* with the first column on the left and the others on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if position == 0 else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def duration(seconds: float) -> str:
    """Return *seconds* in microseconds or milliseconds, with three figures."""
    microseconds = seconds * 1e6
    if microseconds < 1000:  # noqa: PLR2004
        return f"{number(microseconds)} us"
    return f"{number(microseconds / 1000)} ms"


def ratio_text(ratio: float) -> str:
    """Return *ratio* with two figures, and as many noughts as it takes."""
    return f"{ratio:.2f}" if ratio >= 1 else f"{float(f'{ratio:.2g}')}"


def number(value: float) -> str:
    """Return *value* with three figures, and never as a power of ten."""
    if abs(value) >= 100:  # noqa: PLR2004
        return f"{value:.0f}"
    return f"{float(f'{value:.3g}'):g}"
