"""How the store's database does: whether its tables are current, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session

from .database import StoreDatabase
from .moments import moment
from .tables import dead_letters, metadata, relays


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCondition:
    """What was found in the store."""

    missing: tuple[str, ...]
    """Tables and columns that are not there, by their full names."""

    dead_letters: int | None
    """How many there are; None where that cannot be asked."""

    last_relay: datetime | None
    """When a relay was last seen; None where none was, or that cannot be asked."""


def condition_of(database: StoreDatabase) -> StoreCondition:
    """Look into *database*, and write nothing there.

    Raises:
        StoreError: The database did not do it.
    """
    with database.reading() as connection:
        missing = tuple(_missing_in(connection))
        lacking = {name.partition(".")[0] for name in missing}
        letters = seen = None
        if dead_letters.name not in lacking:
            letters = connection.scalar(select(func.count()).select_from(dead_letters))
        if relays.name not in lacking:
            seen = connection.scalar(select(func.max(relays.c.seen_at)))
    return StoreCondition(
        missing=missing,
        dead_letters=letters,
        last_relay=None if seen is None else moment(seen),
    )


def is_shared_with(database: StoreDatabase, session: Session | None) -> bool | None:
    """Tell whether *session*, which is closed, has its tables in *database*, too.

    Returns:
        None where there is no session, or it has a database for each model.
    """
    if session is None:
        return None
    try:
        return database.is_reached_by(session.get_bind())
    except UnboundExecutionError:
        return None
    finally:
        session.close()


def _missing_in(connection: Connection) -> list[str]:
    inspector = inspect(connection)
    missing: list[str] = []
    for table in metadata.sorted_tables:
        if not inspector.has_table(table.name):
            missing.append(table.name)
            continue
        there = {column["name"] for column in inspector.get_columns(table.name)}
        missing += [
            f"{table.name}.{column.name}"
            for column in table.columns
            if column.name not in there
        ]
    return sorted(missing)
