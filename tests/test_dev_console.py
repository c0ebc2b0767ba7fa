"""Tests of the terminal's lines."""

from __future__ import annotations

import io
import os

import pytest

from signal_tasks.dev.console import Console, wants_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ClosedTerminal(Terminal):
    attempts = 0

    def write(self, text: str) -> int:
        self.attempts += 1
        raise OSError(5, os.strerror(5))


def test_line_stands_behind_the_name_of_its_process() -> None:
    """Names are padded, so that the lines begin in one column."""
    stream = io.StringIO()
    console = Console(stream)

    console.line("web", "GET /")
    console.line("worker", "ready")

    assert stream.getvalue() == "web    | GET /\nworker | ready\n"


def test_names_are_coloured_on_request() -> None:
    """A coloured console marks the name and leaves the process's words alone."""
    stream = io.StringIO()

    Console(stream, is_coloured=True).line("web", "GET /")

    assert stream.getvalue() == "\x1b[36mweb    |\x1b[0m GET /\n"


def test_colourless_console_takes_the_colours_of_the_processes_too() -> None:
    """Escape sequences of a child do not reach a file."""
    stream = io.StringIO()

    Console(stream).line("web", "\x1b[31mwarning\x1b[0m")

    assert stream.getvalue() == "web    | warning\n"


def test_closed_terminal_is_left_alone() -> None:
    """After the first failed write nothing is written any more, and nothing raises."""
    stream = ClosedTerminal()
    console = Console(stream)

    console.line("web", "one")
    console.line("web", "two")

    assert stream.attempts == 1


@pytest.mark.parametrize(
    ("stream", "environment", "expected"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (io.StringIO(), {"TERM": "xterm"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
    ],
    ids=["terminal", "file", "NO_COLOR", "empty NO_COLOR", "dumb terminal"],
)
def test_colours_are_for_those_who_see_them(
    stream: io.StringIO, environment: dict[str, str], expected: bool
) -> None:
    """Colours need a terminal that can show them and a user who does not mind."""
    assert wants_colour(stream, environment) is expected
