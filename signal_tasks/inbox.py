"""Who handles an event: claims, so that of several workers one does, and once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to handle one event for one receiver, for a time."""

    event_id: str
    receiver: str

    is_kept: bool
    """Whether it is that of an outbox row, and not of a key alone."""

    token: str
    """Tells this claim from a later one of the same event."""

    until: datetime
    """When somebody else may claim it, in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Somebody else has claimed the event, and is believed to be handling it."""

    until: datetime
    """When that is not believed any more, in UTC."""


class InboxOffice(Protocol):
    """Knows which events are handled, and who is handling which."""

    def claim(
        self, event_id: str, receiver: str, *, is_kept: bool, lease_seconds: float
    ) -> Claim | Busy | None:
        """Claim an event, or tell who has it; None where it is handled already."""
        ...

    def is_in(self, connection: Any) -> bool:
        """Tell whether *connection* is one to its database."""
        ...

    def finish(self, claim: Claim, connection: Any = None) -> bool:
        """Note that the event is handled; false where the claim was lost."""
        ...

    def release(self, claim: Claim) -> None:
        """Give a claim back, for the event was not handled."""
        ...

    def count_redelivery(self, event_id: str, receiver: str) -> int:
        """Count that a broker handed a message out again, and return the count."""
        ...
