"""Signals in a namespace of their own, one named like a signal outside of it."""

from __future__ import annotations

from typing import Any

from blinker import Namespace
from flask import Flask

from signal_tasks import async_receiver
from tests.integration.book import observe
from tests.integration.picked.app import app

my_signals = Namespace()
user_created = my_signals.signal("user-created")
user_deleted = my_signals.signal("user-deleted")


@app.route("/comings-and-goings")
def come_and_go() -> str:
    """Create somebody, and delete them again."""
    user_created.send(app, user_id=7)
    user_deleted.send(app, user_id=7)
    return "gone"


@user_created.connect
def note_created(sender: Flask, user_id: int, **extra: Any) -> None:
    """Say who has come."""
    observe("namespace", "created", user_id)


@user_deleted.connect
def note_deleted(sender: Flask, user_id: int, **extra: Any) -> None:
    """Say who has gone."""
    observe("namespace", "deleted", user_id)


@async_receiver(user_created)
def note_created_later(sender: Flask, user_id: int, **extra: Any) -> None:
    """Say who has come."""
    observe("namespace", "created", user_id)


@async_receiver(user_deleted)
def note_deleted_later(sender: Flask, user_id: int, **extra: Any) -> None:
    """Say who has gone."""
    observe("namespace", "deleted", user_id)
