"""Child processes that are read line by line, ended in order, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from . import janitor

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

OnLine = Callable[[str, str], None]
"""Called with a child's name and one line of its output, in a thread of that child."""

OnExit = Callable[["Child"], None]
"""Called with the child whose main process has ended, in a thread of that child."""

_KEPT_LINES = 20
_LAST_WORDS_SECONDS = 3.0


def ignore_line(name: str, line: str) -> None:
    """Do nothing with a child's output; the child keeps its last lines all the same."""


def ignore_exit(child: Child) -> None:
    """Do nothing when a child ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run, and how to treat it."""

    name: str
    """What people call it, such as ``worker``."""

    arguments: Sequence[str]

    environment: Mapping[str, str] | None = None
    """All of its environment; our own when None."""

    cwd: Path | None = None

    stdin: str = field(default="", repr=False)
    """What it may read from its standard input. May hold secrets."""

    inherited: Sequence[int] = ()
    """File descriptors that it keeps open for as long as it lives."""

    is_muted: bool = False
    """Whether what it writes is kept and not passed on, until it is unmuted."""

    grace_seconds: float = 5.0
    """How long it may take to finish what it is doing once it is asked to end."""

    cold_signal: signal.Signals = signal.SIGTERM
    """What it is sent when the grace is over."""

    cold_seconds: float = 3.0
    """How long it may take after that before it is killed."""


class Child:
    """A running process together with everything that it starts.

    Args:
        command: What the process was started from.
        process: Leader of a session of its own, its output a pipe.
        on_line: Is given each line that it writes.
        on_exit: Is told once when it has ended and its output is read.
    """

    def __init__(
        self,
        command: Command,
        process: subprocess.Popen[str],
        *,
        on_line: OnLine,
        on_exit: OnExit,
    ) -> None:
        self.name = command.name
        self.pid = process.pid
        self.last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._command = command
        self._process = process
        self._on_line = on_line
        self._on_exit = on_exit
        self._is_muted = command.is_muted
        self._sent: set[signal.Signals] = set()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._waiter = threading.Thread(target=self._await_end, daemon=True)

    def follow(self) -> None:
        """Begin to read its output and to wait for its end."""
        self._reader.start()
        self._waiter.start()

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def is_asked_to_end(self) -> bool:
        """Whether its end, when it comes, is what somebody here wanted."""
        return bool(self._sent)

    def unmute(self) -> None:
        """Pass on what it writes from now on."""
        self._is_muted = False

    def ask_to_end(self) -> None:
        """Send its main process one SIGTERM, which is a warm shutdown to Celery."""
        self._send_once(signal.SIGTERM)

    def stop(self, hurry: threading.Event | None = None) -> None:
        """End it and everything that it started, and wait for that.

        May be called again while another thread is still waiting.

        Args:
            hurry: Cuts the grace short when it is set.
        """
        self.ask_to_end()
        if not self._ends_within(self._command.grace_seconds, hurry):
            self._send_once(self._command.cold_signal)
            self._ends_within(self._command.cold_seconds)
        self._kill_group()
        self._waiter.join()

    def _send_once(self, signum: signal.Signals) -> None:
        if signum not in self._sent:
            self._sent.add(signum)
            self._process.send_signal(signum)

    def _ends_within(
        self, seconds: float, hurry: threading.Event | None = None
    ) -> bool:
        deadline = time.monotonic() + seconds
        while self.exit_code is None:
            if time.monotonic() > deadline or (hurry and hurry.is_set()):
                return False
            time.sleep(0.05)
        return True

    def _kill_group(self) -> None:
        # macOS answers with a PermissionError where only zombies are left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _read(self) -> None:
        with self._process.stdout or nullcontext(()) as lines:
            for line in lines:
                text = line.rstrip("\n")
                self.last_lines.append(text)
                if not self._is_muted:
                    self._on_line(self.name, text)

    def _await_end(self) -> None:
        self._process.wait()
        self._kill_group()
        # A process that left the group and kept the pipe must not hold us up.
        self._reader.join(timeout=_LAST_WORDS_SECONDS)
        self._on_exit(self)


class Children:
    """The processes that one owner started, ended with it, the last one first.

    A janitor (see :mod:`signal_tasks.dev.janitor`) stands by for the owner's sudden
    death. What is started in the very moment of that death is the gap that is left.

    Used as a context manager.

    Args:
        on_line: Is given each line that a child writes.
        on_exit: Is told of each child that has ended, asked or not.
    """

    def __init__(
        self, *, on_line: OnLine = ignore_line, on_exit: OnExit = ignore_exit
    ) -> None:
        self._on_line = on_line
        self._on_exit = on_exit
        self._started: list[Child] = []
        self._wire_lock = threading.Lock()

    def __enter__(self) -> Self:
        read_end, write_end = os.pipe()
        self._wire = os.fdopen(write_end, "w", buffering=1)
        self._janitor = subprocess.Popen(  # noqa: S603  (our own script)
            [sys.executable, "-I", janitor.__file__],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_end)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in reversed(tuple(self._started)):
            child.stop()
        with suppress(BrokenPipeError):
            self._wire.close()
        self._janitor.wait()

    def start(self, command: Command) -> Child:
        """Start *command* in a session of its own.

        Raises:
            OSError: It cannot be run.
        """
        process = _run(command)
        self._tell_janitor("watch", process.pid)
        child = Child(command, process, on_line=self._on_line, on_exit=self._forget)
        self._started.append(child)
        child.follow()
        return child

    def _forget(self, child: Child) -> None:
        self._tell_janitor("forget", child.pid)
        self._started.remove(child)
        self._on_exit(child)

    def _tell_janitor(self, verb: str, pid: int) -> None:
        with self._wire_lock, suppress(BrokenPipeError):
            self._wire.write(f"{verb} {pid}\n")


def _run(command: Command) -> subprocess.Popen[str]:
    # A file without a name, for a pipe could fill up, and could break in our hands.
    with tempfile.TemporaryFile("w+") as stdin:
        stdin.write(command.stdin)
        stdin.seek(0)
        return subprocess.Popen(  # noqa: S603  (running it is our purpose)
            command.arguments,
            env=command.environment,
            cwd=command.cwd,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            pass_fds=tuple(command.inherited),
            start_new_session=True,
        )
