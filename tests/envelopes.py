"""Envelopes that were never sealed, for publishers that only pass them on."""

from __future__ import annotations

from datetime import UTC, datetime

from signal_tasks.envelope import Envelope


def envelope(
    event_id: str, receiver: str = "bill", *, is_kept: bool = False
) -> Envelope:
    """Return an envelope of the event called *event_id*."""
    return Envelope(
        id=event_id,
        signal="order-placed",
        receiver=receiver,
        sent_at=datetime.now(UTC),
        payload={},
        is_kept=is_kept,
        shared=event_id,
        own=f" for {receiver}",
    )
