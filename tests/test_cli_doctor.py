"""The command doctor, run as ``flask signal-tasks`` runs it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from blinker import Signal
from click import unstyle
from click.testing import Result
from flask import Flask

from signal_tasks import Bridge
from signal_tasks.cli.group import group
from signal_tasks.doctor.findings import Finding, Status
from tests.in_memory import celery_settings, new_app

PASSWORD = "hunter2"

# Nobody listens there.
CLOSED = f"redis://bob:{PASSWORD}@127.0.0.1:1/0"

SCRIPT = """
from flask import Flask

from signal_tasks import SignalTasks

app = Flask("shop")
app.config["CELERY"] = {"broker_url": "redis://127.0.0.1:1/0"}
app.config["SIGNAL_TASKS_STORE_URL"] = "sqlite:///" + __file__ + ".sqlite3"
SignalTasks(app)
"""


@pytest.fixture
def app(flask_bridge: Bridge, tmp_path: Path) -> Flask:
    """Return an app with the commands, whose broker is not there."""
    app = new_app(
        flask_bridge,
        SIGNAL_TASKS_STORE_URL=f"sqlite:///{tmp_path / 'store.sqlite3'}",
        CELERY=celery_settings(broker_url=CLOSED),
    )
    app.cli.add_command(group)
    return app


def run(app: Flask, *arguments: str) -> Result:
    """Run the command for *app*."""
    runner = app.test_cli_runner()
    return runner.invoke(args=["signal-tasks", "doctor", *arguments])


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """Return what is found instead of all the rest."""
    findings: list[Finding] = []

    def look(*_: object, **__: object) -> list[Finding]:
        return findings

    for module, name in (
        ("examination", "look_at_broker"),
        ("examination", "look_at_workers"),
        ("examination", "look_at_store"),
    ):
        monkeypatch.setattr(f"signal_tasks.doctor.{module}.{name}", look)
    return findings


def test_what_is_found_is_printed_by_subject(app: Flask) -> None:
    """Each finding has a mark, and what is not well has its mend below."""
    lines = run(app).output.splitlines()

    assert lines[:3] == [
        "settings",
        "  ok       envelopes are signed.",
        "  ok       nothing is unpickled.",
    ]
    broker = lines.index("broker")
    assert lines[broker + 1].startswith("  wrong    the broker at redis://bob:**@")
    assert lines[broker + 2].startswith("           -> Is it running")
    assert lines[broker + 3 : broker + 5] == [
        "workers",
        "  skipped  workers were not asked, for the broker cannot be used.",
    ]
    assert lines[-1] == "wrong: 1, skipped: 1, note: 1, ok: 4"


def test_password_is_not_printed(app: Flask) -> None:
    """Who reads it need not know the password."""
    assert PASSWORD not in run(app).output
    assert PASSWORD not in run(app, "--json").output


def test_json_is_a_list_of_findings(app: Flask) -> None:
    """A program reads what people do."""
    found = json.loads(run(app, "--json").stdout)

    [broker] = [one for one in found if one["subject"] == "broker"]
    assert broker["check"] == "broker-reachable"
    assert broker["status"] == "wrong"
    assert broker["found"].startswith("the broker at redis://bob:**@127.0.0.1:1/0")
    assert broker["mend"].startswith("Is it running")
    assert broker["about"] == []


@pytest.mark.parametrize(
    ("status", "arguments", "exit_code"),
    [
        (Status.OK, (), 0),
        (Status.NOTE, ("--strict",), 0),
        (Status.SKIPPED, ("--strict",), 0),
        (Status.WARNING, (), 0),
        (Status.WARNING, ("--strict",), 1),
        (Status.WARNING, ("--strict", "--json"), 1),
        (Status.WRONG, (), 1),
        (Status.WRONG, ("--json",), 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_exit_code_tells_whether_something_is_wrong(
    app: Flask,
    only: list[Finding],
    status: Status,
    arguments: tuple[str, ...],
    exit_code: int,
) -> None:
    """Warnings count where they are asked to."""
    only.append(Finding(check="weather", status=status, found="it rains."))

    assert run(app, *arguments).exit_code == exit_code


def test_cursor_stays_where_it_is(app: Flask, only: list[Finding]) -> None:
    """What workers tell is not to play with the terminal."""
    only.append(Finding(check="x", status=Status.OK, found="celery@\x1b[2J."))

    assert "celery@\\x1b[2J." in run(app).output


@pytest.mark.parametrize("seconds", ["0", "61", "soon"])
def test_timeout_is_a_number_of_seconds(app: Flask, seconds: str) -> None:
    """It has bounds."""
    assert run(app, "--timeout", seconds).exit_code == 2


def test_app_without_the_extension_is_told(flask_bridge: Bridge) -> None:
    """There is nothing to examine."""
    app = Flask("plain")
    app.cli.add_command(group)

    result = run(app)

    assert result.exit_code == 1
    assert "has no SignalTasks" in result.output


def test_nothing_is_sent(app: Flask, flask_bridge: Bridge, signal: Signal) -> None:
    """Looking runs no handler."""
    calls: list[object] = []
    flask_bridge.async_receiver(signal, name="bill")(calls.append)

    run(app)

    assert not calls


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_terminal_gets_lines_that_fit(tmp_path: Path, columns: int) -> None:
    """Long findings are wrapped to the terminal's width, and marks have colours."""
    (tmp_path / "shop.py").write_text(SCRIPT)
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    ours, theirs = pty.openpty()

    done = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "shop", "signal-tasks", "doctor"],
        cwd=tmp_path,
        env=environment,
        stdout=theirs,
    )
    os.close(theirs)
    output = b""
    while chunk := _read(ours):
        output += chunk
    os.close(ours)

    assert done.wait(timeout=60) == 1
    text = output.decode()
    assert "\x1b[31m  wrong" in text
    lines = [line for line in unstyle(text).splitlines() if "sqlite:" not in line]
    assert max(map(len, lines)) <= min(columns, 100)


def _read(descriptor: int) -> bytes:
    """Read from a terminal, whose end is an error on some systems."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
