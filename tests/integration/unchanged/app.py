"""The app, its databases, and how a handler is connected twice."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from blinker import ANY, Signal
from flask import Flask

from signal_tasks import SignalTasks, async_receiver
from tests.integration.book import here

app = Flask("unchanged")
app.secret_key = "only the tutorial's"
signal_tasks = SignalTasks(app)

_TABLES = """
    CREATE TABLE IF NOT EXISTS activity (user, method, path, status);
    CREATE TABLE IF NOT EXISTS audit (user, what, before, after);
    CREATE TABLE IF NOT EXISTS last_modified (user PRIMARY KEY, at);
    CREATE TABLE IF NOT EXISTS views (what PRIMARY KEY, count);
"""


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Give the database of those who run here, and commit."""
    path = Path(os.environ["TEST_FOLDER"], f"{here()}.sqlite")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(_TABLES)
        yield connection


def connect_twice(
    signal: Signal,
    handler: Callable[..., None],
    *,
    sender: object = ANY,
    **options: Any,
) -> None:
    """Let *handler* run in the request and in the worker."""
    signal.connect(handler, sender=sender)
    async_receiver(signal, sender=sender, **options)(handler)


@app.route("/connections")
def connections() -> dict[str, int]:
    """Count, for each async receiver, blinker's receivers that are the same object."""
    return {
        receiver.name: sum(
            inline == receiver.handler
            and getattr(inline, "__func__", inline)
            is getattr(receiver.handler, "__func__", receiver.handler)
            for signal in receiver.signals
            for inline in signal.receivers_for(app)
        )
        for receiver in signal_tasks.bridge.registry
    }
