"""A relay at work on a store: it tells that it is alive, and sweeps up."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..exceptions import StoreError
from ..host import Publisher
from .relay import BATCH_SIZE, Receivers, Relay, Waiter

if TYPE_CHECKING:
    from ..store import Store  # it imports SQLAlchemy, which a start would pay for

_SWEEP_INTERVAL = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """How a relay works."""

    batch_size: int = BATCH_SIZE

    keep_keys: timedelta = timedelta(days=7)
    """For how long it is remembered which events were handled."""


class Relaying:
    """The work of a relay on the outboxes of a store.

    Args:
        store: Where rows are, and where it tells of itself.
        publisher: The way to the broker.
        receivers: Returns the names of the receivers that this process knows.
        settings: How it works.
    """

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        *,
        receivers: Receivers,
        settings: RelaySettings,
    ) -> None:
        self._store = store
        self._keep_keys = settings.keep_keys
        self._started_at = datetime.now(UTC)
        self._swept_at: datetime | None = None
        self._relay = Relay(
            store.outboxes,
            publisher,
            receivers=receivers,
            batch_size=settings.batch_size,
            chores=self._do_chores,
        )

    @property
    def name(self) -> str:
        """What the store knows it by."""
        return f"{socket.gethostname()}:{os.getpid()}"

    @property
    def address(self) -> str:
        """Where the store is."""
        return self._store.address

    @property
    def published(self) -> int:
        """How many messages have left so far."""
        return self._relay.published

    def run(
        self,
        stop: threading.Event,
        *,
        rest: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Publish what is due, and what becomes due, until *stop* is set.

        Args:
            stop: Set to end it, after the batch at hand.
            rest: Entered whenever it waits for rows.
        """
        listener = self._store.listener()
        try:
            self._relay.run(_Resting(listener, rest), stop)
        finally:
            listener.close()
            with suppress(StoreError):
                self._store.relays.forget(self.name)

    def run_once(self, stop: threading.Event) -> None:
        """Publish what is due, until nothing is, or *stop* is set.

        Raises:
            PublishError: The broker did not take it.
            StoreError: The store did not do it.
        """
        self._relay.run_once(stop)

    def _do_chores(self) -> None:
        self._store.relays.note(self.name, started_at=self._started_at)
        now = datetime.now(UTC)
        if self._swept_at is None or now - self._swept_at >= _SWEEP_INTERVAL:
            self._store.inbox.forget(self._keep_keys)
            self._swept_at = now


class _Resting:
    """Waits inside a context manager."""

    def __init__(
        self, waiter: Waiter, rest: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._waiter = waiter
        self._rest = rest

    def wait(self, stop: threading.Event) -> None:
        with self._rest():
            self._waiter.wait(stop)
