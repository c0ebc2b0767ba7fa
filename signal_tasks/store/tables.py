"""The tables, for ``store create`` and for the user's own migrations.

Their columns are of SQLAlchemy's own types alone, for a migration that Alembic writes
does not import others.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()
"""The tables; ``to_metadata()`` copies one to the metadata of your models."""

# SQLite counts up a column of this one type alone.
_Number = BigInteger().with_variant(Integer, "sqlite")

outbox = Table(
    "signal_tasks_outbox",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("event_id", String(64), nullable=False),
    Column("receiver", String(512), nullable=False),
    Column("signal", String(255), nullable=False),
    Column("text", Text, nullable=False),
    Column("is_spooled", Boolean, nullable=False),
    Column("added_at", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False, index=True),
    Column("publications", Integer, nullable=False),
    Column("claim", String(64)),
    Column("claimed_until", DateTime(timezone=True)),
    UniqueConstraint("event_id", "receiver", name="signal_tasks_outbox_key"),
    # So that no number is given out twice, and numbers tell the order.
    sqlite_autoincrement=True,
)
"""Envelopes that are not handled yet, or, where spooled, not published yet.

``due_at`` is when a relay publishes the row next; ``claim`` and ``claimed_until`` tell
which worker is running its handler, and until when that is believed.
"""

Index(
    "signal_tasks_outbox_spooled",
    outbox.c.id,
    postgresql_where=outbox.c.is_spooled,
    sqlite_where=text("is_spooled = 1"),  # as a query has it, or it is no use
)

handled = Table(
    "signal_tasks_handled",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("receiver", String(512), primary_key=True),
    Column("claim", String(64)),
    Column("claimed_until", DateTime(timezone=True)),
    Column("handled_at", DateTime(timezone=True), index=True),
    Column("redeliveries", Integer, nullable=False),
    Column("noted_at", DateTime(timezone=True), nullable=False, index=True),
)
"""Which events which receivers have handled, or are handling, where that is asked for.

``redeliveries`` counts how often a broker handed a message out again, for one that
kills its worker is not to do so for ever.
"""

relays = Table(
    "signal_tasks_relays",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
)
"""The relays that are at work, or were."""

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
