"""The instance folder: what web and worker share on disk."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask, current_app
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import NullPool

from .models import db

ENGINE_OPTIONS = {
    # A pooled connection would be inherited by the worker's child processes, and
    # SQLite forbids carrying one across a fork.
    "poolclass": NullPool,
    # Seconds to wait while the other process writes.
    "connect_args": {"timeout": 10},
}


def secret_key(instance: Path) -> str:
    """Return the key that web and worker sign with.

    It is taken from the environment variable ``SECRET_KEY``; without one, a random key
    is made once and kept in *instance*, readable for its owner alone.
    """
    given = os.environ.get("SECRET_KEY")
    if given:
        return given
    path = instance / "secret_key"
    with _alone_in(instance):
        if not path.exists():
            draft = path.with_suffix(".draft")
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(32))
            draft.replace(path)
        return path.read_text()


def create_tables(app: Flask) -> None:
    """Create the tables that are missing, whoever of web and worker starts first."""
    with _alone_in(Path(app.instance_path)), app.app_context():
        event.listen(db.engine, "connect", _tune)
        db.create_all()


def outbox() -> Path:
    """Return the folder of sent letters."""
    return _folder("outbox")


def cache_folder() -> Path:
    """Return the folder of cached results."""
    return _folder("cache")


def _tune(connection: DBAPIConnection, _record: object) -> None:
    """Let readers not wait for a writer, nor a writer for the disk at each commit."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _folder(name: str) -> Path:
    folder = Path(current_app.instance_path) / name
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def _alone_in(instance: Path) -> Iterator[None]:
    """Keep the other processes out while this one sets up the folder."""
    instance.mkdir(parents=True, exist_ok=True)
    with (instance / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
