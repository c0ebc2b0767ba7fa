"""Celery workers for tests: real ones, in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from celery import Celery

from signal_tasks.dev.processes import Child, Children, Command

ROOT: Final = Path(__file__).parents[2]
PATIENCE_SECONDS: Final = 45.0

T = TypeVar("T")


def wait_for(answer: Callable[[], T | None], what: str) -> T:
    """Ask until *answer* gives something true; only a failing test waits to the end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = answer()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {PATIENCE_SECONDS:g} seconds in vain for {what}")


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


@contextmanager
def starting_worker(
    name: str,
    *,
    application: str,
    environment: Mapping[str, str],
    arguments: Sequence[str] = (),
) -> Iterator[Worker]:
    """Start ``celery -A application worker``, and end it with the block.

    Args:
        name: Part of the node's name; a host's nodes need different ones.
        application: Where Celery finds its app.
        environment: Variables on top of ours.
        arguments: More of them.
    """
    lines: list[str] = []
    node = f"{name}-{os.getpid()}@localhost"
    command = Command(
        name=f"worker {name}",
        arguments=[
            *(sys.executable, "-m", "celery", "-A", application, "worker"),
            *("--loglevel", "INFO", "--concurrency", "1", "--hostname", node),
            *("--without-gossip", "--without-mingle", *arguments),
        ],
        environment={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        cwd=ROOT,
        grace_seconds=10,
        cold_signal=signal.SIGQUIT,
    )
    with Children(on_line=lambda _, line: lines.append(line)) as children:
        yield Worker(node=node, child=children.start(command), lines=lines)


@contextmanager
def running_worker(
    name: str,
    celery_app: Celery,
    *,
    application: str,
    environment: Mapping[str, str],
    arguments: Sequence[str] = (),
) -> Iterator[Worker]:
    """Start a worker as :func:`starting_worker` does, and wait until it answers.

    Args:
        name: Part of the node's name.
        celery_app: How we reach it.
        application: Where Celery finds its app.
        environment: Variables on top of ours.
        arguments: More of them.
    """
    with starting_worker(
        name, application=application, environment=environment, arguments=arguments
    ) as worker:
        await_answer(worker, celery_app)
        yield worker


def await_answer(worker: Worker, celery_app: Celery) -> None:
    """Wait until *worker* answers a ping."""

    def answers() -> bool:
        assert worker.child.exit_code is None, worker.log
        return bool(celery_app.control.ping([worker.node], timeout=0.5, limit=1))

    wait_for(answers, f"an answer of {worker.node}; it wrote:\n{worker.log}")
