"""The tables, for ``store create`` and for the user's own migrations."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Column as Col
from sqlalchemy import (
    DateTime,
    Dialect,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

metadata = MetaData()
"""Give it to Alembic or Flask-Migrate beside that of your models."""


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC, also where the database keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002  # theirs to give
    ) -> datetime | None:
        """Write it in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002  # theirs to give
    ) -> datetime | None:
        """Read it as UTC, as SQLite forgets."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


dead_letters = Table(
    "signal_tasks_dead_letters",
    metadata,
    Col("id", Integer, primary_key=True),
    Col("receiver", String(512), nullable=False, index=True),
    Col("signal", String(255), index=True),
    Col("event_id", String(64), index=True),
    Col("reason", String(255), nullable=False),
    Col("error", Text, nullable=False),
    Col("attempts", Integer, nullable=False),
    Col("text", Text, nullable=False),
    Col("died_at", UtcDateTime, nullable=False, index=True),
)
