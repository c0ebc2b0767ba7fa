"""The tables, for ``store create`` and for the user's own migrations.

Their columns are of SQLAlchemy's own types alone, for a migration that Alembic writes
does not import others.
"""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, Text

metadata = MetaData()
"""The tables; ``to_metadata()`` copies one to the metadata of your models."""

dead_letters = Table(
    "signal_tasks_dead_letters",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("receiver", String(512), nullable=False, index=True),
    Column("signal", String(255), index=True),
    Column("event_id", String(64), index=True),
    Column("reason", String(255), nullable=False),
    Column("error", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("died_at", DateTime(timezone=True), nullable=False, index=True),
)
