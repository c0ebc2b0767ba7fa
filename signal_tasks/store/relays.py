"""Which relays are at work on a store."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete

from .database import StoreDatabase
from .moments import Clock, now_in_utc
from .tables import relays
from .upserts import insert_into

_FORGET_AFTER = timedelta(days=1)


class Relays:
    """The relays of a store, as they tell of themselves.

    Args:
        database: Where that is noted.
        now: Tells the time, in UTC.
    """

    def __init__(self, database: StoreDatabase, *, now: Clock = now_in_utc) -> None:
        self._database = database
        self._now = now

    def note(self, name: str, *, started_at: datetime) -> None:
        """Note that the relay *name* is at work, and forget those that are long gone.

        Raises:
            StoreError: The database did not do it.
        """
        now = self._now()
        facts = {"started_at": started_at, "seen_at": now}
        with self._database.begin() as connection:
            first = insert_into(connection, relays).values(name=name, **facts)
            connection.execute(
                first.on_conflict_do_update(index_elements=["name"], set_=facts)
            )
            gone = relays.c.seen_at < now - _FORGET_AFTER
            connection.execute(delete(relays).where(gone))

    def forget(self, name: str) -> None:
        """Forget the relay *name*, for it has ended.

        Raises:
            StoreError: The database did not do it.
        """
        with self._database.begin() as connection:
            connection.execute(delete(relays).where(relays.c.name == name))
