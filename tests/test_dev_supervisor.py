"""Tests of the session's decisions, with tiny real processes in place of the stack's."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

import psutil
import pytest

from signal_tasks.dev.console import Console
from signal_tasks.dev.processes import Child, Children, Command
from signal_tasks.dev.servers import Broker
from signal_tasks.dev.stack import Stack, StackSettings
from signal_tasks.dev.supervisor import Supervisor
from signal_tasks.dev.watching import Changes
from signal_tasks.exceptions import ConfigurationError

SLEEPING = "import time; print('up', flush=True); time.sleep(60)"
CRASHING = "raise SystemExit('broken code')"
# They write past the buffer of print(), which a signal handler must not enter twice.
FINISHING = """
import os, signal, sys, time
def finish(*_):
    os.write(1, b"finishing\\n")
    time.sleep(1)
    os.write(1, b"finished\\n")
    sys.exit()
signal.signal(signal.SIGTERM, finish)
os.write(1, b"up\\n")
time.sleep(60)
"""
ENDLESS = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"finishing\\n"))
os.write(1, b"up\\n")
while True: time.sleep(60)
"""


class TinyStack(Stack):
    """A stack of the scripts ``broker.py``, ``worker.py`` and ``web.py``."""

    @classmethod
    def start(cls, settings: StackSettings, children: Children) -> Self:
        broker = children.start(cls.script(settings, "broker"))
        place = Broker(url="redis://:hunter2@localhost", kind="tiny", pid=broker.pid)
        return cls(settings, children, broker=place, port=5000)

    @staticmethod
    def script(settings: StackSettings, name: str) -> Command:
        return Command(
            name=name,
            arguments=[sys.executable, f"{name}.py"],
            cwd=settings.cwd,
            grace_seconds=settings.grace_seconds,
            cold_signal=signal.SIGQUIT,
        )

    def start_worker(self) -> Child:
        self.worker = self._children.start(self.script(self._settings, "worker"))
        return self.worker

    def start_web(self) -> Child:
        self.web = self._children.start(self.script(self._settings, "web"))
        return self.web


class Session:
    """A supervisor in the main thread, and a user in another one.

    Args:
        folder: Where the scripts of the stack are.
        is_watched: Whether changes restart anything.
        grace_seconds: How long the worker may take to end.
        stack: Which stack it runs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        is_watched: bool = True,
        grace_seconds: float = 20.0,
        stack: type[Stack] = TinyStack,
    ) -> None:
        self.folder = folder
        self.is_over = False
        self._others = set(psutil.Process().children())
        self.changes: SimpleQueue[Changes | Exception] = SimpleQueue()
        self._output = io.StringIO()
        self._supervisor = Supervisor(
            StackSettings(cwd=folder, grace_seconds=grace_seconds),
            Console(self._output),
            watch=self._watch if is_watched else None,
            start=stack.start,
        )

    @property
    def lines(self) -> list[str]:
        """What the terminal shows."""
        return self._output.getvalue().splitlines()

    @property
    def left_running(self) -> set[psutil.Process]:
        """Our children that were not there before."""
        return set(psutil.Process().children()) - self._others

    def run(self, *steps: Callable[[Session], None]) -> int:
        """Run the supervisor while the user takes *steps*; return the exit code."""
        failures: list[Exception] = []

        def act() -> None:
            try:
                for step in steps:
                    step(self)
            except AssertionError as failure:  # pragma: no cover  (a failing test)
                failures.append(failure)
                if not self.is_over:
                    os.kill(os.getpid(), signal.SIGINT)

        user = threading.Thread(target=act)
        user.start()
        exit_code = self._supervisor.run()
        self.is_over = True
        user.join()
        assert failures == []
        return exit_code

    def write(self, name: str, code: str) -> None:
        """Save *code* as the script *name*, and let the watch notice it."""
        (self.folder / f"{name}.py").write_text(code)
        self.changes.put(frozenset({f"{self.folder}/{name}.py"}))

    def _watch(self, stop: threading.Event) -> Iterator[Changes]:
        while not stop.is_set():
            with suppress(Empty):
                change = self.changes.get(timeout=0.05)
                if isinstance(change, Exception):
                    raise change
                yield change


def sees(text: str, times: int = 1) -> Callable[[Session], None]:
    """Return a step that waits until *text* is in as many lines of the terminal."""

    def look(session: Session) -> None:
        deadline = time.monotonic() + 60
        while sum(text in line for line in session.lines) < times:
            is_late = session.is_over or time.monotonic() > deadline
            assert not is_late, f"{text!r} not in {session.lines}"
            time.sleep(0.02)

    return look


def presses(signum: signal.Signals) -> Callable[[Session], None]:
    """Return a step that sends *signum* to us, as the terminal would."""
    return lambda _: os.kill(os.getpid(), signum)


def saves(name: str, code: str) -> Callable[[Session], None]:
    """Return a step that saves *code* as the script *name*."""
    return lambda session: session.write(name, code)


ctrl_c = presses(signal.SIGINT)


def everything_is_up(session: Session) -> None:
    """Wait for the three processes."""
    sees("| up", 3)(session)


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """Hear of the terminal's end, also where nohup has started the tests."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, previous)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a stack in which everything works."""
    for name in ("broker", "worker", "web"):
        (tmp_path / f"{name}.py").write_text(SLEEPING)
    return tmp_path


