"""The demo driven once, as ``make demo ARGS=--once`` does."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PAIRS = [
    ("data-changed", "audit_change"),
    ("data-changed", "forget_members"),
    ("got-request-exception", "log_failure"),
    ("profile-changed", "touch_profile"),
    ("request-finished", "count"),
    ("request-finished", "log_request"),
    ("template-rendered", "audit_template"),
    ("user-action", "count"),
    ("user-action", "log_action"),
    ("user-registered", "send_welcome_email"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run printed, and what it left."""

    result: subprocess.CompletedProcess[str]
    left_running: list[list[str]]

    @property
    def lines(self) -> list[list[str]]:
        """The table's lines below its heading, in words."""
        return [line.split() for line in self.result.stdout.splitlines()[1:]]


def run_once(*arguments: str, scratch: Path, broker_url: str = "") -> Outcome:
    """Run it with *scratch* for temporary files."""
    result = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--once", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch), "CELERY_BROKER_URL": broker_url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Outcome(result=result, left_running=commands_with("TMPDIR", str(scratch)))


def commands_with(variable: str, value: str) -> list[list[str]]:
    """Return the running commands that inherited *variable*."""
    return [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get(variable) == value
    ]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder to be found empty again."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def outcome(scratch: Path) -> Outcome:
    """Return what one run for real gave."""
    return run_once(scratch=scratch)


def test_every_handler_is_in_the_table(outcome: Outcome) -> None:
    """The table has a line for each handler and signal, and the run succeeds."""
    listed = [(signal, handler) for signal, handler, *_ in outcome.lines]

    assert outcome.result.returncode == 0, outcome.result.stderr
    assert listed == PAIRS


def test_handlers_ran_in_another_process(outcome: Outcome) -> None:
    """Every line names a worker process that is not the web's, and real times."""
    for _, _, request_ms, handled_ms, web_pid, worker_pid in outcome.lines:
        assert web_pid != worker_pid
        assert float(request_ms) > 0
        assert float(handled_ms) > 0


def test_welcome_email_took_its_time_elsewhere(outcome: Outcome) -> None:
    """The slow handler was done no sooner than its sleep allows."""
    (line,) = (one for one in outcome.lines if one[1] == "send_welcome_email")

    assert float(line[3]) >= 300


def test_columns_are_aligned(outcome: Outcome) -> None:
    """Every line of the table is as long as its heading."""
    lines = outcome.result.stdout.splitlines()

    assert {len(line) for line in lines} == {len(lines[0])}


def test_nothing_is_left(outcome: Outcome, scratch: Path) -> None:
    """Neither a process nor a file outlives the run."""
    assert outcome.left_running == []
    assert list(scratch.iterdir()) == []


def test_handler_that_cannot_run_fails_the_run(tmp_path: Path) -> None:
    """Where letters cannot be written the run fails, and says which handler did not run."""
    instance, scratch = tmp_path / "instance", tmp_path / "scratch"
    scratch.mkdir()
    instance.mkdir()
    (instance / "outbox").symlink_to("nowhere/at/all")

    outcome = run_once("--instance", str(instance), "--wait", "3", scratch=scratch)

    assert outcome.result.returncode == 1
    assert "send_welcome_email did not run for user-registered, but failed" in (
        outcome.result.stderr
    )
    assert "send_welcome_email" not in outcome.result.stdout
    assert outcome.left_running == []


def test_unreachable_broker_is_explained(tmp_path: Path) -> None:
    """A broker that does not answer ends the run at once, with what to do."""
    outcome = run_once(scratch=tmp_path, broker_url="redis://127.0.0.1:1/0")

    assert outcome.result.returncode == 1
    assert outcome.result.stderr.startswith("The demo cannot start: ")
    assert "127.0.0.1:1" in outcome.result.stderr
    assert outcome.left_running == []
