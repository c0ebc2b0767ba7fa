"""The connection to the store's database."""

from __future__ import annotations

import os
import weakref
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    NullPool,
    create_engine,
    event,
    inspect,
    make_url,
)
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    OperationalError,
    SQLAlchemyError,
)

from ..exceptions import ConfigurationError, StoreError
from .tables import metadata

# A lock that another process holds is waited for, and a server that says nothing is
# left: for a worker's main process keeps dead letters, too.
_PATIENCE: Mapping[str, Mapping[str, object]] = {
    "pysqlite": {"timeout": 30},
    "psycopg": {"connect_timeout": 5},
    "psycopg2": {"connect_timeout": 5},
}

_PORTS: Mapping[str, int] = {"postgresql": 5432}

# A connection that has died since its last use is replaced. There is no limit to them
# but the number of threads, for nobody is to wait for one.
_POOL: Mapping[str, Any] = {
    "pool_size": 4,
    "max_overflow": -1,
    "pool_pre_ping": True,
    "pool_use_lifo": True,
    "isolation_level": "READ COMMITTED",
}

_READS: Mapping[str, Any] = {"signal_tasks_begin": "BEGIN"}


class StoreDatabase:
    """A database, and its transactions.

    A SQLite file is opened for each of them. To a server, connections are kept for the
    next ones, by each process for itself, so that workers may fork.

    Args:
        url: SQLAlchemy's URL of it. A SQLite file is made when it is first needed, with
            its tables; elsewhere ``create()`` makes them.
        folder: Where the relative path of a SQLite file begins.
        connect_args: What the driver wants to know besides.
        is_shared: Whether a SQLite file is somebody else's as well, whose journal mode
            is then left alone.

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
    ) -> None:
        parsed = _parsed(url)
        self._file = _file_of(parsed, Path(folder))
        self._url = parsed.set(database=str(self._file)) if self._file else parsed
        self._connect_args = dict(connect_args or {})
        self._is_shared = is_shared
        self._has_file = False
        self._engines = {os.getpid(): _new_engine(self._url, self._connect_args)}
        weakref.finalize(self, _close_own, self._engines)

    @property
    def address(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    @property
    def url(self) -> URL:
        """Where it is, with its password."""
        return self._url

    @property
    def is_there(self) -> bool:
        """Whether there may be something in it; only a file is looked for."""
        return self._file is None or self._file.exists()

    def file_beside(self, name: str) -> URL | None:
        """Return the URL of another SQLite file beside this one, if this is one."""
        if self._file is None:
            return None
        file = self._file.with_stem(f"{self._file.stem}_{name}")
        return URL.create("sqlite", database=str(file.absolute()))

    def is_reached_by(self, connection: Connection | Engine) -> bool:
        """Tell whether *connection*, somebody else's, leads to this database."""
        return _identity(connection.engine.url) == _identity(self._url)

    def create(self) -> None:
        """Make the tables that are not there yet.

        Raises:
            StoreError: The database did not do it.
        """
        with self.translating():
            self._create()

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """Open a transaction that commits at the end of the block.

        SQLite has one writer at a time, and this is it from the first statement on.

        Raises:
            StoreError: The database did not do it.
        """
        with self.translating():
            self._make_file()
            with self._engine.begin() as connection:
                yield connection

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """Open a transaction that writes nothing, and waits for no writer.

        Raises:
            StoreError: The database did not do it.
        """
        with self.translating():
            self._make_file()
            with self._engine.connect() as connection:
                yield connection.execution_options(**_READS)

    @property
    def can_listen(self) -> bool:
        """Whether the driver of its connections hears of PostgreSQL's notices."""
        return self._url.get_backend_name() == "postgresql" and (
            self._engine.driver == "psycopg"
        )

    def connect_for_good(self) -> Connection:
        """Return a connection that its user keeps and closes, without transactions."""
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    @property
    def driver_error(self) -> type[Exception]:
        """What the driver raises; SQLAlchemy does not wrap it where it is not asked."""
        error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        return error

    @contextmanager
    def inside(self, connection: Connection) -> Generator[Connection]:
        """Use *connection*, whose transaction its owner commits.

        Raises:
            StoreError: The database did not do it.
        """
        with self.translating():
            yield connection

    @contextmanager
    def translating(self) -> Generator[None]:
        """Raise ``StoreError`` for what SQLAlchemy raises inside the block."""
        try:
            yield
        except SQLAlchemyError as error:
            # Not `from error`: what a driver adds may quote a whole row.
            raise StoreError(
                f"the store at {self.address} did not do it ({_gist(error)}). Is it "
                "reachable, and has `flask signal-tasks store create` made its tables?"
            ) from None

    @property
    def _engine(self) -> Engine:
        # A forked child must not talk over its parent's sockets, nor close them.
        engine = self._engines.get(os.getpid())
        if engine is None:
            new = _new_engine(self._url, self._connect_args)
            engine = self._engines.setdefault(os.getpid(), new)
        return engine

    def _make_file(self) -> None:
        if self._file and not (self._has_file and self._file.exists()):
            self._create()

    def _create(self) -> None:
        if self._file:
            _make_folder(self._file.parent)
            if not self._is_shared and not self._file.exists():
                _start_write_ahead_log(self._engine)
        self._make_tables()
        # Not before, for other threads take it that the tables are there, too.
        self._has_file = self._file is not None

    def _make_tables(self) -> None:
        # Asked first, for to write may mean to wait for a lock.
        with self._engine.connect() as connection:
            if not _lacks_tables(connection.execution_options(**_READS)):
                return
        try:
            metadata.create_all(self._engine)
        except DBAPIError:
            # Others may have made them since it was asked what is there.
            metadata.create_all(self._engine)


