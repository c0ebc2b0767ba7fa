"""The store: one database, and what the bridge keeps in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import URL

from .database import StoreDatabase
from .dead_letters import StoredDeadLetters
from .inbox import Inbox
from .listening import Listener
from .moments import Clock, now_in_utc
from .outbox import RESUBMIT_AFTER_SECONDS, Outbox
from .relays import Relays


class Store(StoreDatabase):
    """A database for what the bridge keeps.

    A SQLite file is opened for each of them. To a server, connections are kept for the
    next ones, by each process for itself, so that workers may fork.

    Args:
        url: SQLAlchemy's URL of it. A SQLite file is made when it is first needed, with
            its tables; elsewhere ``create()`` makes them.
        folder: Where the relative path of a SQLite file begins.
        connect_args: What the driver wants to know besides.
        is_shared: Whether a SQLite file is somebody else's as well, whose journal mode
            is then left alone.
        resubmit_after_seconds: After how long an outbox row that was published and is
            not handled is published again.
        now: Tells the time, in UTC.

    Raises:
        ConfigurationError: The URL is none, its driver is not installed, or it is of a
            database in memory, which would be gone with its process.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        folder: str | Path = "",
        connect_args: Mapping[str, object] | None = None,
        is_shared: bool = False,
        resubmit_after_seconds: float = RESUBMIT_AFTER_SECONDS,
        now: Clock = now_in_utc,
    ) -> None:
        super().__init__(
            url, folder=folder, connect_args=connect_args, is_shared=is_shared
        )
        self._resubmit_after_seconds = resubmit_after_seconds
        self._now = now
        spool_file = self.file_beside("spool")
        self._spool = spool_file and StoreDatabase(spool_file)

    @property
    def dead_letters(self) -> StoredDeadLetters:
        """What no worker runs until it is replayed."""
        return StoredDeadLetters(self)

    @property
    def outbox(self) -> Outbox:
        """What is still to be published, or to be handled."""
        return Outbox(
            self,
            resubmit_after_seconds=self._resubmit_after_seconds,
            now=self._now,
        )

    @property
    def spool(self) -> Outbox:
        """What the broker did not take.

        Beside a SQLite file it is a file of its own: the sender's transaction may hold
        the lock of the first one for as long as it waits for us.
        """
        return Outbox(self._spool or self, now=self._now)

    @property
    def outboxes(self) -> list[Outbox]:
        """All that a relay publishes from, each in a database of its own."""
        return [self.outbox] if self._spool is None else [self.outbox, self.spool]

    @property
    def relays(self) -> Relays:
        """Who publishes what is in the outbox."""
        return Relays(self, now=self._now)

    def listener(self) -> Listener:
        """Return what waits for rows."""
        return Listener(self)

    @property
    def inbox(self) -> Inbox:
        """What is handled, and who is handling what."""
        return Inbox(self, now=self._now)
