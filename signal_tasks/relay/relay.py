"""The outbox relay: rows that are due become messages on the broker.

In: outboxes. Out: their envelopes, to a publisher, in order; and the outboxes' note that
they have left. A relay may be killed at any point: what it had taken is due again when
its lease is over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..exceptions import PublishError, SignalTasksError, StoreError
from ..host import Publisher
from .outbox import OutboxRow

_logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 100

LEASE_SECONDS: Final = 30.0
"""For how long rows are one relay's: longer than a batch ever takes to publish."""

_LONGEST_PAUSE: Final = 5.0
_CHORE_INTERVAL: Final = 10.0

# A receiver whose messages cannot be made wants new code, or other settings.
_UNMADE_DELAY: Final = 60.0

# A queue that is full is emptied, and meanwhile the other receivers' rows are to leave.
_REFUSED_DELAY: Final = 10.0

Receivers = Callable[[], Collection[str]]


class RelayOutbox(Protocol):
    """An outbox, of which the relay uses this."""

    def take_due(
        self,
        limit: int,
        *,
        lease_seconds: float,
        receivers: Collection[str] | None = None,
    ) -> list[OutboxRow]:
        """Take rows that are due, for a time."""
        ...

    def mark_published(self, rows: Iterable[OutboxRow]) -> None:
        """Note that *rows* were published."""
        ...

    def put_back(self, rows: Iterable[OutboxRow], *, delay_seconds: float = 0) -> None:
        """Make *rows* due again."""
        ...

    def has_spooled(self, receivers: Collection[str] | None = None) -> bool:
        """Tell whether there are rows that are only to be published."""
        ...


class Waiter(Protocol):
    """Knows when to look for rows again."""

    def wait(self, stop: threading.Event) -> None:
        """Return when there may be rows, when *stop* is set, or after a moment."""
        ...


@dataclass(slots=True)
class _Outage:
    """Something that does not work for a while, which is logged once."""

    what: str
    failures: int = 0

    def begin(self, error: Exception) -> None:
        """Note a failure."""
        if not self.failures:
            _logger.warning(
                "the outbox relay waits for the %s, and tries again: %s",
                self.what,
                error,
            )
        self.failures += 1

    def end(self) -> None:
        """Note a success."""
        if self.failures:
            _logger.info("the %s works again, and the outbox relay goes on.", self.what)
        self.failures = 0

    @property
    def pause(self) -> float:
        """How many seconds to wait before the next try."""
        return min(0.1 * 2.0 ** min(self.failures, 10), _LONGEST_PAUSE)


