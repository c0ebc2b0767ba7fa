"""Who may handle an event, where that is kept track of: claimed, handled, or let go.

In: an event for a receiver that is to handle it once, or one that came through the
outbox. Out: a run of its handler; or none, where somebody has handled it already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from .envelope import Envelope
from .exceptions import (
    CommittedError,
    ConfigurationError,
    LostClaimError,
    StillClaimedError,
    StoreError,
)
from .host import Host
from .inbox import Busy, Claim, InboxOffice
from .settlement import Settlement
from .signals import DuplicateDropped, duplicate_dropped, report

_logger = logging.getLogger(__name__)

# A store that cannot be reached is asked again after this.
_SICK_STORE_SECONDS = 10.0


class Claimed:
    """An event that this process may handle, and nobody else meanwhile.

    Args:
        host: The application that it runs in.
        inbox: Where it is claimed.
        claim: The claim.
        settles: Whether the note that it is handled goes into the handler's transaction.
    """

    def __init__(
        self, host: Host, inbox: InboxOffice, claim: Claim, *, settles: bool
    ) -> None:
        self._host = host
        self._inbox = inbox
        self._claim = claim
        self._settles = settles
        self._settlement = Settlement(self._settle)

    @contextmanager
    def settling(self) -> Generator[None]:
        """Note in the handler's own transaction that it has handled the event.

        To be entered inside the application's context.
        """
        if not self._settles:
            yield
            return
        with self._host.settling(self._settlement):
            yield

    def handle(self, run: Callable[[], object]) -> object:
        """Call *run*, which runs the handler, and note how that ended.

        Raises:
            CommittedError: The handler has committed its work, and failed after that.
            Exception: Whatever else *run* raises; the event may be claimed again.
        """
        try:
            result = run()
        except LostClaimError:
            drop(self._host, self._claim.event_id, self._claim.receiver)
            return None
        except Exception as error:
            if self._settlement.is_done:
                raise CommittedError(
                    type(error).__name__, receiver=self._claim.receiver
                ) from error
            self._release()
            raise
        if not self._settlement.is_done:
            self._finish()
        return result

    def _settle(self, connection: Any) -> bool:
        if not self._inbox.is_in(connection):
            return False
        if not self._inbox.finish(self._claim, connection):
            raise LostClaimError(receiver=self._claim.receiver)
        return True

    def _finish(self) -> None:
        """Note that it is handled, where no transaction of the handler's did."""
        with self._surviving("its event will be handed out again and run twice"):
            if not self._inbox.finish(self._claim):
                _logger.warning(
                    "the handler of %s ran for longer than it had claimed its event, "
                    "which may have been handled twice. Give the receiver a time_limit "
                    "that its handler keeps.",
                    self._claim.receiver,
                    extra=self._facts,
                )

    def _release(self) -> None:
        with self._surviving("it is not tried again before the claim ends"):
            self._inbox.release(self._claim)

    @contextmanager
    def _surviving(self, otherwise: str) -> Generator[None]:
        try:
            yield
        except StoreError:
            _logger.exception(
                "the store did not note how the handler of %s ended, so %s.",
                self._claim.receiver,
                otherwise,
                extra=self._facts,
            )

    @property
    def _facts(self) -> dict[str, object]:
        return {
            "signal_tasks.receiver": self._claim.receiver,
            "signal_tasks.event_id": self._claim.event_id,
        }


def claim(
    host: Host, envelope: Envelope, *, once: bool, lease_seconds: float
) -> Claimed | None:
    """Claim the event in *envelope* for its receiver.

    Args:
        host: The application that it came to.
        envelope: Opened and verified.
        once: Whether the receiver is to handle it once.
        lease_seconds: How long its handler may take.

    Returns:
        The claim; None where the event is handled already, or being handled by somebody
        whose failure would bring it back. That is reported.

    Raises:
        StillClaimedError: It is to be tried again later.
        ConfigurationError: There is no store.
    """
    inbox = host.inbox
    if inbox is None:
        raise ConfigurationError(
            f"receiver {envelope.receiver} needs a store to note in what it has handled. "
            "Give the bridge the one that the sender has: Bridge(celery_app, store=...)."
        )
    try:
        found = inbox.claim(
            envelope.id,
            envelope.receiver,
            is_kept=envelope.is_kept,
            lease_seconds=lease_seconds,
        )
    except StoreError as error:
        # The run is tried again without a word, and again, until somebody mends it.
        _logger.warning(
            "event for %s waits for the store: %s",
            envelope.receiver,
            error,
            extra={
                "signal_tasks.receiver": envelope.receiver,
                "signal_tasks.event_id": envelope.id,
            },
        )
        raise StillClaimedError(
            f"the store was asked whether an event for {envelope.receiver} is handled "
            f"already, and did not answer: {error}",
            seconds=_SICK_STORE_SECONDS,
        ) from error
    if isinstance(found, Claim):
        return Claimed(host, inbox, found, settles=once)
    # A row comes again by itself when its claim is over; a message does not.
    if isinstance(found, Busy) and not envelope.is_kept:
        raise StillClaimedError(
            f"an event for {envelope.receiver} is being handled by another worker, or "
            "was, by one that has ended since.",
            seconds=_seconds_until(found.until),
        )
    drop(host, envelope.id, envelope.receiver)
    return None


def drop(host: Host, event_id: str, receiver: str) -> None:
    """Log and report a message whose event somebody else handles, or has handled."""
    _logger.info(
        "event for %s dropped: it was handed out twice, and is handled elsewhere.",
        receiver,
        extra={"signal_tasks.receiver": receiver, "signal_tasks.event_id": event_id},
    )
    report(
        duplicate_dropped,
        host.application,
        DuplicateDropped(event_id=event_id, receiver=receiver),
    )


def _seconds_until(moment: datetime) -> float:
    return max((moment - datetime.now(UTC)).total_seconds(), 0) + 1
