"""Databases of each kind for the store, and a clock that a test sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.servers import (
    POSTGRESQL,
    UnreachableError,
    missing,
    postgresql_database,
)

DATABASES = ("sqlite", "postgresql")


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    time: datetime = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, seconds: float) -> None:
        """Let so many seconds go by."""
        self.time += timedelta(seconds=seconds)


def new_postgresql(cleanup: ExitStack) -> str:
    """Return the URL of a database that is dropped in the end, or skip the test."""
    try:
        return cleanup.enter_context(postgresql_database(POSTGRESQL))
    except UnreachableError as error:  # pragma: no cover  # where there is no server
        missing(error)


def database_url(kind: str, folder: Path) -> Iterator[str]:
    """Give the URL of a database of a kind, with nothing in it."""
    with ExitStack() as cleanup:
        if kind == "postgresql":
            yield new_postgresql(cleanup)
        else:
            yield f"sqlite:///{folder / 'store.sqlite3'}"


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a database of each kind, with nothing in it."""
    yield from database_url(request.param, tmp_path)
