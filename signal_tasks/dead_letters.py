"""Envelopes that will not be tried again until somebody replays them.

They are kept with all that is needed to run them later, for a message is never
acknowledged into nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from .exceptions import CommittedError


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One envelope, and why nobody runs it.

    .. versionadded:: 0.1
    """

    receiver: str
    """Name of the receiver that it came for."""

    signal: str | None
    """The signal's name; None where the envelope could not be read."""

    event_id: str | None

    reason: str
    """Name of the error's class."""

    error: str = field(repr=False)
    """What the error says; a handler's own may quote what was sent."""

    attempts: int
    """How many attempts have failed; to refuse an envelope is none."""

    text: str = field(repr=False)
    """The envelope as it came."""

    died_at: datetime
    """In UTC."""

    @property
    def is_done(self) -> bool:
        """Whether its handler had committed its work, and is not to run again."""
        return self.reason == CommittedError.__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters somebody means; those that fit all that is given."""

    ids: Sequence[int] = ()
    receiver: str | None = None
    signal: str | None = None
    reason: str | None = None
    died_before: datetime | None = None


class DeadLetterOffice(Protocol):
    """Keeps dead letters."""

    def keep(self, letter: DeadLetter) -> bool:
        """Keep *letter*, or raise; tell whether it was not settled already."""
        ...
