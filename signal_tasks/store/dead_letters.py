"""Dead letters in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    and_,
    delete,
    insert,
    select,
    update,
)

from ..dead_letters import DeadLetter, DeadLetterFilter
from ..envelope import Envelope, is_kept, written_id
from .database import StoreDatabase
from .outbox import Outbox
from .tables import dead_letters, handled, outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLetter:
    """A dead letter, and the number that it is known by."""

    id: int
    letter: DeadLetter


class StoredDeadLetters:
    """The dead letters of a store.

    Args:
        store: Where they are.
    """

    def __init__(self, store: StoreDatabase) -> None:
        self._store = store

    def keep(self, letter: DeadLetter) -> bool:
        """Add *letter*, which takes the place of its event's row in the outbox.

        Returns:
            Whether it was added. An event of the outbox that has no row there was
            handled meanwhile, or is a dead letter already: the message was another one
            of the same event, and to replay it would run the handler once more.

        Raises:
            StoreError: The database did not do it.
        """
        facts: dict[str, Any] = {
            name: _storable(name, fact) for name, fact in asdict(letter).items()
        }
        needs_row = (
            letter.event_id is not None and is_kept(letter.text) and not letter.is_done
        )
        with self._store.begin() as connection:
            for condition in _row_of(replace(letter, **facts)):
                gone = connection.execute(delete(outbox).where(condition))
                if needs_row and not gone.rowcount:
                    return False
            connection.execute(insert(dead_letters).values(facts))
        return True

    def find(self, wanted: DeadLetterFilter) -> list[StoredLetter]:
        """Return the letters that fit *wanted*, the oldest first."""
        query = select(dead_letters).where(*_conditions(wanted))
        with self._store.reading() as connection:
            rows = connection.execute(query.order_by(dead_letters.c.id)).mappings()
            return [_stored(dict(row)) for row in rows]

    def numbers(self, wanted: DeadLetterFilter) -> list[int]:
        """Return the numbers of the letters that fit *wanted*, the oldest first."""
        query = select(dead_letters.c.id).where(*_conditions(wanted))
        with self._store.reading() as connection:
            return list(connection.scalars(query.order_by(dead_letters.c.id)))

    def replay(self, number: int) -> bool:
        """Let a row of the outbox take the place of a letter, to be published.

        Both happen in one transaction, so of two who replay a letter at once, one does,
        and whoever is killed has done it or not. The row is gone once it is published,
        or, where it was delivered by the outbox, once it is handled.

        Returns:
            Whether it was there, and not that of a handler which had done its work.

        Raises:
            StoreError: The database did not do it.
        """
        for stored in self.find(DeadLetterFilter(ids=[number])):
            if stored.letter.is_done:
                return False
            with self._store.begin() as connection:
                gone = connection.execute(
                    delete(dead_letters).where(dead_letters.c.id == number)
                )
                if gone.rowcount:
                    envelope = _envelope_of(stored.letter)
                    _start_over(connection, envelope)
                    Outbox(self._store).add(
                        [envelope],
                        connection=connection,
                        is_spooled=not envelope.is_kept,
                    )
                    return True
        return False

    def purge(self, wanted: DeadLetterFilter) -> int:
        """Forget the letters that fit *wanted*; return how many there were."""
        with self._store.begin() as connection:
            done = connection.execute(delete(dead_letters).where(*_conditions(wanted)))
            return done.rowcount


def _row_of(letter: DeadLetter) -> list[ColumnElement[bool]]:
    """Return a condition for the outbox row of *letter*'s event, if it has one.

    What an envelope that does not verify says of itself is believed where the row has
    the very same text.
    """
    row = outbox.c
    event_id = letter.event_id or written_id(letter.text)
    if event_id is None:
        return []
    is_it = and_(row.event_id == event_id, row.receiver == letter.receiver)
    return [is_it if letter.event_id else and_(is_it, row.text == letter.text)]


def _envelope_of(letter: DeadLetter) -> Envelope:
    """Return the text of *letter* as it came: this version may be unable to read it."""
    said = written_id(letter.text)
    is_whole = said is not None and is_kept(letter.text)
    # Nobody is to take the place of another event by what he wrote into a message.
    event_id = letter.event_id or (said if is_whole else None) or f"letter-{uuid4()}"
    return Envelope(
        id=event_id,
        signal=letter.signal or "unknown",
        receiver=letter.receiver,
        sent_at=letter.died_at,
        payload={},
        is_kept=is_whole,
        shared="",
        own=letter.text,
    )


def _start_over(connection: Connection, envelope: Envelope) -> None:
    """Forget how often the event's message was handed out again."""
    key = handled.c
    is_it = and_(key.event_id == envelope.id, key.receiver == envelope.receiver)
    connection.execute(update(handled).where(is_it).values(redeliveries=0))


def _conditions(wanted: DeadLetterFilter) -> Sequence[ColumnElement[bool]]:
    column = dead_letters.c
    conditions = [
        column[name] == _storable(name, value)
        for name in ("receiver", "signal", "reason")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.ids:
        conditions.append(column.id.in_(wanted.ids))
    if wanted.died_before is not None:
        conditions.append(column.died_at < wanted.died_before.astimezone(UTC))
    return conditions


def _storable(name: str, fact: object) -> object:
    """Return *fact* as every database takes it into the column *name*.

    Anybody may have written the message, and one that no database takes would be lost:
    PostgreSQL takes neither NUL nor more than a column's length, and none takes lone
    surrogates.
    """
    if isinstance(fact, datetime):
        return fact.astimezone(UTC)
    if not isinstance(fact, str):
        return fact
    text = fact.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    kind = dead_letters.c[name].type
    return text[: kind.length] if isinstance(kind, String) else text


def _stored(row: dict[str, Any]) -> StoredLetter:
    number = row.pop("id")
    died_at = row.pop("died_at")
    if died_at.tzinfo is None:  # SQLite forgets it.
        died_at = died_at.replace(tzinfo=UTC)
    letter = DeadLetter(**row, died_at=died_at.astimezone(UTC))
    return StoredLetter(id=number, letter=letter)
