"""Drives the demo once by real requests, and checks that every handler ran elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from signal_tasks.registry import signal_name

from . import signal_tasks
from .visitor import Visit, Visitor

_POLL_SECONDS: Final = 0.1
_COLUMNS: Final = (
    *("signal", "handler", "request ms", "handled after ms"),
    *("web pid", "worker pid"),
)

Pair = tuple[str, str]
"""Names of a signal and of a handler that listens to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a handler, as the demo's feed tells of it."""

    id: int
    event_id: str
    signal: str
    handler: str
    sent_at: float
    hops: int
    attempt: int
    queued_ms: float
    ran_ms: float
    error: str | None
    pid: int
    parent_pid: int


def drive(url: str, *, worker_pid: int, wait_seconds: float) -> bool:
    """Visit the demo at *url*, and print what its handlers did.

    Returns:
        Whether every handler ran in the worker.
    """
    visitor = Visitor(url)
    browse(visitor)
    web_pid, runs = await_runs(visitor, declared(), wait_seconds=wait_seconds)
    print_table(first_runs(runs), visitor.visits, web_pid=web_pid)
    faults = [*missing(runs), *strayed(runs, web_pid=web_pid, worker_pid=worker_pid)]
    for fault in faults:
        print(fault, file=sys.stderr)
    return not faults


def browse(visitor: Visitor) -> None:
    """Do all that the demo's signals tell of."""
    ada = {"email": "ada@example.org", "password": "lovelace1815"}
    visitor.get("/")
    visitor.post("/register", form_page="/register", name="Ada", **ada)
    visitor.post("/logout", form_page="/profile")
    visitor.post("/login", form_page="/login", **ada)
    visitor.post("/profile/edit", form_page="/profile/edit", name="Ada L.", about="")
    visitor.get("/profile")
    visitor.get("/error")
    visitor.get("/records")


def declared() -> set[Pair]:
    """Return what has to run: each handler, for each signal that it listens to."""
    return {
        (signal_name(signal), receiver.handler.__name__)
        for receiver in signal_tasks.bridge.registry
        for signal in receiver.signals
    }


def await_runs(
    visitor: Visitor, pairs: set[Pair], *, wait_seconds: float
) -> tuple[int, list[Run]]:
    """Wait until *pairs* have run, though not for ever.

    Returns:
        The web process, and the runs that there were.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        feed = visitor.peek("/live/feed")
        runs = [Run(**run) for run in feed["runs"]]
        if pairs <= set(first_runs(runs)) or time.monotonic() > deadline:
            return feed["web_pid"], runs
        time.sleep(_POLL_SECONDS)


def first_runs(runs: Iterable[Run]) -> dict[Pair, Run]:
    """Return of each pair the first run that succeeded, if there is one.

    Runs that a request led to come before those that another handler led to.
    """
    first: dict[Pair, Run] = {}
    for run in sorted(runs, key=lambda run: (run.hops, run.id)):
        if run.error is None:
            first.setdefault((run.signal, run.handler), run)
    return first


def missing(runs: Sequence[Run]) -> list[str]:
    """Say which handlers did not run, and what the log of runs knows about it."""
    return [
        f"{handler} did not run for {signal}{_failure(runs, handler)}."
        for signal, handler in sorted(declared() - set(first_runs(runs)))
    ]


def strayed(runs: Sequence[Run], *, web_pid: int, worker_pid: int) -> list[str]:
    """Say which handlers ran somewhere else than in the worker or a child of it."""
    return [
        f"{run.handler} ran in process {run.pid}, which is no child of the worker "
        f"{worker_pid}."
        for run in runs
        if run.pid == web_pid or worker_pid not in (run.pid, run.parent_pid)
    ]


def print_table(
    ran: Mapping[Pair, Run], visits: Sequence[Visit], *, web_pid: int
) -> None:
    """Print a line for each pair, with the request that it came from."""
    lines = [_COLUMNS]
    for (signal, handler), run in sorted(ran.items()):
        handled_ms = f"{run.queued_ms + run.ran_ms:.1f}"
        request_ms = _request_ms(run, visits)
        lines.append(
            (signal, handler, request_ms, handled_ms, str(web_pid), str(run.pid))
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for signal, handler, *numbers in lines:
        aligned = [
            number.rjust(width)
            for number, width in zip(numbers, widths[2:], strict=True)
        ]
        print(signal.ljust(widths[0]), handler.ljust(widths[1]), *aligned, sep="  ")


def _request_ms(run: Run, visits: Iterable[Visit]) -> str:
    for visit in visits:
        if run.hops == 0 and visit.asked_at <= run.sent_at <= visit.answered_at:
            return f"{visit.milliseconds:.1f}"
    return "-"


def _failure(runs: Iterable[Run], handler: str) -> str:
    failed = [run for run in runs if run.handler == handler and run.error]
    if not failed:
        return ""
    return f", but failed with {failed[-1].error} at attempt {failed[-1].attempt}"
