"""Rows of a database are sent to real workers, which find them, or find them gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import pytest
from flask import Flask
from sqlalchemy import make_url

from tests.integration.library import (
    Book,
    Entry,
    book_bought,
    book_lost,
    create_app,
    db,
    shelf_filled,
)
from tests.integration.servers import (
    POSTGRESQL,
    PUBLISH_SECONDS,
    EmbeddedBroker,
    UnreachableError,
    missing,
    postgresql_database,
)
from tests.integration.stack import as_environment, close_connections
from tests.integration.workers import Worker, Workers, await_answer, wait_for

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The library's app, with a worker of its own."""

    app: Flask
    worker: Worker

    def await_entry(self, handler: str) -> str:
        """Return what *handler* wrote, once it has."""

        def written() -> str | None:
            with self.app.app_context():
                wanted = db.select(Entry.text).where(Entry.handler == handler)
                return db.session.scalar(wanted)

        return wait_for(written, f"an entry of {handler}\n{self.worker.log}")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Return the URL of a database of our own."""
    place: AbstractContextManager[str]
    if request.param == "postgresql":
        place = postgresql_database(POSTGRESQL)
    else:
        folder = tmp_path_factory.mktemp("library")
        place = nullcontext(f"sqlite:///{folder / 'library.sqlite'}")
    try:
        with place as url:
            yield url
    except UnreachableError as error:  # pragma: no cover  # it is there in CI
        missing(error)


@pytest.fixture(scope="module")
def library(
    database_url: str, embedded_broker: EmbeddedBroker, workers: Workers
) -> Iterator[Library]:
    """Return the library at work."""
    config = {
        "SECRET_KEY": "the key of the library",
        "SIGNAL_TASKS_PUBLISH_TIMEOUT": PUBLISH_SECONDS,
        "SQLALCHEMY_DATABASE_URI": database_url,
        "CELERY": {"broker_url": embedded_broker.next_database()},
    }
    app = create_app(TESTING=True, **config)
    with app.app_context():
        db.create_all()
    worker = workers.start(
        f"library-on-{make_url(database_url).get_backend_name()}",
        application="signal_tasks.worker",
        environment={
            **as_environment("LIBRARY", config),
            "FLASK_APP": "tests.integration.library:create_app",
        },
    )
    await_answer(worker, app.extensions["celery"])
    yield Library(app=app, worker=worker)
    worker.child.ask_to_end()
    with app.app_context():
        db.engine.dispose()
    close_connections(app)


def test_row_that_is_not_committed_yet_is_found_by_a_retry(library: Library) -> None:
    """A handler that is too early for the sender's commit tries again, and finds it."""
    with library.app.app_context():
        book = Book(isbn="0262510871", copy=2, title="SICP")
        db.session.add(book)
        db.session.flush()
        book_bought.send(Book, book=book)
        library.worker.await_log("catalogue.* retry: .*StillMissingError")
        db.session.commit()

    assert library.await_entry("catalogue") == "Book 0262510871/2"
    with library.app.app_context():
        found = db.session.get(Book, ("0262510871", 2))
        assert found.title == "SICP, catalogued"


def test_row_that_is_deleted_arrives_as_a_tombstone(library: Library) -> None:
    """What was deleted before the handler runs is there as far as it was sent along."""
    with library.app.app_context():
        book = Book(isbn="0131103628", copy=1, title="K&R")
        db.session.add(book)
        db.session.commit()
        db.session.refresh(book)
        db.session.delete(book)
        db.session.commit()
        book_lost.send(book)

    assert library.await_entry("mourn") == "Tombstone K&R"


def test_rows_travel_in_lists(library: Library) -> None:
    """A list of rows arrives as a list of rows, in its order."""
    with library.app.app_context():
        books = [Book(isbn="1", copy=copy, title=f"copy {copy}") for copy in (3, 1, 2)]
        db.session.add_all(books)
        db.session.commit()
        shelf_filled.send(library.app, books=books)

    assert library.await_entry("count") == "copy 3 copy 1 copy 2"
