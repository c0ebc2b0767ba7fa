"""The connection to the store's database."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from ..exceptions import ConfigurationError, StoreError
from .tables import metadata

# A lock that another process holds is waited for, and a server that says nothing is
# left: for a worker's main process keeps dead letters, too.
_PATIENCE: Mapping[str, Mapping[str, object]] = {
    "pysqlite": {"timeout": 30},
    "psycopg": {"connect_timeout": 5},
    "psycopg2": {"connect_timeout": 5},
}


class Store:
    """A database for what the bridge keeps.

    It holds no connection between two transactions, so that workers may fork and
    nothing needs to be closed.

    Args:
        url: SQLAlchemy's URL of it. A SQLite file is made when it is first needed, with
            its tables; elsewhere ``create()`` makes them.
        folder: Where the relative path of a SQLite file begins.
        connect_args: What the driver wants to know besides.

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
    ) -> None:
        parsed = _parsed(url)
        self._file = _file_of(parsed, Path(folder))
        self._url = parsed.set(database=str(self._file)) if self._file else parsed
        self._engine = _new_engine(self._url, connect_args or {})
        self._has_file = False

    @property
    def address(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    def create(self) -> None:
        """Make the tables that are not there yet.

        Raises:
            StoreError: The database did not do it.
        """
        with self._translating():
            self._create()

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """Open a transaction that commits at the end of the block.

        Raises:
            StoreError: The database did not do it.
        """
        with self._translating():
            if self._file and not (self._has_file and self._file.exists()):
                self._create()
                self._has_file = True
            with self._engine.begin() as connection:
                yield connection

    def _create(self) -> None:
        if self._file:
            _make_folder(self._file.parent)
        try:
            metadata.create_all(self._engine)
        except DBAPIError:
            # Another process may have made them since it was asked what is there.
            metadata.create_all(self._engine)

    @contextmanager
    def _translating(self) -> Generator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            # Not `from error`: what a driver adds may quote a whole row.
            raise StoreError(
                f"the store at {self.address} did not do it ({_gist(error)}). Is it "
                "reachable, and has `flask signal-tasks store create` made its tables?"
            ) from None


def is_in_memory(url: URL) -> bool:
    """Tell whether no other process sees the database at *url*."""
    if url.get_backend_name() != "sqlite":
        return False
    return url.database in {None, "", ":memory:"} or url.query.get("mode") == "memory"


def _parsed(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # It may hold a password, so neither it nor the error that quotes it is shown.
        raise ConfigurationError(
            "the store's URL (SIGNAL_TASKS_STORE_URL) is no URL of a database. Write it "
            "as SQLAlchemy does: sqlite:///file.sqlite3, or "
            "postgresql+psycopg://user:password@host/database."
        ) from None
    if is_in_memory(parsed):
        raise ConfigurationError(
            "the store (SIGNAL_TASKS_STORE_URL) is a database in memory, which nobody "
            "else sees and which ends with its process. Name a file or a server."
        )
    return parsed


def _file_of(url: URL, folder: Path) -> Path | None:
    """Return the file of a SQLite database that is named by its path."""
    database = url.database
    if url.get_backend_name() != "sqlite" or not database:
        return None
    return None if database.startswith("file:") else folder / database


def _new_engine(url: URL, connect_args: Mapping[str, object]) -> Engine:
    try:
        driver = url.get_driver_name()
        patience = {
            name: value
            for name, value in _PATIENCE.get(driver, {}).items()
            if name not in url.query
        }
        known: dict[str, Any] = {**patience, **connect_args}
        return create_engine(
            url, poolclass=NullPool, hide_parameters=True, connect_args=known
        )
    except (ImportError, ArgumentError) as error:
        raise ConfigurationError(
            f"the store at {url.render_as_string(hide_password=True)} cannot be used "
            f"({error}). Install its driver: for PostgreSQL, "
            "`pip install 'signal-tasks[postgresql]'`."
        ) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder {folder} cannot be made for the store ({error.strerror}). Let "
            "this process write there, or set SIGNAL_TASKS_STORE_URL to a database that "
            "it reaches."
        ) from error


def _gist(error: SQLAlchemyError) -> str:
    """Return an error's class, and of what it says the first line."""
    cause = getattr(error, "orig", None) or error
    said = str(cause).partition("\n")[0]
    return f"{type(cause).__name__}: {said}"
