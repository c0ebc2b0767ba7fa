"""What there is in the end, told by the database itself and not by the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, inspect, text

_COUNTS: Final = {
    "committed": "SELECT count(*) FROM orders",
    "lost": (
        "SELECT count(*) FROM orders WHERE number NOT IN (SELECT number FROM bookings)"
    ),
    "doubled": (
        "SELECT count(*) FROM (SELECT number FROM bookings"
        " WHERE number IN (SELECT number FROM orders)"
        " GROUP BY number HAVING count(*) > 1) AS doubled"
    ),
    "phantom": (
        "SELECT count(DISTINCT number) FROM bookings"
        " WHERE number NOT IN (SELECT number FROM orders)"
    ),
}

_LEFT: Final = {
    "dead": "signal_tasks_dead_letters",
    "unfinished": "signal_tasks_outbox",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the orders."""

    committed: int
    """Orders that there are."""

    lost: int
    """Orders without a booking."""

    doubled: int
    """Orders with more than one."""

    phantom: int
    """Bookings of orders that there are not."""

    dead: int
    """Dead letters; their events count as lost."""

    unfinished: int
    """Rows in the outbox."""


def count(engine: Engine) -> Counts:
    """Count what there is now."""
    tables = inspect(engine).get_table_names()
    queries = dict(_COUNTS)
    for name, table in _LEFT.items():
        queries[name] = (
            f"SELECT count(*) FROM {table}" if table in tables else "SELECT 0"
        )
    with engine.connect() as connection:
        counts = {
            name: int(connection.scalar(text(query)) or 0)
            for name, query in queries.items()
        }
    return Counts(**counts)


def missing_numbers(engine: Engine) -> list[int]:
    """Return the numbers of the orders without a booking, for whoever looks for them."""
    query = (
        "SELECT number FROM orders"
        " WHERE number NOT IN (SELECT number FROM bookings) ORDER BY number"
    )
    with engine.connect() as connection:
        return list(connection.scalars(text(query)))
