"""The outbox: rows in, within the sender's transaction; rows out, to who publishes them.

A row is *kept* until its handler has finished, and published again while it has not;
the worker's side of it is :mod:`signal_tasks.store.inbox`. A *spooled* row is one that
the broker did not take, and is gone once it is published.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    case,
    delete,
    func,
    select,
    true,
    update,
)
from sqlalchemy.exc import OperationalError

from ..envelope import Envelope
from ..relay.outbox import OutboxRow, OutboxState
from .database import StoreDatabase, make_missing_tables
from .moments import Clock, moment, now_in_utc
from .tables import outbox
from .upserts import insert_into

RESUBMIT_AFTER_SECONDS: Final = 300.0

CHANNEL: Final = "signal_tasks"
"""What PostgreSQL's LISTEN hears of when rows are added."""

# Any number will do that nobody else locks.
_SPOOL_LOCK = 0x7369676E616C

_row = outbox.c


class Outbox:
    """The outbox of a store.

    Args:
        database: Where it is: SQLite or PostgreSQL.
        resubmit_after_seconds: After how long a row that was published and not handled
            is published again. Each time it takes twice as long, up to a day, so that a
            day without workers fills no queue.
        now: Tells the time, in UTC.
    """

    def __init__(
        self,
        database: StoreDatabase,
        *,
        resubmit_after_seconds: float = RESUBMIT_AFTER_SECONDS,
        now: Clock = now_in_utc,
    ) -> None:
        self._database = database
        self._resubmit_after = timedelta(seconds=resubmit_after_seconds)
        self._longest_wait = max(self._resubmit_after, timedelta(days=1))
        self._now = now

    def add(
        self,
        envelopes: Sequence[Envelope],
        *,
        connection: Connection | None = None,
        is_spooled: bool = False,
    ) -> None:
        """Add a row for each of *envelopes*, to be published at once.

        An event that a receiver has a row for keeps that row.

        Args:
            envelopes: In the order in which they are to be published.
            connection: In whose transaction; without one, in a transaction of its own.
            is_spooled: Whether the rows are gone once they are published.

        Raises:
            StoreError: The database did not do it.
        """
        if not envelopes:
            return
        rows = self._rows(envelopes, is_spooled=is_spooled)
        if connection is None:
            with self._database.begin() as own:
                _insert(own, rows)
        else:
            with self._database.inside(connection):
                _insert_there(connection, rows)

    def take_due(
        self,
        limit: int,
        *,
        lease_seconds: float,
        receivers: Collection[str] | None = None,
    ) -> list[OutboxRow]:
        """Take rows that are due, in order, to publish them.

        Nobody else gets them until the lease is over. Spooled rows come first; of those
        of one receiver, none is taken while an earlier one is still with somebody.

        Args:
            limit: How many at most.
            lease_seconds: For how long they are taken.
            receivers: Names of those whose rows are meant; None for all.

        Raises:
            StoreError: The database did not do it.
        """
        now = self._now()
        until = now + timedelta(seconds=lease_seconds)
        is_due = and_(_row.due_at <= now, _is_for(receivers))
        if not self.is_there:
            return []
        # Asked first, for to take means to lock.
        with self._database.reading() as connection:
            if connection.scalar(select(_row.id).where(is_due).limit(1)) is None:
                return []
        with self._database.begin() as connection:
            taken = _take_spooled(connection, is_due, now, until, limit)
            if len(taken) < limit:
                kept = and_(~_row.is_spooled, is_due)
                taken += _take(connection, kept, until, limit - len(taken))
        return [_taken(row, until) for row in taken]

    def mark_published(self, rows: Iterable[OutboxRow]) -> None:
        """Note that *rows* were published.

        Spooled ones are gone then; kept ones are due again later, unless a worker has
        handled or claimed them meanwhile.

        Raises:
            StoreError: The database did not do it.
        """
        now = self._now()
        spooled, kept = _split(rows)
        with self._database.begin() as connection:
            for condition in _same_lease(spooled):
                connection.execute(delete(outbox).where(condition))
            for publications, some in _by_publications(kept).items():
                due_at = now + self._wait_after(publications + 1)
                changes = {"publications": publications + 1, "due_at": due_at}
                for condition in _same_lease(some):
                    connection.execute(update(outbox).where(condition).values(changes))

    def put_back(self, rows: Iterable[OutboxRow], *, delay_seconds: float = 0) -> None:
        """Make *rows*, which were not published, due again after a while.

        Raises:
            StoreError: The database did not do it.
        """
        due_at = self._now() + timedelta(seconds=delay_seconds)
        with self._database.begin() as connection:
            for condition in _same_lease(rows):
                connection.execute(
                    update(outbox).where(condition).values(due_at=due_at)
                )

    @property
    def is_there(self) -> bool:
        """Whether there may be rows; only a file is looked for."""
        return self._database.is_there

    def is_in(self, connection: Connection) -> bool:
        """Tell whether *connection* is one to the outbox's database."""
        return self._database.is_reached_by(connection)

    def has_spooled(self, receivers: Collection[str] | None = None) -> bool:
        """Tell whether there are spooled rows, of *receivers* or of all.

        Raises:
            StoreError: The database did not do it.
        """
        if not self.is_there:
            return False
        first = select(_row.id).where(_row.is_spooled, _is_for(receivers)).limit(1)
        with self._database.reading() as connection:
            return connection.scalar(first) is not None

    def state(self) -> OutboxState:
        """Return how many rows there are, of which kind, and how late they are.

        Raises:
            StoreError: The database did not do it.
        """
        now = self._now()
        is_due = _row.due_at <= now
        facts = select(
            func.count().label("rows"),
            func.count(case((_row.is_spooled, 1))).label("spooled"),
            func.count(case((is_due, 1))).label("due"),
            func.min(_row.due_at).label("first"),
        )
        with self._database.reading() as connection:
            found = connection.execute(facts).mappings().one()
        return OutboxState(
            kept=found["rows"] - found["spooled"],
            spooled=found["spooled"],
            due=found["due"],
            oldest_due=now - moment(found["first"]) if found["due"] else None,
        )

    def _rows(
        self, envelopes: Sequence[Envelope], *, is_spooled: bool
    ) -> list[dict[str, object]]:
        now = self._now()
        return [
            {
                "event_id": envelope.id,
                "receiver": envelope.receiver,
                "signal": envelope.signal,
                "text": envelope.text,
                "is_spooled": is_spooled,
                "added_at": now,
                "due_at": now,
                "publications": 0,
            }
            for envelope in envelopes
        ]

    def _wait_after(self, publications: int) -> timedelta:
        factor: int = 2 ** min(publications - 1, 16)
        return min(self._resubmit_after * factor, self._longest_wait)


