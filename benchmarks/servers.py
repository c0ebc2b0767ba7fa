"""The servers that a benchmark needs: the given ones, or a broker that starts here."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from signal_tasks.dev.broker import running_broker
from signal_tasks.dev.servers import refusal_of

from .options import Options
from .place import Place


@contextmanager
def running_place(options: Options) -> Generator[Place]:
    """Give the place of a benchmark for as long as the ``with`` block lasts."""
    with (
        TemporaryDirectory(prefix="signal-tasks-benchmark-") as directory,
        running_broker(options.redis_url) as broker,
        _database(options.postgresql_url) as postgresql_url,
    ):
        yield Place(
            redis_url=broker.url,
            run=str(os.getpid()),
            amqp_url=None if refusal_of(options.amqp_url) else options.amqp_url,
            postgresql_url=postgresql_url,
            directory=Path(directory),
            handler_counts=options.handlers,
        )


@contextmanager
def _database(url: str) -> Generator[str | None]:
    """Give the URL of a new database beside that of *url*; None where none is made."""
    name = f"signal_tasks_benchmark_{os.getpid()}"
    try:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except (SQLAlchemyError, ImportError):
        yield None
        return
    try:
        made = make_url(url).set(database=name)
        yield made.render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()
