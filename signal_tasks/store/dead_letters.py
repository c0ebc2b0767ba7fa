"""Dead letters in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, String, delete, insert, select

from ..dead_letters import DeadLetter, DeadLetterFilter
from .database import StoreDatabase
from .tables import dead_letters


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

    def keep(self, letter: DeadLetter) -> None:
        """Add *letter*."""
        facts = {name: _storable(name, fact) for name, fact in asdict(letter).items()}
        with self._store.begin() as connection:
            connection.execute(insert(dead_letters).values(facts))

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

    def replay(self, number: int, publish: Callable[[DeadLetter], None]) -> bool:
        """Publish a letter again, and forget it unless that raises.

        It is forgotten in a transaction that ends when it has left, so of two who
        replay it at once, one does. If that transaction fails, the letter is there to
        be replayed once more; its event has the same identifier then.

        Returns:
            Whether it was there.
        """
        for stored in self.find(DeadLetterFilter(ids=[number])):
            with self._store.begin() as connection:
                gone = connection.execute(
                    delete(dead_letters).where(dead_letters.c.id == number)
                )
                if gone.rowcount:
                    publish(stored.letter)
                    return True
        return False

    def purge(self, wanted: DeadLetterFilter) -> int:
        """Forget the letters that fit *wanted*; return how many there were."""
        with self._store.begin() as connection:
            done = connection.execute(delete(dead_letters).where(*_conditions(wanted)))
            return done.rowcount


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
