"""Envelopes that will not be tried again until somebody replays them.

In: what a worker refuses, and what has failed for the last time. They are kept with all
that is needed to run them later, for a message is never acknowledged into nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

_logger = logging.getLogger(__name__)


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
    """What the error says."""

    attempts: int
    """How often the handler was called."""

    text: str = field(repr=False)
    """The envelope as it came."""

    died_at: datetime
    """In UTC."""


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

    def keep(self, letter: DeadLetter) -> None:
        """Keep *letter*, or raise."""
        ...


def bury(office: DeadLetterOffice | None, letter: DeadLetter) -> None:
    """Keep *letter*, surviving a store that cannot: then the log is all there is."""
    if office is None:
        return
    try:
        office.keep(letter)
    except Exception:
        _logger.exception(
            "dead letter for %s not kept, so event %s is lost. Look at the traceback for "
            "what is wrong with the store; `flask signal-tasks store create` makes its "
            "tables.",
            letter.receiver,
            letter.event_id,
        )
