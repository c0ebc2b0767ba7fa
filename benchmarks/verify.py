"""Has a stock worker run what was sent, once each, with the right arguments?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from signal_tasks.dev.processes import Child, Children, Command

from .contenders.contender import Contender
from .events import Event
from .ledger import expected_runs
from .worker import CONTENDER_VARIABLE

_ROOT = Path(__file__).parents[1]
_PATIENCE_SECONDS = 30.0
_AFTERMATH_SECONDS = 0.5
"""How long a second run of something may take to show."""
_WORKERS_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a worker has made of a contender's messages."""

    contender: str
    expected: int
    missing: int = 0
    wrong: int = 0
    """Runs too many, or with other arguments."""

    words: str = ""
    """What the worker said last, where something is not right."""

    @property
    def is_right(self) -> bool:
        """Whether everything has run once, with the right arguments."""
        return not self.missing and not self.wrong


def verify(contender: Contender, events: Sequence[Event]) -> Verdict:
    """Let the contender's own worker run *events*, and compare."""
    expected = expected_runs(events)
    with Children() as children:
        worker = start_worker(children, contender)
        _await_runs(contender, worker, len(expected))
        time.sleep(_AFTERMATH_SECONDS)
        words = "\n".join(worker.last_lines)
    runs = contender.ledger.runs()
    missing, wrong = (expected - runs).total(), (runs - expected).total()
    return Verdict(
        contender=contender.name,
        expected=expected.total(),
        missing=missing,
        wrong=wrong,
        words=words if missing or wrong else "",
    )


def start_worker(children: Children, contender: Contender) -> Child:
    """Start the contender's own worker, which may not be ready yet."""
    return children.start(
        Command(
            name=contender.name,
            arguments=contender.worker_command,
            environment={
                **contender.place.environment(),
                CONTENDER_VARIABLE: contender.name,
            },
            cwd=_ROOT,
            grace_seconds=10.0,
        )
    )


def verify_all(
    contenders: Sequence[Contender], sent: dict[str, list[Event]]
) -> list[Verdict]:
    """Verify what each of *contenders* has sent, some at a time."""
    with ThreadPoolExecutor(_WORKERS_AT_ONCE) as executor:
        return list(
            executor.map(
                lambda contender: verify(contender, sent[contender.name]), contenders
            )
        )


def _await_runs(contender: Contender, worker: Child, count: int) -> None:
    """Wait until everything has run, or for as long as something more does."""
    seen, deadline = -1, 0.0
    while seen < count and worker.exit_code is None:
        if (length := contender.ledger.length()) > seen:
            seen, deadline = length, time.monotonic() + _PATIENCE_SECONDS
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
