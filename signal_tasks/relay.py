"""The way from an outbox to the broker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from .exceptions import PublishError
from .host import Publisher
from .outbox import OutboxRow

_BATCH = 100
_LEASE_SECONDS = 30.0
_PAUSE_SECONDS = 0.5


class TakenRows(Protocol):
    """An outbox, of which a drain uses this."""

    def take_due(self, limit: int, *, lease_seconds: float) -> list[OutboxRow]:
        """Take rows that are due."""
        ...

    def mark_published(self, rows: Sequence[OutboxRow]) -> None:
        """Note that *rows* were published."""
        ...

    def put_back(self, rows: Sequence[OutboxRow], *, delay_seconds: float = 0) -> None:
        """Make *rows* due again."""
        ...

    def has_spooled(self) -> bool:
        """Tell whether there are spooled rows."""
        ...


def drain(outbox: TakenRows, publisher: Publisher) -> None:
    """Publish the spooled rows of *outbox* until none is left."""
    while outbox.has_spooled():
        rows = outbox.take_due(_BATCH, lease_seconds=_LEASE_SECONDS)
        try:
            publisher.publish([row.envelope for row in rows])
        except PublishError:
            outbox.put_back(rows)
            rows = []
        if rows:
            outbox.mark_published(rows)
        else:
            time.sleep(_PAUSE_SECONDS)
