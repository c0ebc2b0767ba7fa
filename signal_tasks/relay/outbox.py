"""What is known of an outbox's rows: envelopes that are still to be published."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..envelope import Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """An envelope that was taken from an outbox, to be published by the taker alone."""

    id: int
    envelope: Envelope

    is_spooled: bool
    """Whether it is only to be published; else it stays until it is handled."""

    publications: int
    """How often it was published before."""

    taken_until: datetime
    """When somebody else may take it, in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxState:
    """How an outbox does."""

    kept: int
    """How many rows wait for their handler to finish."""

    spooled: int
    """How many rows wait only to be published."""

    due: int
    """How many rows are to be published now."""

    oldest_due: timedelta | None
    """For how long the oldest of these has been due; None where there are none."""
