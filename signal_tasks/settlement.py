"""The note that an event is handled, on its way into the handler's own transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Settlement:
    """Writes a note once, in the transaction that a handler commits first."""

    settle: Callable[[Any], bool]
    """Called with the connection that is about to commit; tells whether it could write
    the note there. What it raises comes out of the handler's ``commit()``."""

    is_written: bool = False
    """Whether the note is in a transaction that has not ended."""

    is_done: bool = False
    """Whether a commit has taken the note along."""
