"""What a check finds, and how a check is kept from ending the others."""

from __future__ import annotations

import contextvars
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final


class Status(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    """Good to know, and no fault."""
    SKIPPED = "skipped"
    """Nobody could look."""
    WARNING = "warning"
    """It works, and one day something may be lost, doubled or late."""
    WRONG = "wrong"
    """Events are lost, refused or kept waiting, or strangers can run code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found."""

    check: str
    """Name of the check, the same from version to version."""

    status: Status

    found: str
    """What is so, in a sentence. It holds no password and nothing that was sent."""

    mend: str = ""
    """What to do about it, in sentences; nothing where nothing is to be done."""

    about: tuple[str, ...] = ()
    """All the receivers, workers, queues or tables concerned; the text may shorten it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One look at a subject, which may end in several findings."""

    name: str
    """What its finding is called when it does not come to one by itself."""

    look: Callable[[], Iterable[Finding]]


_MEND_OF_SILENCE: Final = (
    "Look whether it is overloaded, or stopped, or behind a firewall that drops "
    "packets; or give it longer with --timeout."
)


def listed(names: Sequence[str], *, most: int = 4) -> str:
    """Write *names* for a sentence, of many the first few."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def run_check(check: Check, *, patience_seconds: float) -> list[Finding]:
    """Return what *check* finds, whatever happens in it.

    It runs in a thread of its own, for not every library lets its caller bound a wait.
    A thread that is left waiting does not keep the process from ending.

    Args:
        check: What to do.
        patience_seconds: How long it may take.
    """
    found: list[Finding] = []
    thread = threading.Thread(
        target=contextvars.copy_context().run,
        args=(_survive, check, found),
        name=f"signal-tasks-doctor-{check.name}",
        daemon=True,
    )
    thread.start()
    thread.join(patience_seconds)
    findings = list(found)
    if thread.is_alive():
        silence = Finding(
            check=check.name,
            status=Status.WRONG,
            found=f"there was no answer within {patience_seconds:g} seconds.",
            mend=_MEND_OF_SILENCE,
        )
        findings.append(silence)
    return findings


def _survive(check: Check, found: list[Finding]) -> None:
    """Add what *check* finds to *found*; an error is a finding, too."""
    try:
        for finding in check.look():
            found.append(finding)  # noqa: PERF402  # those before an error count
    except Exception as error:  # noqa: BLE001  # the others must go on
        # Not its words, for they may quote an address with a password.
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        found.append(
            Finding(
                check=check.name,
                status=Status.WRONG,
                found=f"the check itself failed: {type(error).__name__} at {place}.",
                mend="Mend what it stumbled over, or report it to signal_tasks.",
            )
        )
