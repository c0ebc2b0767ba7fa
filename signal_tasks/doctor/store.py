"""Whether the store answers, has its tables, and what has been waiting in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from ..exceptions import ConfigurationError, StoreError
from ..references import Database
from ..relay.outbox import OutboxState
from .findings import Finding, Status, listed

if TYPE_CHECKING:
    from ..store import Store  # which imports SQLAlchemy

_SILENT: Final = timedelta(minutes=1)
_LATE: Final = timedelta(minutes=1)

_reachable = partial(Finding, check="store-reachable")
_tables = partial(Finding, check="store-tables")
_relay = partial(Finding, check="relay-alive")
_outbox = partial(Finding, check="outbox-lag")
_spool = partial(Finding, check="spooled")
_session = partial(Finding, check="session-database")
_letters = partial(Finding, check="dead-letters")


def _now() -> datetime:
    return datetime.now(UTC)


def look_at_store(
    open_store: Callable[[], Store],
    handlers: Database,
    *,
    kept: Sequence[str],
    once: Sequence[str],
    now: Callable[[], datetime] = _now,
) -> Iterator[Finding]:
    """Ask the store how it does.

    Args:
        open_store: Returns it, or raises ``ConfigurationError``.
        handlers: Has the session that they use.
        kept: The receivers whose events stay in the outbox until they are handled.
        once: The receivers that are to handle an event once.
        now: Our clock.
    """
    # They import SQLAlchemy, and every `flask` command imports this module.
    from ..orm import current_session  # noqa: PLC0415
    from ..store.condition import condition_of, is_shared_with  # noqa: PLC0415

    try:
        store = open_store()
        condition = condition_of(store)
        is_current = not condition.missing
        outbox = store.outbox.state() if is_current else None
        spooled = _spooled_in(store) if is_current else 0
    except (StoreError, ConfigurationError) as error:
        yield _reachable(
            status=Status.WRONG,
            found=str(error),
            mend="Nothing is kept while it is like this: no dead letter, no outbox.",
        )
        return
    yield _reachable(status=Status.OK, found=f"the store at {store.address} answers.")
    yield from check_tables(condition.missing)
    if outbox is not None:
        yield from check_relay(
            condition.last_relay, now=now(), kept=kept, outbox=outbox
        )
        yield from check_lag(outbox)
    yield from check_spool(spooled)
    yield from check_letters(condition.dead_letters)
    if kept or once:
        is_shared = is_shared_with(store, current_session(handlers))
        yield from check_session(is_shared, kept=kept, once=once)


def _spooled_in(store: Store) -> int:
    return store.spool.state().spooled if store.spool.is_there else 0


def check_tables(missing: Sequence[str]) -> Iterator[Finding]:
    """Tell what the database lacks of the tables that this version uses."""
    if missing:
        yield _tables(
            status=Status.WRONG,
            found=f"the store lacks {listed(missing)}.",
            mend="Run `flask signal-tasks store create`, or your migrations. The command "
            "makes tables and adds no columns: those of an older version need a "
            "migration.",
            about=tuple(missing),
        )
    else:
        yield _tables(status=Status.OK, found="its tables are current.")


def check_relay(
    seen: datetime | None, *, now: datetime, kept: Sequence[str], outbox: OutboxState
) -> Iterator[Finding]:
    """Tell whether somebody publishes what is in the outbox."""
    is_alive = seen is not None and now - seen < _SILENT
    if is_alive:
        yield _relay(status=Status.OK, found="a relay is at work.")
        return
    when = (
        "none was ever seen"
        if seen is None
        else f"the last was seen {_ago(now - seen)}"
    )
    if kept or outbox.kept:
        who = listed(sorted(kept)) if kept else "rows of the outbox"
        yield _relay(
            status=Status.WRONG,
            found=f"no relay is at work ({when}), and {who} wait for one.",
            mend="Run `flask signal-tasks relay`, or start a worker: it runs one unless "
            "SIGNAL_TASKS_RELAY_IN_WORKER is false.",
            about=tuple(sorted(kept)),
        )


def check_lag(outbox: OutboxState) -> Iterator[Finding]:
    """Tell for how long events have been waiting to be published."""
    if outbox.oldest_due is not None and outbox.oldest_due > _LATE:
        yield _outbox(
            status=Status.WRONG,
            found=f"{outbox.due} rows of the outbox are due, the oldest since "
            f"{_ago(outbox.oldest_due, since=True)}.",
            mend="Is a relay at work, does it reach the broker, and does it keep up? "
            "Several may run at once.",
        )
    elif outbox.kept:
        yield _outbox(
            status=Status.OK,
            found=f"{outbox.kept} events in the outbox are not handled yet, and none is "
            "late.",
        )


def check_spool(spooled: int) -> Iterator[Finding]:
    """Tell what the broker did not take so far."""
    if spooled:
        yield _spool(
            status=Status.WARNING,
            found=f"{spooled} events wait here, for the broker did not take them.",
            mend="The process that kept them publishes them when the broker is back, and "
            "so does a relay. If it is back and they stay, run `flask signal-tasks "
            "relay`.",
        )


def check_letters(count: int | None) -> Iterator[Finding]:
    """Tell how many dead letters there are."""
    if count:
        yield _letters(
            status=Status.NOTE,
            found=f"there {'is' if count == 1 else 'are'} {count} dead "
            f"letter{'' if count == 1 else 's'}.",
            mend="Look at them: `flask signal-tasks dead list`.",
        )


def check_session(
    is_shared: bool | None, *, kept: Sequence[str], once: Sequence[str]
) -> Iterator[Finding]:
    """Tell whether handlers and senders have their transactions in the store.

    Args:
        is_shared: Whether their session has its tables in the store's database; None
            where nobody knows.
        kept: The receivers whose events stay in the outbox until they are handled.
        once: The receivers that are to handle an event once.
    """
    if is_shared:
        yield _session(
            status=Status.OK, found="handlers' transactions are those of the store."
        )
        return
    session = (
        "nobody said which session handlers use"
        if is_shared is None
        else "the handlers' session has another database than the store"
    )
    mend = (
        "Let them be the same: set SIGNAL_TASKS_STORE_URL to the session's database, or "
        "leave it out with Flask-SQLAlchemy; without that, SignalTasks(session=...)."
    )
    if once:
        yield _session(
            status=Status.WARNING,
            found=f"{session}, so {listed(once)} may handle an event twice when a worker "
            "is killed between its commit and the note of it.",
            mend=mend,
            about=tuple(once),
        )
    if kept:
        yield _session(
            status=Status.WARNING if is_shared is None else Status.WRONG,
            found=f"{session}, so events of {listed(kept)} "
            + (
                "are not part of the sender's transaction."
                if is_shared is None
                else "cannot be part of the sender's transaction, and sending raises."
            ),
            mend=mend,
            about=tuple(kept),
        )


def _ago(span: timedelta, *, since: bool = False) -> str:
    seconds = span.total_seconds()
    text = f"{seconds:.0f} seconds"
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            text = f"{seconds / size:.0f} {unit}"
            break
    return text if since else f"{text} ago"