class Relay:
    """Publishes the rows of outboxes.

    Args:
        outboxes: Where rows are.
        publisher: The way to the broker.
        receivers: Returns the names of the receivers that this process knows, whose
            rows it takes; without it, those of all.
        batch_size: How many rows it takes at a time.
        chores: Done now and then, before anything else; it may raise ``StoreError``.
        clock: Returns the time in seconds; it never goes back.
    """

    def __init__(
        self,
        outboxes: Sequence[RelayOutbox],
        publisher: Publisher,
        *,
        receivers: Receivers | None = None,
        batch_size: int = BATCH_SIZE,
        chores: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outboxes = outboxes
        self._publisher = publisher
        self._receivers = receivers
        self._batch_size = batch_size
        self._chores = chores
        self._clock = clock
        self._chores_due = clock()
        self._broker_outage = _Outage("broker")
        self._store_outage = _Outage("store")
        self._unnoted: dict[RelayOutbox, list[OutboxRow]] = {}
        self._unmade: PublishError | None = None
        self._refused: PublishError | None = None
        # What a slow broker takes in the time that a publish has.
        self._limit = batch_size
        self.published = 0
        """How many messages have left so far."""

    def run(self, waiter: Waiter, stop: threading.Event) -> None:
        """Publish what is due, and what becomes due, until *stop* is set.

        A store or a broker that does not work is waited for.
        """
        while not stop.is_set():
            if not self._step(stop):
                waiter.wait(stop)

    def run_once(self, stop: threading.Event) -> None:
        """Publish what is due, until nothing is, or *stop* is set.

        Raises:
            PublishError: The broker did not take it, and it is due again; or it wants
                none of some rows, or messages cannot be made of them, and they stay for
                a while.
            StoreError: The store did not do it.
        """
        while not stop.is_set() and self._pass_all():
            pass
        failure = self._unmade or self._refused
        if failure is not None:
            raise failure

    def drain(self, stop: threading.Event) -> None:
        """Publish spooled rows until none is left that can be, or *stop* is set.

        A store or a broker that does not work is waited for. So are rows that another
        process is publishing.
        """
        while not stop.is_set() and self._has_spooled(stop):
            if not self._step(stop):
                if self._unmade is not None:
                    return
                stop.wait(1)

    def _step(self, stop: threading.Event) -> bool:
        """Publish a batch of each outbox; tell whether there were any rows.

        After a failure it waits, and then it tells that there may be more.
        """
        try:
            self._do_chores()
            has_rows = self._pass_all()
        except PublishError as error:
            return self._sit_out(self._broker_outage, error, stop)
        except StoreError as error:
            return self._sit_out(self._store_outage, error, stop)
        except Exception:
            _logger.exception("the outbox relay failed, and tries again.")
            stop.wait(_LONGEST_PAUSE)
            return True
        self._store_outage.end()
        return has_rows

    def _sit_out(
        self, outage: _Outage, error: SignalTasksError, stop: threading.Event
    ) -> bool:
        outage.begin(error)
        stop.wait(outage.pause)
        return True

    def _has_spooled(self, stop: threading.Event) -> bool:
        names = self._names()
        try:
            return any(one.has_spooled(names) for one in self._outboxes)
        except StoreError as error:
            return self._sit_out(self._store_outage, error, stop)

    def _names(self) -> Collection[str] | None:
        return None if self._receivers is None else self._receivers()

    def _do_chores(self) -> None:
        if self._chores is not None and self._clock() >= self._chores_due:
            self._chores()
            self._chores_due = self._clock() + _CHORE_INTERVAL

    def _pass_all(self) -> bool:
        had_rows = [self._pass(outbox) for outbox in self._outboxes]
        return any(had_rows)

    def _pass(self, outbox: RelayOutbox) -> bool:
        """Publish one batch; tell whether there was anything in it."""
        self._note(outbox)
        rows = outbox.take_due(
            self._limit, lease_seconds=LEASE_SECONDS, receivers=self._names()
        )
        if rows:
            self._publish(outbox, rows)
        return bool(rows)

    def _publish(self, outbox: RelayOutbox, rows: list[OutboxRow]) -> None:
        failure: PublishError | None = None
        try:
            self._publisher.publish([row.envelope for row in rows])
        except PublishError as error:
            failure = error
        except BaseException:
            outbox.put_back(rows, delay_seconds=_LONGEST_PAUSE)
            raise
        held = [row for row in rows if _is_held_back(row, failure)]
        self._unnoted[outbox] = left = [row for row in rows if row not in held]
        self.published += len(left)
        self._note(outbox)
        if failure is None:
            self._limit = min(self._limit + 1, self._batch_size)
        else:
            self._put_back(outbox, held, failure, has_left=bool(left))
        self._broker_outage.end()

    def _put_back(
        self,
        outbox: RelayOutbox,
        rows: list[OutboxRow],
        failure: PublishError,
        *,
        has_left: bool,
    ) -> None:
        """Make *rows*, which have not left, due again when it is time for that.

        Raises:
            PublishError: The broker has failed, for these and all others.
        """
        unsent = [row for row in rows if failure.leaves_unsent(*_key_of(row))]
        unmade = [row for row in rows if row not in unsent]
        is_outage = bool(unsent) and failure.is_outage
        outbox.put_back(unsent, delay_seconds=0 if is_outage else _REFUSED_DELAY)
        outbox.put_back(unmade, delay_seconds=_UNMADE_DELAY)
        if unmade:
            self._unmade = failure
        if unsent and not is_outage:
            self._refused = failure
        if unmade or not is_outage:
            _logger.error("rows of the outbox stay there for now: %s", failure)
        if is_outage and not has_left:
            raise failure
        if is_outage:
            # It works, if not as fast as it would take to publish them all.
            self._limit = max(self._limit // 2, 1)

    def _note(self, outbox: RelayOutbox) -> None:
        """Note what has left, also what could not be noted when it had."""
        rows = self._unnoted.get(outbox)
        if rows:
            outbox.mark_published(rows)
            self._unnoted[outbox] = []


def drain(
    outbox: RelayOutbox,
    publisher: Publisher,
    *,
    receivers: Receivers | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Publish the spooled rows of *outbox* until none is left, however long that takes.

    Args:
        outbox: Where they are.
        publisher: The way to the broker.
        receivers: Returns the names of those whose rows are meant; without it, all.
        stop: Set to end it early.
    """
    relay = Relay([outbox], publisher, receivers=receivers)
    relay.drain(stop or threading.Event())


def _is_held_back(row: OutboxRow, failure: PublishError | None) -> bool:
    return failure is not None and failure.holds_back(*_key_of(row))


def _key_of(row: OutboxRow) -> tuple[str, str]:
    return row.envelope.id, row.envelope.receiver