def _insert_there(connection: Connection, rows: list[dict[str, object]]) -> None:
    try:
        _insert(connection, rows)
    except OperationalError:
        if not make_missing_tables(connection):
            raise
        _insert(connection, rows)


def _insert(connection: Connection, rows: list[dict[str, object]]) -> None:
    statement = insert_into(connection, outbox).on_conflict_do_nothing()
    if connection.dialect.name == "postgresql":
        # Heard of at the commit, once for all rows, and not where there is no new one.
        heard = statement.returning(func.pg_notify(CHANNEL, ""))
        connection.execute(heard, rows)
        return
    connection.execute(statement, rows)


def _is_for(receivers: Collection[str] | None) -> ColumnElement[bool]:
    return true() if receivers is None else _row.receiver.in_(receivers)


def _take_spooled(
    connection: Connection,
    is_due: ColumnElement[bool],
    now: datetime,
    until: datetime,
    limit: int,
) -> list[RowMapping]:
    """Take spooled rows, each receiver's in order."""
    if connection.dialect.name == "postgresql":
        # One at a time, for who skips what another has locked would overtake it.
        is_alone = select(func.pg_try_advisory_xact_lock(_SPOOL_LOCK))
        if not connection.scalar(is_alone):
            return []
    earlier = outbox.alias()
    is_behind = (
        select(earlier.c.id)
        .where(
            earlier.c.is_spooled,
            earlier.c.receiver == _row.receiver,
            earlier.c.id < _row.id,
            earlier.c.due_at > now,
        )
        .exists()
    )
    return _take(connection, and_(_row.is_spooled, is_due, ~is_behind), until, limit)


def _take(
    connection: Connection, which: ColumnElement[bool], until: datetime, limit: int
) -> list[RowMapping]:
    found = connection.execute(
        select(outbox)
        .where(which)
        .order_by(_row.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = list(found.mappings())
    if rows:
        ids = [row["id"] for row in rows]
        connection.execute(update(outbox).where(_row.id.in_(ids)).values(due_at=until))
    return rows


def _taken(row: RowMapping, until: datetime) -> OutboxRow:
    """Make an envelope of a row again, with the text as it was sealed."""
    envelope = Envelope(
        id=row["event_id"],
        signal=row["signal"],
        receiver=row["receiver"],
        sent_at=moment(row["added_at"]),
        payload={},
        is_kept=not row["is_spooled"],
        shared="",
        own=row["text"],
    )
    return OutboxRow(
        id=row["id"],
        envelope=envelope,
        is_spooled=row["is_spooled"],
        publications=row["publications"],
        taken_until=until,
    )


def _split(rows: Iterable[OutboxRow]) -> tuple[list[OutboxRow], list[OutboxRow]]:
    all_rows = list(rows)
    spooled = [row for row in all_rows if row.is_spooled]
    return spooled, [row for row in all_rows if not row.is_spooled]


def _by_publications(rows: Iterable[OutboxRow]) -> dict[int, list[OutboxRow]]:
    groups: defaultdict[int, list[OutboxRow]] = defaultdict(list)
    for row in rows:
        groups[row.publications].append(row)
    return groups


def _same_lease(rows: Iterable[OutboxRow]) -> list[ColumnElement[bool]]:
    """Return conditions for *rows*, less those that have changed hands since."""
    groups: defaultdict[datetime, list[int]] = defaultdict(list)
    for row in rows:
        groups[row.taken_until].append(row.id)
    return [
        and_(_row.id.in_(ids), _row.due_at == until) for until, ids in groups.items()
    ]
