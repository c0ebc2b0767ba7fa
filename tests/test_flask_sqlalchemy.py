"""Flask apps: the models and the session of Flask-SQLAlchemy are known by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_sqlalchemy_lite
import pytest
from blinker import Signal
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)
from sqlalchemy.pool import NullPool

from signal_tasks import Bridge, EncodeError, SignalTasks
from signal_tasks.exceptions import ConfigurationError
from tests.in_memory import KEY, broker_of, celery_settings


class Base(DeclarativeBase):
    """The base of models that Flask-SQLAlchemy does not know."""


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


def make_db() -> tuple[SQLAlchemy, type[Any]]:
    """Make an extension with a model of its own, whose name others have as well."""
    db = SQLAlchemy()

    class Book(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        title = db.Column(db.String)

    return db, Book


def make_app(name: str, folder: Path, **config: object) -> Flask:
    """Make an app with a database of its own."""
    app = Flask(name)
    url = f"sqlite:///{folder / name}.sqlite"
    app.config.from_mapping(
        TESTING=True,
        SECRET_KEY=KEY,
        CELERY=celery_settings(),
        SQLALCHEMY_DATABASE_URI=url,
        # No pool, for nobody would close it when the app is gone.
        SQLALCHEMY_ENGINE_OPTIONS={"poolclass": NullPool},
        SQLALCHEMY_ENGINES={"default": {"url": url, "poolclass": NullPool}},
    )
    app.config.from_mapping(config)
    return app


@pytest.fixture
def shop(tmp_path: Path) -> Flask:
    """Return an app without extensions."""
    return make_app("shop", tmp_path)


@pytest.fixture
def sessions(shop: Flask) -> Iterator[scoped_session[Session]]:
    """Return a session for *shop* that is not Flask-SQLAlchemy's."""
    engine = create_engine(shop.config["SQLALCHEMY_DATABASE_URI"])
    Base.metadata.create_all(engine)
    sessions = scoped_session(sessionmaker(engine))
    yield sessions
    sessions.remove()
    engine.dispose()


def run(app: Flask) -> None:
    """Run the messages of *app* as its worker would."""
    assert broker_of(app).run() == [None]


@pytest.mark.parametrize("order", ["before", "after"])
def test_models_are_known_without_registration(
    shop: Flask, flask_bridge: Bridge, signal: Signal, order: str
) -> None:
    """Models of Flask-SQLAlchemy travel, whichever extension the app got first."""
    db, book_class = make_db()
    extensions = [db, SignalTasks(bridge=flask_bridge)]
    for extension in extensions if order == "before" else reversed(extensions):
        extension.init_app(shop)
    titles = []

    @flask_bridge.async_receiver(signal, name="read")
    def read(sender: object, book: Any, cls: type[Any]) -> None:
        titles.append((sender.title, book.title, cls))
        assert sender is book
        assert inspect(book).session is db.session()

    with shop.app_context():
        db.create_all()
        book = book_class(title="SICP")
        db.session.add(book)
        db.session.commit()
        signal.send(book, book=book, cls=book_class)
    run(shop)

    assert titles == [("SICP", "SICP", book_class)]


