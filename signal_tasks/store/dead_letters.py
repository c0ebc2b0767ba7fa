"""Dead letters in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select

from ..dead_letters import DeadLetter, DeadLetterFilter
from .database import Store
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

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, letter: DeadLetter) -> None:
        """Add *letter*."""
        with self._store.begin() as connection:
            connection.execute(insert(dead_letters).values(asdict(letter)))

    def find(self, wanted: DeadLetterFilter) -> list[StoredLetter]:
        """Return the letters that fit *wanted*, the oldest first."""
        query = select(dead_letters).where(*_conditions(wanted))
        with self._store.begin() as connection:
            rows = connection.execute(query.order_by(dead_letters.c.id)).mappings()
            return [_stored(dict(row)) for row in rows]

    def replay(
        self, wanted: DeadLetterFilter, publish: Callable[[DeadLetter], None]
    ) -> int:
        """Publish the letters that fit *wanted* again, and forget each that has left.

        One that leaves and cannot be forgotten is replayed again by the next call; its
        event has the same identifier then.

        Returns:
            How many have left.
        """
        letters = self.find(wanted)
        for stored in letters:
            publish(stored.letter)
            self.purge(DeadLetterFilter(ids=[stored.id]))
        return len(letters)

    def purge(self, wanted: DeadLetterFilter) -> int:
        """Forget the letters that fit *wanted*; return how many there were."""
        with self._store.begin() as connection:
            done = connection.execute(delete(dead_letters).where(*_conditions(wanted)))
            return done.rowcount


def _conditions(wanted: DeadLetterFilter) -> Sequence[ColumnElement[bool]]:
    column = dead_letters.c
    conditions = [
        getattr(column, name) == value
        for name in ("receiver", "signal", "reason")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.ids:
        conditions.append(column.id.in_(wanted.ids))
    if wanted.died_before is not None:
        conditions.append(column.died_at < wanted.died_before)
    return conditions


def _stored(row: dict[str, Any]) -> StoredLetter:
    number = row.pop("id")
    return StoredLetter(id=number, letter=DeadLetter(**row))
