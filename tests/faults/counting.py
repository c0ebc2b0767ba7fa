"""What there is in the end, told by the database itself and not by the library."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, inspect, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the orders."""

    committed: int
    """Orders that there are."""

    lost: int
    """Orders without a booking, and without a dead letter that could be replayed."""

    buried: int
    """Orders without a booking, but with a dead letter."""

    doubled: int
    """Orders with more than one booking."""

    phantom: int
    """Numbers that were booked and are no orders."""

    unfinished: int
    """Rows in the outbox."""


def count(engine: Engine) -> Counts:
    """Count what there is now."""
    with engine.connect() as connection:
        orders = set(connection.scalars(text("SELECT number FROM orders")))
        bookings = Counter(connection.scalars(text("SELECT number FROM bookings")))
        dead = {
            json.loads(letter)["payload"]["kwargs"]["number"]
            for letter in _texts(connection, "signal_tasks_dead_letters")
        }
        unfinished = len(_texts(connection, "signal_tasks_outbox"))
    missing = orders - bookings.keys()
    return Counts(
        committed=len(orders),
        lost=len(missing - dead),
        buried=len(missing & dead),
        doubled=sum(bookings[number] > 1 for number in orders),
        phantom=len(bookings.keys() - orders),
        unfinished=unfinished,
    )


def _texts(connection: Connection, table: str) -> list[str]:
    """Return the envelopes in a table of the store, which may not be there."""
    if table not in inspect(connection).get_table_names():
        return []
    return list(connection.scalars(text(f"SELECT text FROM {table}")))
