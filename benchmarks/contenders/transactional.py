"""signal_tasks with a database: deliveries that go by the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

from ..events import Event
from ..place import Place
from .contender import MissingError
from .ours import Direct


class Commit(Direct):
    """The messages leave with the commit, of a transaction that has only read.

    What the commit itself takes, some fifty microseconds, is counted.
    """

    name = "commit"
    delivery = "commit"

    def create_app(self) -> Flask:
        """Return an app with Flask-SQLAlchemy."""
        app = super().create_app()
        self._db = SQLAlchemy(app)
        return app

    @property
    def settings(self) -> dict[str, Any]:
        """With the database, in which the store is as well."""
        settings = {**super().settings, "SQLALCHEMY_DATABASE_URI": self.database_url}
        del settings["SIGNAL_TASKS_STORE_URL"]
        return settings

    @property
    def database_url(self) -> str:
        """A SQLite file."""
        return f"sqlite:///{self.place.directory}/{self.name}.db"

    def prepare(self, events: Sequence[Event]) -> None:
        """Begin a transaction."""
        super().prepare(events)
        self._db.session.execute(text("SELECT 1"))

    def send(self, events: Sequence[Event]) -> None:
        """Send the signal and commit."""
        super().send(events)
        self._db.session.commit()


class OutboxSQLite(Commit):
    """Rows in the caller's transaction, which is committed later by the caller."""

    name = "outbox_sqlite"
    delivery = "outbox"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.host.store.create()

    def send(self, events: Sequence[Event]) -> None:
        """Send the signal."""
        Direct.send(self, events)

    def settle(self) -> None:
        """Commit."""
        self._db.session.commit()
        super().settle()


class OutboxPostgreSQL(OutboxSQLite):
    """The same in PostgreSQL."""

    name = "outbox_postgresql"

    def __init__(self, place: Place) -> None:
        if place.postgresql_url is None:
            raise MissingError("no PostgreSQL")
        super().__init__(place)

    @property
    def database_url(self) -> str:
        """A database of the benchmark's own."""
        return str(self.place.postgresql_url)
