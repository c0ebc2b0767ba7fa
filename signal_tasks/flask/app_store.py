"""Where a Flask app's store is: as configured, the app's own database, or a file.

It imports SQLAlchemy, which costs a start more than all the rest, so the extension
imports it when the store is first needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask
from sqlalchemy import URL, Engine

from ..event import quiet
from ..store import Store, is_in_memory
from .request_context import config_of
from .settings import Settings


def store_of(app: Flask) -> Store:
    """Return the store of *app*, connecting to nothing yet.

    Raises:
        ConfigurationError: ``SIGNAL_TASKS_STORE_URL`` is no URL of a database that can
            keep anything.
    """
    config = config_of(app)
    url: str | URL | None = config.get("SIGNAL_TASKS_STORE_URL")
    shared = None if url is not None else _database_url(app)
    if shared is not None and is_in_memory(shared):
        shared = None
    options: Mapping[str, Any] = config.get("SQLALCHEMY_ENGINE_OPTIONS", {})
    return Store(
        url or shared or "sqlite:///signal_tasks.sqlite3",
        folder=app.instance_path,
        connect_args=options.get("connect_args") if shared is not None else None,
        is_shared=shared is not None,
        resubmit_after_seconds=Settings(app).resubmit_after_seconds,
    )


def _database_url(app: Flask) -> URL | None:
    """Return the URL of the database of Flask-SQLAlchemy, or of its -Lite."""
    extension: Any = app.extensions.get("sqlalchemy")
    if extension is None:
        return None
    with quiet(), app.app_context():
        engines: Mapping[str | None, Engine] = extension.engines
        engine = engines.get(None) or engines.get("default")
    return None if engine is None else engine.url
