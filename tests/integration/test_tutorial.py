"""The tutorial, typed: its files saved, its commands run, what it promises looked for."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser

from tests import run_page

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"

#: Done by whoever runs the tests.
PREPARED = ("mkdir ", "python3 -m venv ", ". .venv", "pip install ")

SECONDS_TO_WAIT = 60

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("curl") is None and "CI" not in os.environ,
        reason="the tutorial's reader has curl, and this machine has not",
    ),
]


class Reader:
    """Does what the page says, in the order of the page.

    Args:
        folder: An empty one.
        port: Stands in for 5000, which may be taken.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "FLASK_RUN_PORT": str(port),
            "FLASK_SIGNAL_TASKS_DEV_PORT": str(port),
        }
        self._environment.pop("CELERY_BROKER_URL", None)
        self._terminal = folder.with_name("terminal")
        self._server: subprocess.Popen[bytes] | None = None
        self._seen = 0

    def save(self, example: Example) -> None:
        """Save a listing, and wait until what runs it has noticed."""
        mark = len(self._output())
        run_page.write_file(example)
        if self._is_developing():
            self._wait_for("ready.", mark)
            if "# app.py" in example.parsed:
                self._wait_for("Debugger is active!", mark)

    def type(self, example: Example) -> None:
        """Run the commands of a block, and compare what they print."""
        for session in example.parsed.split("$ ")[1:]:
            command, _, expected = session.partition("\n")
            if command.startswith("flask "):
                self._serve(command)
            elif not command.startswith(PREPARED):
                assert _coarse(self._run(command)) == _coarse(expected), command

    def look(self, example: Example) -> None:
        """Wait for the lines that the first terminal should show by now."""
        for line in example.parsed.splitlines():
            pattern = ".*".join(map(re.escape, line.split("...")))
            self._wait_for(pattern, self._seen, find=re.search)

    def stop(self) -> int:
        """Press Ctrl-C in the first terminal, and return the exit code."""
        if self._server is None:
            return 0
        self._server.send_signal(signal.SIGINT)
        code = self._server.wait(SECONDS_TO_WAIT)
        self._server = None
        return code

    def _serve(self, command: str) -> None:
        self.stop()
        with self._terminal.open("wb") as terminal:
            self._server = subprocess.Popen(
                command.split(),
                cwd=self._folder,
                env=self._environment,
                stdout=terminal,
                stderr=subprocess.STDOUT,
            )
        self._wait_for("Running on", 0)
        if self._is_developing():
            self._wait_for("ready.", 0)
            self._wait_for("Debugger is active!", 0)

    def _run(self, command: str) -> str:
        self._seen = len(self._output())
        command = command.replace("localhost:5000", f"localhost:{self._port}")
        command = command.replace("curl ", "curl -s ", 1)
        done = subprocess.run(
            command,
            check=True,
            shell=True,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def _is_developing(self) -> bool:
        return self._server is not None and self._server.args[1] == "signal-tasks"

    def _output(self) -> str:
        return self._terminal.read_text() if self._terminal.exists() else ""

    def _wait_for(
        self,
        pattern: str,
        mark: int,
        *,
        find: Callable[[str, str], object] = lambda text, lines: text in lines,
    ) -> None:
        deadline = time.monotonic() + SECONDS_TO_WAIT
        while not find(pattern, self._output()[mark:]):
            assert time.monotonic() < deadline, f"{pattern!r} not in\n{self._output()}"
            time.sleep(0.05)


@pytest.fixture
def reader(
    tmp_path: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Reader]:
    """Return a reader in an empty folder, and end what they leave running."""
    folder = tmp_path / "tutorial"
    folder.mkdir()
    monkeypatch.chdir(folder)
    reader = Reader(folder, unused_port)
    yield reader
    reader.stop()


@pytest.fixture
def unused_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_tutorial_works_when_typed(reader: Reader) -> None:
    """Every command of the tutorial prints what the page shows, and ends cleanly."""
    parsers = [
        CodeBlockParser("python", reader.save),
        CodeBlockParser("console", reader.type),
        CodeBlockParser("text", reader.look),
    ]

    for example in Sybil(parsers=parsers).parse(PAGE).examples():
        example.evaluate()

    assert reader.stop() == 0


def _coarse(printed: str) -> str:
    """Leave out what only says how fast the machine is.

    Whether a request took the two seconds of the mail server is left in.
    """
    untimed = re.sub(r" in \d+\.\d+s$", "", printed, flags=re.MULTILINE)
    return re.sub(
        r"\d+\.\d+", lambda match: f"{float(match[0]) // 2:.0f}", untimed
    ).strip()
