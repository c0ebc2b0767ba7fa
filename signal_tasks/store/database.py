"""The connection to the store's database."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, make_url

from .tables import metadata


class Store:
    """A database for what the bridge keeps.

    Args:
        url: SQLAlchemy's URL of it. A SQLite file is made when it is first needed, with
            its tables; elsewhere ``create()`` makes them.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._engine: Engine | None = None
        self._engine_pid = 0

    @property
    def address(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    def create(self) -> None:
        """Make the tables that are not there yet."""
        metadata.create_all(self._connected())

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """Open a transaction that commits at the end of the block."""
        engine = self._connected()
        if self._url.get_backend_name() == "sqlite":
            metadata.create_all(engine)
        with engine.begin() as connection:
            yield connection

    def _connected(self) -> Engine:
        # A forked child must not talk over its parent's connections.
        if self._engine is None or self._engine_pid != os.getpid():
            self._engine, self._engine_pid = create_engine(self._url), os.getpid()
        return self._engine
