"""Celery workers for tests: real ones, in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from celery import Celery

from signal_tasks.dev.processes import Child, Children, Command

ROOT: Final = Path(__file__).parents[2]
PATIENCE_SECONDS: Final = 120.0

T = TypeVar("T")


def wait_for(answer: Callable[[], T | None], what: str) -> T:
    """Ask until *answer* gives something true; only a failing test waits to the end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := answer()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A running prefork worker with one child, so that it keeps a queue's order."""

    node: str
    child: Child
    lines: list[str] = field(repr=False)
    """What it has written so far."""

    @property
    def log(self) -> str:
        """What it has written so far, as one text."""
        return "\n".join(self.lines)

    def await_log(self, pattern: str, *, since: int = 0) -> re.Match[str]:
        """Return the first match of *pattern* in what it writes from line *since* on."""

        def search() -> re.Match[str] | None:
            return re.search(pattern, "\n".join(self.lines[since:]))

        return wait_for(search, f"a line like {pattern!r} in the log of {self.node}")


class Workers:
    """The workers of a test run, of which each takes a while to start and to end.

    Args:
        children: The processes that they are.
        lines: What each process has written, which *children* adds to.
    """

    def __init__(self, children: Children, lines: Mapping[str, list[str]]) -> None:
        self._children = children
        self._lines = lines
        self._started: list[Child] = []

    def start(
        self,
        name: str,
        *,
        application: str,
        environment: Mapping[str, str],
        arguments: Sequence[str] = (),
    ) -> Worker:
        """Start ``celery -A application worker``, which may not answer yet.

        Args:
            name: Part of the node's name, which nobody else has.
            application: Where Celery finds its app.
            environment: Variables on top of ours.
            arguments: More of them.
        """
        node = f"{name}-{os.getpid()}@localhost"
        command = Command(
            name=node,
            arguments=[
                *(sys.executable, "-m", "celery", "-A", application, "worker"),
                *("--loglevel", "INFO", "--concurrency", "1", "--hostname", node),
                *("--without-gossip", "--without-mingle", *arguments),
            ],
            environment={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            cwd=ROOT,
            grace_seconds=20,
            cold_signal=signal.SIGQUIT,
        )
        lines = self._lines[node]
        child = self._children.start(command)
        self._started.append(child)
        return Worker(node=node, child=child, lines=lines)

    def ask_to_end(self) -> None:
        """Ask all of them at once, for most of the time that they take is waiting."""
        for child in self._started:
            child.ask_to_end()


@contextmanager
def ending_workers() -> Iterator[Workers]:
    """Give workers that have ended, with all that they started, after the block."""
    lines: defaultdict[str, list[str]] = defaultdict(list)
    with Children(on_line=lambda node, line: lines[node].append(line)) as children:
        workers = Workers(children, lines)
        yield workers
        workers.ask_to_end()


def await_answer(worker: Worker, celery_app: Celery) -> None:
    """Wait until *worker* answers a ping."""

    def answers() -> bool:
        assert worker.child.exit_code is None, worker.log
        return bool(celery_app.control.ping([worker.node], timeout=0.5, limit=1))

    wait_for(answers, f"an answer of {worker.node}")
