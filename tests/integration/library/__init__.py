"""A library with Flask-SQLAlchemy, whose handlers are sent the rows of its database."""

from __future__ import annotations

from typing import Any

from blinker import Namespace
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy

from signal_tasks import Bridge, SignalTasks
from signal_tasks.references import Tombstone

bridge = Bridge()
signal_tasks = SignalTasks(bridge=bridge)
db = SQLAlchemy()

_signals = Namespace()
book_bought = _signals.signal("book-bought")
book_lost = _signals.signal("book-lost")
shelf_filled = _signals.signal("shelf-filled")


class Book(db.Model):
    """A book in one of several copies: its key has two columns."""

    isbn = db.Column(db.String, primary_key=True)
    copy = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String, nullable=False)


class Entry(db.Model):
    """What a handler did."""

    id = db.Column(db.Integer, primary_key=True)
    handler = db.Column(db.String, nullable=False)
    text = db.Column(db.String, nullable=False)


def _note(handler: str, text: str) -> None:
    db.session.add(Entry(handler=handler, text=text))
    db.session.commit()


@bridge.async_receiver(
    book_bought, missing="retry", max_retries=8, retry_backoff=1, retry_jitter=False
)
def catalogue(sender: type[Book], book: Book, **extra: object) -> None:
    """Note a book, and change its row in the same transaction."""
    book.title = f"{book.title}, catalogued"
    _note("catalogue", f"{sender.__name__} {book.isbn}/{book.copy}")


@bridge.async_receiver(book_lost, missing={"tombstone": ("title",)})
def mourn(sender: Book | Tombstone, **extra: object) -> None:
    """Note a book that is gone."""
    _note("mourn", f"{type(sender).__name__} {sender.title}")


@bridge.async_receiver(shelf_filled)
def count(sender: Flask, books: list[Book], **extra: object) -> None:
    """Note several books."""
    assert sender == current_app
    _note("count", " ".join(book.title for book in books))


def create_app(**config: Any) -> Flask:
    """Make the library's app, in the web and in the worker."""
    app = Flask(__name__)
    app.config.from_prefixed_env("LIBRARY")
    app.config.from_mapping(config)
    signal_tasks.init_app(app)
    db.init_app(app)
    return app