def test_session_says_what_runs_where_and_how_to_end_it(folder: Path) -> None:
    """The first lines name the URL, the worker, the broker, reloading and the end."""
    session = Session(folder)

    session.run(everything_is_up, ctrl_c)

    ours = [line.partition("| ")[2] for line in session.lines if "dev " in line]
    assert ours[:5] == [
        "web     http://127.0.0.1:5000",
        "worker  2 tasks at a time",
        "broker  tiny at redis://:**@localhost:6379//",
        "Changed code is picked up by itself.",
        "Ctrl-C ends everything.",
    ]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_session_with_success(
    folder: Path, signum: signal.Signals
) -> None:
    """Ctrl-C, a request to end and a closed terminal end everything, with 0."""
    session = Session(folder)

    exit_code = session.run(everything_is_up, presses(signum))

    assert exit_code == 0
    assert "everything has ended" in session.lines[-1]
    assert session.left_running == set()


def test_web_server_ends_before_the_worker_has_finished(folder: Path) -> None:
    """A running task finishes, after the web server and before the broker ended."""
    for name in ("broker", "worker", "web"):
        (folder / f"{name}.py").write_text(FINISHING)
    session = Session(folder)

    session.run(everything_is_up, ctrl_c)

    last_words = [line for line in session.lines if "| finish" in line]
    assert last_words == [
        "web    | finishing",
        "web    | finished",
        "worker | finishing",
        "worker | finished",
        "broker | finishing",
        "broker | finished",
    ]


def test_second_ctrl_c_does_not_wait_for_tasks(folder: Path) -> None:
    """A second Ctrl-C ends the worker at once; a second SIGTERM would not."""
    (folder / "worker.py").write_text(ENDLESS)
    session = Session(folder, grace_seconds=60)

    exit_code = session.run(
        everything_is_up,
        ctrl_c,
        sees("| finishing"),
        presses(signal.SIGTERM),
        ctrl_c,
    )

    assert exit_code == 0
    assert session.left_running == set()


