"""The inbox: which worker handles an event, and which events are handled.

For an event that came through the outbox, its outbox row says so: it is claimed there,
and deleted when it is handled. For others there is a key in a table of its own.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    case,
    delete,
    or_,
    select,
    update,
)

from ..inbox import Busy, Claim
from .database import StoreDatabase
from .moments import Clock, moment, now_in_utc
from .tables import handled, outbox
from .upserts import insert_into


class Inbox:
    """The inbox of a store.

    Args:
        database: Where it is: SQLite or PostgreSQL.
        now: Tells the time, in UTC; all workers' clocks should agree to the second.
    """

    def __init__(self, database: StoreDatabase, *, now: Clock = now_in_utc) -> None:
        self._database = database
        self._now = now

    def claim(
        self, event_id: str, receiver: str, *, is_kept: bool, lease_seconds: float
    ) -> Claim | Busy | None:
        """Claim an event for a receiver, so that nobody else handles it meanwhile.

        A claim whose time is over is taken over.

        Args:
            event_id: The event's identifier.
            receiver: The receiver's name.
            is_kept: Whether the event came through the outbox.
            lease_seconds: For how long; it should be longer than the handler may take.

        Returns:
            The claim; ``Busy`` where somebody else has one; None where the event is
            handled already.

        Raises:
            StoreError: The database did not do it.
        """
        now = self._now()
        claim = Claim(
            event_id=event_id,
            receiver=receiver,
            is_kept=is_kept,
            token=uuid4().hex,
            until=now + timedelta(seconds=lease_seconds),
        )
        with self._database.begin() as connection:
            take = _take_row if is_kept else _take_key
            if take(connection, claim, now):
                return claim
            return _holder(connection, claim, now)

    def is_in(self, connection: Connection) -> bool:
        """Tell whether *connection* is one to the inbox's database."""
        return self._database.is_reached_by(connection)

    def finish(self, claim: Claim, connection: Connection | None = None) -> bool:
        """Note that the event of *claim* is handled.

        Args:
            claim: Made by :meth:`claim`.
            connection: In whose transaction, so that what the handler has written and
                this note come true together; without one, in a transaction of its own.

        Returns:
            Whether the claim was still there. If not, somebody has taken it over, or
            made a dead letter of the event: what the handler did should be undone.

        Raises:
            StoreError: The database did not do it.
        """
        with self._transaction(connection) as there:
            if claim.is_kept:
                return _delete_row(there, claim)
            return _close_key(there, claim, self._now())

    def release(self, claim: Claim) -> None:
        """Give *claim* back after a failure, so that the next attempt may run at once.

        Raises:
            StoreError: The database did not do it.
        """
        table = outbox if claim.is_kept else handled
        free = {"claim": None, "claimed_until": None}
        with self._database.begin() as connection:
            connection.execute(update(table).where(_is_ours(table, claim)).values(free))

    def count_redelivery(self, event_id: str, receiver: str) -> int:
        """Count that a broker handed out a message that it had handed out before.

        Returns:
            How often that has happened with this event and receiver.

        Raises:
            StoreError: The database did not do it.
        """
        now = self._now()
        key = {"event_id": event_id, "receiver": receiver}
        count = handled.c.redeliveries
        with self._database.begin() as connection:
            first = insert_into(connection, handled).values(
                **key, redeliveries=1, noted_at=now
            )
            connection.execute(
                first.on_conflict_do_update(
                    index_elements=list(key),
                    set_={"redeliveries": count + 1, "noted_at": now},
                )
            )
            counted = select(count).where(_is_of(handled, event_id, receiver))
            number: int = connection.scalars(counted).one()
            return number

    def forget(self, older_than: timedelta) -> int:
        """Forget the keys of events that nobody has touched for so long.

        Returns:
            How many.

        Raises:
            StoreError: The database did not do it.
        """
        now = self._now()
        with self._database.begin() as connection:
            done = connection.execute(
                delete(handled).where(
                    handled.c.noted_at < now - older_than, _is_free(handled, now)
                )
            )
            return done.rowcount

    def _transaction(
        self, connection: Connection | None
    ) -> AbstractContextManager[Connection]:
        if connection is None:
            return self._database.begin()
        return self._database.inside(connection)


def _take_row(connection: Connection, claim: Claim, now: datetime) -> bool:
    """Claim an outbox row; nobody publishes it again while that lasts."""
    due_at = case((outbox.c.due_at < claim.until, claim.until), else_=outbox.c.due_at)
    taken = connection.execute(
        update(outbox)
        .where(_is_of(outbox, claim.event_id, claim.receiver), _is_free(outbox, now))
        .values(claim=claim.token, claimed_until=claim.until, due_at=due_at)
    )
    return taken.rowcount == 1


def _take_key(connection: Connection, claim: Claim, now: datetime) -> bool:
    """Claim the key of an event, writing it where it is not there."""
    key = {"event_id": claim.event_id, "receiver": claim.receiver}
    facts = {"claim": claim.token, "claimed_until": claim.until, "noted_at": now}
    first = insert_into(connection, handled).values(**key, **facts, redeliveries=0)
    taken = connection.execute(
        first.on_conflict_do_update(
            index_elements=list(key),
            set_=facts,
            where=and_(handled.c.handled_at.is_(None), _is_free(handled, now)),
        ),
        execution_options={"preserve_rowcount": True},
    )
    return taken.rowcount == 1


def _delete_row(connection: Connection, claim: Claim) -> bool:
    deleted = connection.execute(delete(outbox).where(_is_ours(outbox, claim)))
    return deleted.rowcount == 1


def _close_key(connection: Connection, claim: Claim, now: datetime) -> bool:
    done = {"handled_at": now, "noted_at": now, "claim": None, "claimed_until": None}
    closed = connection.execute(
        update(handled).where(_is_ours(handled, claim)).values(done)
    )
    return closed.rowcount == 1


def _holder(connection: Connection, claim: Claim, now: datetime) -> Busy | None:
    """Return who has what *claim* wants; None where it is handled."""
    table = outbox if claim.is_kept else handled
    is_open = () if claim.is_kept else (handled.c.handled_at.is_(None),)
    query = select(table.c.claimed_until).where(
        _is_of(table, claim.event_id, claim.receiver), *is_open
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    # It may have been given back since; then it can be had at once.
    return Busy(until=now if found[0] is None else moment(found[0]))


def _is_of(table: Table, event_id: str, receiver: str) -> ColumnElement[bool]:
    return and_(table.c.event_id == event_id, table.c.receiver == receiver)


def _is_ours(table: Table, claim: Claim) -> ColumnElement[bool]:
    return and_(
        _is_of(table, claim.event_id, claim.receiver), table.c.claim == claim.token
    )


def _is_free(table: Table, now: datetime) -> ColumnElement[bool]:
    until = table.c.claimed_until
    return or_(until.is_(None), until <= now)
