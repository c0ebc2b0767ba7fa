"""How an envelope that nobody will try again becomes a dead letter.

In: its text, and the error that it died of. Out: a letter in the host's store; where
that fails, a line in the log, for nobody above could do more.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from .claiming import drop
from .dead_letters import DeadLetter
from .envelope import Envelope
from .exceptions import RefusedError
from .host import Host
from .signals import DeadLetterKept, dead_letter_kept, report

_logger = logging.getLogger(__name__)


def bury(
    host: Host, *, receiver: str, text: str, error: BaseException, attempts: int
) -> bool:
    """Keep an envelope as a dead letter, log and report that, and raise nothing.

    Args:
        host: The application that it came to; without a store, nothing is kept.
        receiver: The name under which it came.
        text: The envelope, or what came in its place.
        error: What it died of.
        attempts: How many attempts have failed.

    Returns:
        Whether it is kept, or need not be: there is no store for it, or another message
        of its event was handled.
    """
    letter: DeadLetter | None = None
    try:
        office = host.dead_letters
        if office is None:
            return True
        letter = _letter(host, receiver, text, error, attempts)
        is_new = office.keep(letter)
    except Exception:
        _logger.exception(
            "no dead letter could be kept for %s of its event %s. The traceback says "
            "what to do about the store.",
            receiver,
            letter.event_id if letter else None,
            extra=_facts(receiver, letter),
        )
        return False
    if not is_new:
        drop(host, str(letter.event_id), receiver)
        return True
    _logger.warning(
        "event %s for %s is kept as a dead letter (%s), to be replayed.",
        letter.event_id,
        receiver,
        letter.reason,
        extra=_facts(receiver, letter),
    )
    details = DeadLetterKept(
        event_id=letter.event_id,
        signal=letter.signal,
        receiver=receiver,
        attempts=attempts,
        error=error,
    )
    report(dead_letter_kept, host.application, details)
    return True


def _letter(
    host: Host, receiver: str, text: str, error: BaseException, attempts: int
) -> DeadLetter:
    """Describe what died, with as much of its envelope as verifies."""
    envelope = _opened(host, text)
    return DeadLetter(
        receiver=receiver,
        signal=envelope.signal if envelope else None,
        event_id=envelope.id if envelope else None,
        reason=type(error).__name__,
        error=_said(error),
        attempts=attempts,
        text=text,
        died_at=datetime.now(UTC),
    )


def _opened(host: Host, text: str) -> Envelope | None:
    try:
        return host.seal.open(text)
    except RefusedError:
        return None


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # an error of the user's, which fails once more
        return "(what it says cannot be read)"


def _facts(receiver: str, letter: DeadLetter | None) -> dict[str, object]:
    return {
        "signal_tasks.receiver": receiver,
        "signal_tasks.event_id": letter.event_id if letter else None,
    }