def test_handlers_of_signals_are_put_back(folder: Path) -> None:
    """After a session the process handles signals as before, and SIGHUP as nohup."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    session = Session(folder)

    try:
        session.run(everything_is_up, presses(signal.SIGHUP), ctrl_c)
    finally:
        ignored = signal.signal(signal.SIGHUP, previous)

    assert ignored is signal.SIG_IGN
    assert before == [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]


def test_changed_code_restarts_the_worker(folder: Path) -> None:
    """After a change the new code runs, once the old worker has finished."""
    (folder / "worker.py").write_text(FINISHING)
    session = Session(folder)

    session.run(
        everything_is_up,
        saves("worker", SLEEPING.replace("up", "new code")),
        sees("worker | new code"),
        ctrl_c,
    )

    lines = session.lines
    assert lines.index("worker | finished") < lines.index("worker | new code")
    assert any("worker.py changed: the worker restarts" in line for line in lines)


def test_changes_during_a_restart_cause_no_second_one(folder: Path) -> None:
    """What is saved while the old worker finishes is what the new one reads."""
    (folder / "worker.py").write_text(FINISHING)
    session = Session(folder)

    session.run(
        everything_is_up,
        saves("worker", SLEEPING.replace("up", "first")),
        sees("| finishing"),
        saves("worker", SLEEPING.replace("up", "second")),
        sees("worker | second"),
        ctrl_c,
    )

    assert "worker | first" not in session.lines
    assert sum("restarts" in line for line in session.lines) == 1


def test_ctrl_c_is_heard_while_the_worker_finishes_for_a_restart(folder: Path) -> None:
    """A restart that still waits for a task does not keep the session from ending."""
    (folder / "worker.py").write_text(ENDLESS)
    session = Session(folder, grace_seconds=60)

    exit_code = session.run(
        everything_is_up,
        saves("worker", SLEEPING.replace("up", "new code")),
        sees("| finishing"),
        ctrl_c,
        sees("Ctrl-C again"),
        ctrl_c,
    )

    assert exit_code == 0
    assert "worker | new code" not in session.lines


@pytest.mark.parametrize("name", ["worker", "web"])
def test_broken_code_is_reported_and_mended(folder: Path, name: str) -> None:
    """With a watch, a process that crashes is started again after the next change."""
    (folder / f"{name}.py").write_text(CRASHING)
    session = Session(folder)

    exit_code = session.run(
        sees(f"the {name} process ended by itself, with exit code 1"),
        saves(name, SLEEPING.replace("up", "mended")),
        sees(f"{name:<6} | mended"),
        ctrl_c,
    )

    assert exit_code == 0
    assert f"{name:<6} | broken code" in session.lines
    assert any("started again when the code changes" in line for line in session.lines)


@pytest.mark.parametrize("name", ["worker", "web"])
def test_crash_without_a_watch_ends_the_session(folder: Path, name: str) -> None:
    """Without a watch, a process that crashes ends everything, with 1."""
    (folder / f"{name}.py").write_text(CRASHING)
    session = Session(folder, is_watched=False)

    exit_code = session.run()

    assert exit_code == 1
    assert f"{name:<6} | broken code" in session.lines
    assert any(f"the {name} process ended by itself" in line for line in session.lines)
    assert session.left_running == set()


def test_killed_process_is_reported_with_the_signal(folder: Path) -> None:
    """A process that was killed is reported by the name of the signal."""
    (folder / "web.py").write_text("import os; os.kill(os.getpid(), 9)")
    session = Session(folder, is_watched=False)

    session.run()

    assert any(
        "web process ended by itself, killed by SIGKILL" in line
        for line in session.lines
    )


def test_end_of_the_broker_ends_the_session(folder: Path) -> None:
    """Nothing can go on without the broker, with a watch neither."""
    (folder / "broker.py").write_text(CRASHING)
    session = Session(folder)

    exit_code = session.run()

    assert exit_code == 1
    assert any("the broker process ended by itself" in line for line in session.lines)


def test_end_of_an_older_process_is_not_news(folder: Path) -> None:
    """A process that was replaced before its end was heard is not reported."""

    class RetryingStack(TinyStack):
        @classmethod
        def start(cls, settings: StackSettings, children: Children) -> Self:
            children.start(Command(name="broker", arguments=["false"])).stop()
            return super().start(settings, children)

    session = Session(folder, is_watched=False, stack=RetryingStack)

    exit_code = session.run(everything_is_up, ctrl_c)

    assert exit_code == 0
    assert not any("by itself" in line for line in session.lines)


def test_broken_watch_is_reported(folder: Path) -> None:
    """When changes cannot be noticed any more, the session says so and goes on."""
    session = Session(folder)
    session.changes.put(OSError("too many watched files"))

    exit_code = session.run(
        everything_is_up,
        sees("changed code is not noticed any more (too many watched files)"),
        ctrl_c,
    )

    assert exit_code == 0


def test_stack_that_cannot_start_is_an_error(folder: Path) -> None:
    """An error at the start reaches the caller, and nothing is left behind."""
    others = psutil.Process().children()

    def refuse(settings: StackSettings, children: Children) -> Stack:
        children.start(TinyStack.script(settings, "broker"))
        raise ConfigurationError("no port")

    supervisor = Supervisor(
        StackSettings(cwd=folder), Console(io.StringIO()), watch=None, start=refuse
    )

    with pytest.raises(ConfigurationError, match="no port"):
        supervisor.run()

    assert psutil.Process().children() == others
