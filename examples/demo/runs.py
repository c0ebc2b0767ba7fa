"""The book of handler runs, which the live page and ``--once`` read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy import insert, select

from signal_tasks import current_event

from .models import HandlerRun, db

P = ParamSpec("P")
R = TypeVar("R")


def recorded(handler: Callable[P, R]) -> Callable[P, R]:
    """Note each run of *handler* in a worker; called directly, it is left alone."""

    @wraps(handler)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if not current_event:
            return handler(*args, **kwargs)
        started_at, started, error = time.time(), time.perf_counter(), None
        try:
            return handler(*args, **kwargs)
        except Exception as failed:
            error = type(failed).__name__
            raise
        finally:
            ran_ms = 1000 * (time.perf_counter() - started)
            _write(handler.__name__, started_at, ran_ms, error)

    return run


def runs_after(run_id: int, *, at_most: int) -> list[dict[str, object]]:
    """Return the runs that came after the one numbered *run_id*, the oldest first."""
    table = HandlerRun.__table__
    later = select(table).where(table.c.id > run_id).order_by(table.c.id)
    rows = db.session.execute(later.limit(at_most)).mappings()
    return [dict(row) for row in rows]


def last_run_id() -> int:
    """Return the number of the latest run, 0 before the first."""
    latest = select(HandlerRun.id).order_by(HandlerRun.id.desc()).limit(1)
    return db.session.scalar(latest) or 0


def _write(handler: str, started_at: float, ran_ms: float, error: str | None) -> None:
    sent_at = current_event.sent_at.timestamp()
    # A transaction of its own, for a handler that failed has left the session's open.
    db.session.rollback()
    with db.engine.begin() as connection:
        connection.execute(
            insert(HandlerRun).values(
                event_id=current_event.id,
                signal=current_event.signal,
                handler=handler,
                sent_at=sent_at,
                hops=current_event.hops,
                attempt=current_event.attempt,
                queued_ms=1000 * (started_at - sent_at),
                ran_ms=ran_ms,
                error=error,
                pid=os.getpid(),
                parent_pid=os.getppid(),
            )
        )
