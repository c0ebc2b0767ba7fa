"""The examples of the README, of every page below docs/ and of docstrings run."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from signal_tasks import codec
from signal_tasks.cli.group import group
from tests import run_page

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands_of(group: click.Group) -> Iterator[str]:
    """Yield the names of the commands in *group*, and in the groups in it."""
    for name, command in group.commands.items():
        yield name
        if isinstance(command, click.Group):
            yield from (f"{name} {inner}" for inner in commands_of(command))


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if list(run_page.parse(page).examples())],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_examples_run(page: Path, tmp_path: Path) -> None:
    """The Python examples of a page run, from an empty folder and with no broker."""
    environment = os.environ | {"CELERY_BROKER_URL": "memory://", "FLASK_DEBUG": "1"}

    done = subprocess.run(
        [sys.executable, "-W", "error", run_page.__file__, page],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_docstring_examples_run() -> None:
    """The examples in the docstrings of the codec print what they say."""
    tried = doctest.testmod(codec)

    assert tried.attempted
    assert not tried.failed


@pytest.mark.parametrize("command", ["", *commands_of(group)])
def test_command_line_page_shows_the_help(command: str) -> None:
    """The page of the command line shows what ``--help`` prints, word for word."""
    page = (ROOT / "docs/reference/command-line.md").read_text()
    name = f"flask signal-tasks {command}".rstrip()
    words = [*command.split(), "--help"]

    shown = CliRunner().invoke(
        group, words, prog_name="flask signal-tasks", terminal_width=80
    )

    assert f"## {name}\n\n```text\n{shown.output}```\n" in page
