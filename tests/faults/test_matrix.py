"""The command, on the smallest part of the matrix."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.brokers import MissingServerError
from tests.faults.matrix import main, verdict
from tests.faults.test_table import COUNTS, RESULT
from tests.integration.workers import ROOT

pytestmark = pytest.mark.integration

QUICK = ("--orders", "10", "--seconds", "0.5")


def test_list_names_the_chosen_cells(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is tried then."""
    assert main(["--list", "--only", "cut,", "outbox once", "redis,"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "connections cut, outbox once, redis, sqlite",
        "connections cut, outbox once, redis, postgresql",
    ]


def test_package_is_the_command() -> None:
    """``make faults`` runs it so."""
    command = [sys.executable, "-m", "tests.faults", "--list", "--only", "in vain"]

    ended = subprocess.run(command, cwd=ROOT, check=False)

    assert ended.returncode == 0


@pytest.mark.parametrize("has_logs", [True, False], ids=["logs kept", "nothing kept"])
def test_cells_are_tried(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, has_logs: bool
) -> None:
    """A table is printed and JSON written; the files of a run are kept if asked for."""
    logs = tmp_path / "logs"
    json_file = tmp_path / "build" / "faults.json"
    cell = ("none", "direct,", "redis,", "sqlite")
    arguments = ["--only", *cell, "--json", str(json_file), *QUICK]

    code = main([*arguments, "--logs", str(logs)] if has_logs else arguments)

    assert code == 0
    printed = capsys.readouterr().out
    assert "none, direct, redis, sqlite in " in printed
    assert "| fault | delivery |" in printed
    (result,) = json.loads(json_file.read_text())
    assert result["counts"]["committed"] == 8
    assert sorted(file.stem for file in logs.rglob("*.log")) == (
        ["broker", "web", "worker-0", "worker-1"] if has_logs else []
    )


def test_missing_server_leaves_its_cells_out(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """That is said, and is no failure."""
    monkeypatch.setenv(
        "SIGNAL_TASKS_TEST_POSTGRESQL_URL",
        "postgresql+psycopg://nobody@127.0.0.1:1/nothing",
    )

    cell = ("none", "outbox", "redis,", "postgresql")

    code = main(["--only", *cell, "--json", str(tmp_path / "faults.json")])

    assert code == 0
    assert "PostgreSQL is not reachable" in capsys.readouterr().out


def test_broken_promise_is_a_failure() -> None:
    """So is a run that could not be finished; one that was left out is none."""
    broken = replace(RESULT, counts=replace(COUNTS, lost=1))

    assert verdict([RESULT, MissingServerError("none here")]) == 0
    assert verdict([RESULT, broken]) == 1
    assert verdict([AssertionError("it did not start")]) == 1