def test_app_may_send_without_a_context(
    shop: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """A signal whose sender is the app carries instances outside of any context."""
    db, book_class = make_db()
    db.init_app(shop)
    SignalTasks(shop, bridge=flask_bridge)
    titles = []

    @flask_bridge.async_receiver(signal, name="read")
    def read(sender: object, book: Any) -> None:
        titles.append(book.title)

    with shop.app_context():
        db.create_all()
        book = book_class(title="SICP")
        db.session.add(book)
        db.session.commit()
    signal.send(shop, book=book)
    run(shop)

    assert titles == ["SICP"]


def test_apps_have_models_of_the_same_name(
    flask_bridge: Bridge, signal: Signal, tmp_path: Path
) -> None:
    """Two apps of one bridge find their own models, though these have one name."""
    titles = []

    @flask_bridge.async_receiver(signal, name="read")
    def read(sender: Flask, book: Any) -> None:
        titles.append((sender.name, type(book), book.title))

    expected = []
    for name in ("shop", "library"):
        app = make_app(name, tmp_path)
        db, book_class = make_db()
        db.init_app(app)
        SignalTasks(app, bridge=flask_bridge)
        expected.append((name, book_class, f"of the {name}"))
        with app.app_context():
            db.create_all()
            book = book_class(title=f"of the {name}")
            db.session.add(book)
            db.session.commit()
            signal.send(app, book=book)
        run(app)

    assert titles == expected


def test_row_is_read_through_the_bind_of_its_model(
    flask_bridge: Bridge, signal: Signal, tmp_path: Path
) -> None:
    """A model with a bind key is loaded from that database."""
    log = {"url": f"sqlite:///{tmp_path}/log.sqlite", "poolclass": NullPool}
    app = make_app("shop", tmp_path, SQLALCHEMY_BINDS={"log": log})
    db = SQLAlchemy()

    class Entry(db.Model):
        __bind_key__ = "log"
        id = db.Column(db.Integer, primary_key=True)
        text = db.Column(db.String)

    db.init_app(app)
    SignalTasks(app, bridge=flask_bridge)
    texts = []

    @flask_bridge.async_receiver(signal, name="read")
    def read(sender: object, entry: Any) -> None:
        texts.append(entry.text)

    with app.app_context():
        db.create_all()
        entry = Entry(text="hello")
        db.session.add(entry)
        db.session.commit()
        signal.send(app, entry=entry)
    run(app)

    assert texts == ["hello"]


def test_session_is_for_apps_without_flask_sqlalchemy(
    shop: Flask,
    flask_bridge: Bridge,
    signal: Signal,
    sessions: scoped_session[Session],
) -> None:
    """With ``session=``, models are loaded in that session, which is closed after it."""
    SignalTasks(shop, bridge=flask_bridge, session=sessions)
    flask_bridge.register_type(Base)
    names = []

    @flask_bridge.async_receiver(signal, name="read")
    def read(sender: Flask, author: Author) -> None:
        names.append(author.name)
        assert inspect(author).session is sessions()
        author.name = "not committed"
        sessions.flush()

    author = Author(name="Abelson")
    sessions.add(author)
    sessions.commit()
    signal.send(shop, author=author)
    sessions.remove()
    run(shop)

    assert names == ["Abelson"]
    assert not sessions().in_transaction()
    assert sessions.scalars(select(Author.name)).all() == ["Abelson"]


def test_flask_sqlalchemy_wins_over_another_session(
    shop: Flask,
    flask_bridge: Bridge,
    signal: Signal,
    sessions: scoped_session[Session],
) -> None:
    """Where the app has Flask-SQLAlchemy, handlers' models are in its session."""
    db, book_class = make_db()
    db.init_app(shop)
    SignalTasks(shop, bridge=flask_bridge, session=sessions)
    found = []

    @flask_bridge.async_receiver(signal, name="read")
    def read(sender: Flask, book: Any) -> None:
        found.append(inspect(book).session is db.session())

    with shop.app_context():
        db.create_all()
        book = book_class(title="SICP")
        db.session.add(book)
        db.session.commit()
        signal.send(shop, book=book)
    run(shop)

    assert found == [True]


def test_flask_sqlalchemy_lite_gives_the_session(
    shop: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """With Flask-SQLAlchemy-Lite, the session is known, and the base is registered."""
    db = flask_sqlalchemy_lite.SQLAlchemy()
    db.init_app(shop)
    SignalTasks(shop, bridge=flask_bridge)
    flask_bridge.register_type(Base)
    names = []

    @flask_bridge.async_receiver(signal, name="read")
    def read(sender: Flask, author: Author) -> None:
        names.append(author.name)
        assert inspect(author).session is db.session

    with shop.app_context():
        Base.metadata.create_all(db.engine)
        author = Author(name="Abelson")
        db.session.add(author)
        db.session.commit()
        signal.send(shop, author=author)
    run(shop)

    assert names == ["Abelson"]


def test_app_without_a_session_says_how_to_give_one(
    shop: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """An app with neither extension nor session sends no instances, and says why."""
    SignalTasks(shop, bridge=flask_bridge)
    flask_bridge.register_type(Base)
    flask_bridge.async_receiver(signal, name="read")(print)

    with pytest.raises(EncodeError, match=r"SignalTasks\(session="):
        signal.send(shop, author=Author(id=1))


def test_session_that_is_no_source_is_refused() -> None:
    """A session instead of a way to it is an error where it is given."""
    with pytest.raises(ConfigurationError, match="session="):
        SignalTasks(bridge=Bridge(), session=Session())
