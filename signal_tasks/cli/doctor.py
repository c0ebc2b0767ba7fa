"""The command that looks for what is wrong: ``flask signal-tasks doctor``."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict

import click
from flask.cli import ScriptInfo, pass_script_info

from ..dev.console import wants_colour
from ..doctor.examination import Section, examine
from ..doctor.findings import Finding, Status
from ..terminal import printable
from .inspection import looking_at

_COLOURS = {
    Status.OK: "green",
    Status.NOTE: "cyan",
    Status.SKIPPED: "cyan",
    Status.WARNING: "yellow",
    Status.WRONG: "red",
}
_MARK_WIDTH = max(map(len, Status)) + 2
_TEXT_WIDTH = 100


@click.command("doctor")
@click.option(
    "--timeout",
    "seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.1, 60),
    help="Seconds that broker, workers and store may take to answer.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_script_info
def doctor(info: ScriptInfo, *, seconds: float, strict: bool, as_json: bool) -> None:
    """Look for what loses, doubles or delays events, and say how to mend it.

    It looks at the settings, the broker, the running workers and the store, and changes
    nothing. The exit code is 1 where something is wrong.
    """
    sections: list[Section] = []
    with looking_at(info) as host:
        for section in examine(host, seconds=seconds):
            sections.append(section)
            if not as_json:
                _print_section(section)
    if as_json:
        click.echo(json.dumps(list(_facts(sections)), indent=2))
    else:
        _print_summary(sections)
    counts = _counts(sections)
    if counts[Status.WRONG] or (strict and counts[Status.WARNING]):
        raise click.exceptions.Exit(1)


def _facts(sections: Iterable[Section]) -> Iterator[dict[str, object]]:
    for section in sections:
        for finding in section.findings:
            yield {"subject": section.subject, **asdict(finding)}


def _print_section(section: Section) -> None:
    _echo(click.style(section.subject, bold=True))
    for finding in section.findings:
        for line in _lines(finding):
            _echo(line)


def _lines(finding: Finding) -> Iterator[str]:
    mark = click.style(
        f"  {finding.status:<{_MARK_WIDTH}}", fg=_COLOURS[finding.status]
    )
    indent = " " * (2 + _MARK_WIDTH)
    first, *others = _wrapped(finding.found)
    yield mark + first
    for line in others:
        yield indent + line
    if finding.mend:
        for line in _wrapped(f"-> {finding.mend}", hanging="   "):
            yield indent + line


def _wrapped(text: str, *, hanging: str = "") -> list[str]:
    """Break *text* to fit the terminal; a program that reads it gets one line."""
    text = printable(text)
    if not sys.stdout.isatty():
        return [text]
    width = min(shutil.get_terminal_size().columns, _TEXT_WIDTH) - 2 - _MARK_WIDTH
    return textwrap.wrap(
        text,
        max(width, 20),
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _print_summary(sections: Iterable[Section]) -> None:
    counts = _counts(sections)
    told = [
        f"{status}: {counts[status]}" for status in reversed(Status) if counts[status]
    ]
    _echo(", ".join(told))


def _counts(sections: Iterable[Section]) -> Counter[Status]:
    return Counter(one.status for section in sections for one in section.findings)


def _echo(line: str) -> None:
    click.echo(line, color=wants_colour(sys.stdout) or None)
