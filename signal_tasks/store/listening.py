"""How a relay hears of new rows: PostgreSQL tells of them; elsewhere it looks."""

from __future__ import annotations

import threading
from typing import Any, Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from .database import StoreDatabase
from .outbox import CHANNEL

POLL_SECONDS: Final = 0.2

# Not longer, for a relay that is told to end is not to be waited for.
_LISTEN_SECONDS: Final = 0.5


class Listener:
    """Waits for rows.

    With a driver that has no ``notifies()``, as with SQLite, it waits for a moment.

    Args:
        database: Where rows are added.
    """

    def __init__(self, database: StoreDatabase) -> None:
        self._database = database
        self._connection: Connection | None = None

    def wait(self, stop: threading.Event) -> None:
        """Return when rows were added, when *stop* is set, or after a moment."""
        if not self._database.can_listen:
            stop.wait(POLL_SECONDS)
        elif self._connection is None:
            # What came before it listens, it has not heard of; so it does not wait.
            self._connection = self._connected(stop)
        else:
            self._listen(self._connection, stop)

    def close(self) -> None:
        """Listen no more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _connected(self, stop: threading.Event) -> Connection | None:
        try:
            connection = self._database.connect_for_good()
            connection.execute(text(f"LISTEN {CHANNEL}"))
        except SQLAlchemyError:
            # The next look at the rows tells what is wrong.
            stop.wait(POLL_SECONDS)
            return None
        return connection

    def _listen(self, connection: Connection, stop: threading.Event) -> None:
        raw: Any = connection.connection.driver_connection
        try:
            for _ in raw.notifies(timeout=_LISTEN_SECONDS, stop_after=1):
                pass
        except self._database.driver_error:
            self.close()
            stop.wait(POLL_SECONDS)
