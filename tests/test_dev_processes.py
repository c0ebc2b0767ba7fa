"""Tests of child processes, with real and very small ones."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil

from signal_tasks.dev.processes import Child, Children, Command

# They write past the buffer of print(), which a signal handler must not enter twice.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"no\\n"))
os.write(1, b"up\\n")
while True: time.sleep(60)
"""

COOLING = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"warm\\n"))
signal.signal(signal.SIGQUIT, lambda *_: sys.exit(3))
os.write(1, b"up\\n")
while True: time.sleep(60)
"""

LOUD_LATER = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("silent", flush=True)
signal.sigwait([signal.SIGUSR1])
print("loud")
"""

SLEEPING = "import time; time.sleep(60)"

OWNER = """
import sys, time
from signal_tasks.dev.processes import Children, Command
with Children() as children:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    print(children.start(Command(name="it", arguments=sleep)).pid, flush=True)
    time.sleep(60)
"""

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
"""


def python(code: str, **options: Any) -> Command:
    """Return a command that runs *code*."""
    return Command(name="it", arguments=[sys.executable, "-c", code], **options)


def wait_for_line(child: Child) -> str:
    """Wait until *child* has written something and return its first line."""
    deadline = time.monotonic() + 60
    while not child.last_lines:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child.last_lines[0]


def is_running(pid: int) -> bool:
    """Return whether *pid* is a process that is not merely waiting to be reaped."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(pid: int) -> None:
    """Wait until *pid* does not run."""
    deadline = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_lines_of_a_child_are_passed_on_and_kept() -> None:
    """Each line of output, of either stream, reaches the listener and is kept."""
    heard: list[tuple[str, str]] = []
    code = "import sys; print('one'); print('two', file=sys.stderr)"

    with Children(on_line=lambda *line: heard.append(line)) as children:
        child = children.start(python(code))
        wait_for_end(child.pid)
        child.stop()

    assert sorted(heard) == [("it", "one"), ("it", "two")]
    assert sorted(child.last_lines) == ["one", "two"]


def test_muted_child_is_heard_once_it_is_unmuted() -> None:
    """What a muted child writes is kept only, until it is unmuted."""
    heard: SimpleQueue[str] = SimpleQueue()

    with Children(on_line=lambda _, line: heard.put(line)) as children:
        child = children.start(python(LOUD_LATER, is_muted=True))
        wait_for_line(child)
        child.unmute()
        os.kill(child.pid, signal.SIGUSR1)
        wait_for_end(child.pid)

    assert heard.get() == "loud"
    assert list(child.last_lines) == ["silent", "loud"]


def test_child_reads_its_standard_input_environment_and_folder(tmp_path: Path) -> None:
    """A command's text, environment and working directory reach the process."""
    code = "import os; print(input(), os.environ['COLOUR'], os.getcwd())"
    command = python(code, stdin="word\n", environment={"COLOUR": "red"}, cwd=tmp_path)

    with Children() as children:
        child = children.start(command)
        wait_for_end(child.pid)
        child.stop()

    assert list(child.last_lines) == [f"word red {tmp_path}"]


def test_command_does_not_show_its_standard_input() -> None:
    """The text for standard input may be a secret and is not in the representation."""
    assert "hunter2" not in repr(python("pass", stdin="hunter2"))


def test_end_of_a_child_is_announced_after_its_last_line() -> None:
    """Whoever listens hears all lines, then of the end, with the exit code."""
    events: SimpleQueue[object] = SimpleQueue()
    listening = Children(on_line=lambda _, line: events.put(line), on_exit=events.put)

    with listening as children:
        child = children.start(python("print('last'); raise SystemExit(7)"))
        heard = [events.get(timeout=60), events.get(timeout=60)]

    assert heard == ["last", child]
    assert child.exit_code == 7
    assert not child.is_asked_to_end


def test_stopped_child_was_asked_to_end() -> None:
    """A stopped child has ended with SIGTERM, as somebody wanted."""
    with Children() as children:
        child = children.start(python(SLEEPING))
        child.stop()

    assert child.exit_code == -signal.SIGTERM
    assert child.is_asked_to_end


def test_child_that_does_not_end_is_killed() -> None:
    """When neither signal ends a child within its time, it is killed."""
    command = python(STUBBORN, grace_seconds=0.2, cold_seconds=0.2)

    with Children() as children:
        child = children.start(command)
        wait_for_line(child)
        child.stop()

    assert child.exit_code == -signal.SIGKILL


def test_grace_ends_with_the_cold_signal() -> None:
    """A child whose grace is over gets its cold signal before it is killed."""
    command = python(COOLING, grace_seconds=1, cold_signal=signal.SIGQUIT)

    with Children() as children:
        child = children.start(command)
        wait_for_line(child)
        child.stop()

    assert child.exit_code == 3
    assert list(child.last_lines) == ["up", "warm"]


def test_hurry_cuts_the_grace_short() -> None:
    """Once the hurry is set, the cold signal comes without the wait."""
    hurry = threading.Event()
    command = python(COOLING, grace_seconds=60, cold_signal=signal.SIGQUIT)

    with Children() as children:
        child = children.start(command)
        wait_for_line(child)
        hurry.set()
        child.stop(hurry)

    assert child.exit_code == 3


def test_two_threads_may_stop_one_child() -> None:
    """A second call of stop waits as well and sends no signal twice."""
    command = python(COOLING, grace_seconds=1, cold_signal=signal.SIGQUIT)

    with Children() as children:
        child = children.start(command)
        wait_for_line(child)
        other = threading.Thread(target=child.stop)
        other.start()
        child.stop()
        other.join()

    assert list(child.last_lines) == ["up", "warm"]


def test_group_of_an_ended_child_is_killed() -> None:
    """What a child started and left running does not outlive it."""
    with Children() as children:
        child = children.start(python(PARENT))
        grandchild = int(wait_for_line(child))
        child.stop()

    wait_for_end(grandchild)


def test_children_end_with_their_owner_the_last_first() -> None:
    """Leaving the block ends every child, in reverse order of their start."""
    ended: list[Child] = []

    with Children(on_exit=ended.append) as children:
        started = [children.start(python(SLEEPING)) for _ in range(3)]

    assert ended == started[::-1]


def test_janitor_that_died_is_not_missed_by_a_clean_end() -> None:
    """Without its janitor an owner still starts and ends its children."""
    others = set(psutil.Process().children())

    with Children() as children:
        [janitor] = set(psutil.Process().children()) - others
        janitor.kill()
        wait_for_end(janitor.pid)
        child = children.start(python(SLEEPING))

    assert child.exit_code == -signal.SIGTERM


def test_children_of_a_killed_owner_are_ended() -> None:
    """Nothing outlives an owner that is killed and cannot end its children itself."""
    with Children() as children:
        owner = children.start(python(OWNER))
        grandchild = int(wait_for_line(owner))
        psutil.Process(owner.pid).kill()
        wait_for_end(grandchild)

    assert owner.exit_code == -signal.SIGKILL
