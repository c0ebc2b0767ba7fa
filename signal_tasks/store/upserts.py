"""``INSERT ... ON CONFLICT``, of which each database has a dialect."""

from __future__ import annotations

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from ..exceptions import ConfigurationError


def insert_into(
    connection: Connection, table: Table
) -> postgresql.Insert | sqlite.Insert:
    """Return an ``INSERT`` that can say what happens where the row is there already.

    Raises:
        ConfigurationError: The database is neither SQLite nor PostgreSQL.
    """
    match connection.dialect.name:
        case "sqlite":
            return sqlite.insert(table)
        case "postgresql":
            return postgresql.insert(table)
        case other:
            raise ConfigurationError(
                f"an outbox and the keys of handled events cannot be kept in {other}. "
                "Set SIGNAL_TASKS_STORE_URL to a SQLite file or a PostgreSQL database."
            )
