"""Moments in time, as the store's databases keep them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]
"""Tells the time, in UTC."""


def now_in_utc() -> datetime:
    """Tell the time by this machine's clock."""
    return datetime.now(UTC)


def moment(kept: datetime) -> datetime:
    """Return what a column holds, in UTC; SQLite forgets that it is."""
    if kept.tzinfo is None:
        return kept.replace(tzinfo=UTC)
    return kept.astimezone(UTC)
