"""Tests of the janitor's two steps; that it comes in is tested with its owners."""

from __future__ import annotations

import signal
import subprocess
import sys

from signal_tasks.dev.janitor import end_group, read_watched


def start(code: str) -> subprocess.Popen[str]:
    """Start *code* as the leader of a session and wait for its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == "up\n"
    return process


def test_forgotten_processes_are_not_watched() -> None:
    """Those that were not forgotten are left, in the order they came."""
    lines = ["watch 11\n", "watch 12\n", "watch 13\n", "forget 12\n"]

    assert read_watched(lines) == [11, 13]


def test_process_is_asked_first() -> None:
    """A process ends by the request, with no need to kill it."""
    process = start("import time; print('up', flush=True); time.sleep(60)")

    end_group(process.pid, grace_seconds=0.3)

    assert process.wait() == -signal.SIGTERM


def test_process_that_ignores_the_request_is_killed() -> None:
    """A process that has not ended within its grace is killed."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(60)"
    )
    process = start(code)

    end_group(process.pid, grace_seconds=0.3)

    assert process.wait() == -signal.SIGKILL


def test_process_that_is_gone_is_no_error() -> None:
    """A process that ended before anybody asked leaves nothing to do."""
    process = start("print('up', flush=True)")
    process.wait()

    end_group(process.pid)