def make_missing_tables(connection: Connection) -> bool:
    """Make the tables in the SQLite database of *connection*, in its transaction.

    Another connection would wait for the lock that this one may hold.

    Returns:
        Whether some were missing.
    """
    if connection.dialect.name != "sqlite" or not _lacks_tables(connection):
        return False
    metadata.create_all(connection)
    return True


def _lacks_tables(connection: Connection) -> bool:
    return not set(metadata.tables) <= set(inspect(connection).get_table_names())


def is_in_memory(url: URL) -> bool:
    """Tell whether no other process sees the database at *url*."""
    if url.get_backend_name() != "sqlite":
        return False
    return url.database in {None, "", ":memory:"} or url.query.get("mode") == "memory"


def _identity(url: URL) -> tuple[object, ...]:
    """Return what two URLs of one database have in common, whatever their drivers."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        return backend, str(Path(url.database or "").absolute())
    host = url.host if url.host not in {None, "localhost"} else "127.0.0.1"
    return backend, host, url.port or _PORTS.get(backend), url.database


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
        options: dict[str, Any] = {"hide_parameters": True, "connect_args": known}
        if url.get_backend_name() != "sqlite":
            return create_engine(url, **options, **_POOL)
        engine = create_engine(url, **options, poolclass=NullPool)
    except (ImportError, ArgumentError) as error:
        raise ConfigurationError(
            f"the store at {url.render_as_string(hide_password=True)} cannot be used "
            f"({error}). Install its driver: for PostgreSQL, "
            "`pip install 'signal-tasks[postgresql]'`."
        ) from error
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", _begin)
    return engine


def _leave_transactions_to_us(connection: Any, _: object) -> None:
    """Let the driver of SQLite begin nothing, for it would begin with a read lock.

    A reader that then wants to write is refused at once if another has written.
    """
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    statement: str = options.get("signal_tasks_begin", "BEGIN IMMEDIATE")
    if statement:
        connection.exec_driver_sql(statement)


def _start_write_ahead_log(engine: Engine) -> None:
    """Let readers and a writer work at the same time; the file remembers it.

    ``synchronous`` stays at ``FULL``, for a commit is to survive a loss of power.
    """
    # Another process that does it at the same time may hold a lock.
    with suppress(OperationalError), engine.connect() as connection:
        options = {"signal_tasks_begin": ""}
        connection.execution_options(**options).exec_driver_sql(
            "PRAGMA journal_mode=WAL"
        )


def _close_own(engines: dict[int, Engine]) -> None:
    engine = engines.pop(os.getpid(), None)
    if engine is not None:
        engine.dispose()


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
