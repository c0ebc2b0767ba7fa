"""What the broker did not take is kept, and published when it is back.

In: envelopes on their way to the broker. Out: the same; or rows of an outbox, which a
thread of this process publishes, in order, as soon as the broker takes them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from ..envelope import Envelope
from ..exceptions import PublishError, SignalTasksError
from ..host import Publisher
from ..per_process import PerProcess
from .announcing import names_in, tell_spooled

_logger = logging.getLogger(__name__)


class SpoolRows(Protocol):
    """An outbox, of which the spool uses this."""

    def add(self, envelopes: Sequence[Envelope], *, is_spooled: bool) -> None:
        """Keep *envelopes*, or raise."""
        ...

    @property
    def is_there(self) -> bool:
        """Whether rows may be there already; no server is asked for it."""
        ...

    def has_spooled(self) -> bool:
        """Tell whether there are rows that wait for the broker."""
        ...


class _Queue:
    """What one process knows of the rows, and its thread that publishes them."""

    __slots__ = ("has_looked", "has_news", "is_behind", "lock", "thread")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None
        self.has_news = False
        self.has_looked = False
        self.is_behind = False


class Spool:
    """Keeps envelopes that a publisher could not hand to the broker.

    While any wait, those that come later queue up behind them, for a receiver's events
    are to keep their order.

    Args:
        publisher: The way to the broker.
        rows: Returns where envelopes are kept.
        drain: Publishes the rows there until none is left, however long that takes.
        application: Whose events they are.
        is_wanted: Tells whether to keep anything; a send that raises tells its caller.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        rows: Callable[[], SpoolRows],
        drain: Callable[[], None],
        application: object,
        is_wanted: Callable[[], bool],
    ) -> None:
        self._publisher = publisher
        self._rows = rows
        self._drain = drain
        self._application = application
        self._is_wanted = is_wanted
        self._queue = PerProcess(_Queue)

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Pass *envelopes* on, or keep those that the broker does not take.

        Raises:
            PublishError: Some did not leave, and are not kept either.
        """
        queue = self._queue.own
        if not queue.has_looked:
            self._look_for_rows(queue)
        if queue.is_behind and self._is_wanted():
            self._queue_up(envelopes)
            return
        try:
            self._publisher.publish(envelopes)
        except PublishError as error:
            unsent = [
                one for one in envelopes if error.leaves_unsent(one.id, one.receiver)
            ]
            if not unsent or not self._is_wanted():
                raise
            self._keep(unsent, error)
            lost = [
                one
                for one in envelopes
                if one not in unsent and error.holds_back(one.id, one.receiver)
            ]
            if lost:
                raise PublishError(
                    str(error),
                    receivers=names_in(lost),
                    events={(one.id, one.receiver) for one in lost},
                ) from error

    def _queue_up(self, envelopes: Sequence[Envelope]) -> None:
        try:
            self._rows().add(envelopes, is_spooled=True)
        except SignalTasksError:
            # The order is worth less than the event.
            self._publisher.publish(envelopes)
            return
        tell_spooled(self._application, envelopes, None)
        self._wake()

    def _keep(self, unsent: Sequence[Envelope], error: PublishError) -> None:
        try:
            self._rows().add(unsent, is_spooled=True)
        except SignalTasksError as store_error:
            raise PublishError(
                f"{error} Nor could the event be kept for later: {store_error}",
                receivers=error.receivers,
                events=error.events,
            ) from error
        tell_spooled(self._application, unsent, error)
        self._wake()

    def _look_for_rows(self, queue: _Queue) -> None:
        """Let the thread see whether a process before this one has left something."""
        queue.has_looked = True
        if self._is_wanted():
            # In the thread, for the store is not cheap to come by.
            self._wake(is_behind=False)

    def _wake(self, *, is_behind: bool = True) -> None:
        queue = self._queue.own
        with queue.lock:
            queue.has_news = True
            queue.is_behind = queue.is_behind or is_behind
            if queue.thread is not None:
                return
            thread = threading.Thread(target=self._work, args=(queue,), daemon=True)
            # There may be too many, or the interpreter is about to end. Then the next
            # event tries again, or the next process finds the rows.
            with suppress(RuntimeError):
                thread.start()
                queue.thread = thread

    def _has_rows(self) -> bool:
        rows = self._rows()
        return rows.is_there and rows.has_spooled()

    def _work(self, queue: _Queue) -> None:
        while _is_to_go_on(queue):
            try:
                # Where something waits for certain, the drain waits for the store, too.
                if queue.is_behind or self._has_rows():
                    queue.is_behind = True
                    self._drain()
            except Exception:
                _logger.exception("the events that wait for the broker were left there")


def _is_to_go_on(queue: _Queue) -> bool:
    """Tell whether rows came since the thread looked last; if not, it ends."""
    with queue.lock:
        goes_on, queue.has_news = queue.has_news, False
        if not goes_on:
            queue.is_behind = False
            queue.thread = None
        return goes_on
