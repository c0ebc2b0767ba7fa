"""The store's database: where it is, what it keeps, and what it says when it cannot."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, MetaData, inspect, make_url

from signal_tasks import Bridge, ConfigurationError, SignalTasks, StoreError
from signal_tasks.dead_letters import DeadLetter, DeadLetterFilter
from signal_tasks.envelope import Envelope
from signal_tasks.inbox import Claim
from signal_tasks.store import Store, StoredDeadLetters, metadata
from signal_tasks.store.database import _close_own
from tests.in_memory import celery_settings, new_app
from tests.integration.servers import (
    POSTGRESQL,
    UnreachableError,
    missing,
    postgresql_database,
)

SECRET = "4111-1111-1111-1111"
PASSWORD = "hunter2"
DIED_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TABLE = "signal_tasks_dead_letters"

LETTER = DeadLetter(
    receiver="shop.bill",
    signal="order-placed",
    event_id="e1",
    reason="OSError",
    error="why",
    attempts=4,
    text="the envelope",
    died_at=DIED_AT,
)

EVERY = DeadLetterFilter()

DATABASES = ("sqlite", "postgresql")


def new_postgresql(cleanup: ExitStack) -> str:
    """Return the URL of a database that is dropped in the end, or skip the test."""
    try:
        return cleanup.enter_context(postgresql_database(POSTGRESQL))
    except UnreachableError as error:  # pragma: no cover  # where there is no server
        missing(error)


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a database of each kind, with nothing in it."""
    with ExitStack() as cleanup:
        if request.param == "postgresql":
            yield new_postgresql(cleanup)
        else:
            yield f"sqlite:///{tmp_path / 'store.sqlite3'}"


@pytest.fixture
def store(url: str) -> Store:
    """Return a store in each kind of database."""
    store = Store(url)
    store.create()
    return store


@pytest.fixture
def letters(store: Store) -> StoredDeadLetters:
    """Return the dead letters of *store*: none yet."""
    return StoredDeadLetters(store)


def tables_at(url: str | URL) -> list[str]:
    """Return the names of the tables in a database."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    return inspect(engine).get_table_names()


# -- tables


def test_create_may_be_repeated(store: Store, letters: StoredDeadLetters) -> None:
    """The tables are made once; what is in them stays."""
    letters.keep(LETTER)

    store.create()

    assert len(letters.find(EVERY)) == 1


def test_create_at_the_same_time_makes_the_tables(url: str) -> None:
    """Several processes that start together do not end each other."""
    with ThreadPoolExecutor(8) as executor:
        done = [executor.submit(Store(url).create) for _ in range(8)]
    failures = [one.exception() for one in done]

    assert failures == [None] * 8
    assert sorted(tables_at(url)) == sorted(metadata.tables)


def test_sqlite_file_is_made_when_it_is_needed(tmp_path: Path) -> None:
    """A file, its folder and its tables need no command of their own."""
    file = tmp_path / "instance" / "store.sqlite3"
    letters = StoredDeadLetters(Store(f"sqlite:///{file}"))
    assert not file.parent.exists()

    letters.keep(LETTER)

    assert len(letters.find(EVERY)) == 1


def test_sqlite_file_that_is_deleted_is_made_again(tmp_path: Path) -> None:
    """A file that somebody takes away under a running worker costs what was in it."""
    file = tmp_path / "store.sqlite3"
    letters = StoredDeadLetters(Store(f"sqlite:///{file}"))
    letters.keep(LETTER)
    file.unlink()

    letters.keep(LETTER)

    assert len(letters.find(EVERY)) == 1


def test_sqlite_tables_that_could_not_be_made_are_made_later(tmp_path: Path) -> None:
    """A first attempt that fails, or is not through, is not taken for tables."""
    file = tmp_path / "store.sqlite3"
    store = Store(f"sqlite:///{file}", connect_args={"timeout": 0.01})
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            store.dead_letters.numbers(DeadLetterFilter())

    assert store.dead_letters.numbers(DeadLetterFilter()) == []


def test_tables_go_into_the_users_own_metadata(tmp_path: Path) -> None:
    """Copied to the models' metadata, the tables are migrated with the models."""
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    models = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(models)

    models.create_all(sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool))

    letters = StoredDeadLetters(Store(url))
    letters.keep(LETTER)
    assert [stored.letter for stored in letters.find(EVERY)] == [LETTER]


def test_columns_are_of_sqlalchemys_types() -> None:
    """A migration that Alembic writes needs no import of ours."""
    modules = {
        type(column.type).__module__
        for table in metadata.sorted_tables
        for column in table.columns
    }

    assert modules == {"sqlalchemy.sql.sqltypes"}


# -- what is kept


def test_letter_comes_out_as_it_went_in(letters: StoredDeadLetters) -> None:
    """Every fact of a letter is kept, to the microsecond and in UTC."""
    elsewhere = timezone(timedelta(hours=-7))
    letters.keep(replace(LETTER, died_at=DIED_AT.astimezone(elsewhere)))

    (stored,) = letters.find(EVERY)

    assert stored.letter == LETTER
    assert stored.letter.died_at.tzinfo is UTC


def test_letter_of_an_unreadable_envelope_is_kept(letters: StoredDeadLetters) -> None:
    """Signal and event may be unknown."""
    unreadable = replace(LETTER, signal=None, event_id=None)
    letters.keep(unreadable)

    assert [stored.letter for stored in letters.find(EVERY)] == [unreadable]


@settings(max_examples=25)
@given(
    text=st.text(st.characters(codec="ascii", min_codepoint=1)),
    name=st.text(st.characters(), max_size=9),
)
def test_any_name_is_kept(
    text: str, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An envelope is kept to the letter, under whatever name it came."""
    file = tmp_path_factory.getbasetemp() / "any.sqlite3"
    letters = StoredDeadLetters(Store(f"sqlite:///{file}"))
    letters.purge(EVERY)

    letters.keep(replace(LETTER, text=text, receiver=name, error=name))

    (found,) = letters.find(DeadLetterFilter(receiver=name))
    assert found.letter.text == text


@pytest.mark.parametrize(
    "text",
    ["a\0b", "a\ud800b", "a" * 100_000, "ä€𝄞"],
    ids=["NUL", "lone", "long", "far"],
)
def test_what_a_database_would_refuse_is_kept(
    letters: StoredDeadLetters, text: str
) -> None:
    """What no database takes is written out, and a name is cut to its column."""
    letters.keep(replace(LETTER, text=text, receiver=text, signal=text, error=text))

    (found,) = letters.find(DeadLetterFilter(receiver=text, signal=text))

    assert found.letter.text == text.replace("\0", "\\x00").replace("\ud800", "\\ud800")
    assert len(found.letter.receiver) <= 512


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (DeadLetterFilter(), ["e1", "e2", "e3"]),
        (DeadLetterFilter(receiver="shop.bill"), ["e1", "e3"]),
        (DeadLetterFilter(signal="order-paid"), ["e2", "e3"]),
        (DeadLetterFilter(reason="KeyError"), ["e3"]),
        (DeadLetterFilter(died_before=DIED_AT), ["e1"]),
        (DeadLetterFilter(receiver="shop.bill", signal="order-paid"), ["e3"]),
        (DeadLetterFilter(receiver="shop.gone"), []),
        (DeadLetterFilter(receiver="shop.%"), []),
    ],
    ids=["all", "receiver", "signal", "error", "age", "both", "none", "no pattern"],
)
def test_letters_are_found_by_what_fits(
    letters: StoredDeadLetters, wanted: DeadLetterFilter, found: list[str]
) -> None:
    """A filter finds the letters that fit all of it, the oldest first."""
    letters.keep(replace(LETTER, died_at=DIED_AT - timedelta(microseconds=1)))
    letters.keep(
        replace(LETTER, event_id="e2", receiver="shop.ship", signal="order-paid")
    )
    letters.keep(replace(LETTER, event_id="e3", signal="order-paid", reason="KeyError"))

    assert [stored.letter.event_id for stored in letters.find(wanted)] == found
    assert len(letters.numbers(wanted)) == len(found)
    assert letters.purge(wanted) == len(found)
    assert len(letters.find(EVERY)) == 3 - len(found)


def test_letters_are_found_by_number(letters: StoredDeadLetters) -> None:
    """Numbers name letters, and are not used again while they are known."""
    letters.keep(LETTER)
    letters.keep(replace(LETTER, event_id="e2"))
    _, number = letters.numbers(EVERY)

    (found,) = letters.find(DeadLetterFilter(ids=[number]))

    assert (found.id, found.letter.event_id) == (number, "e2")


# -- the outbox


def text_of(event_id: str, *, is_kept: bool = True) -> str:
    """Return the text of an envelope whose signature nobody has to know."""
    kept = ',"outbox":true' if is_kept else ""
    return f'{{"v":1,"id":"{event_id}","receiver":"shop.bill"{kept},"sig":""}}'


def add_row(store: Store, text: str, **changes: object) -> None:
    """Add an outbox row for the event of LETTER."""
    envelope = Envelope(
        id="e1",
        signal="order-placed",
        receiver="shop.bill",
        sent_at=DIED_AT,
        payload={},
        shared="",
        own=text,
    )
    store.outbox.add([envelope._replace(**changes)])


def test_letter_takes_the_place_of_its_row(
    store: Store, letters: StoredDeadLetters
) -> None:
    """What has died is not published again; other receivers of the event still are."""
    add_row(store, text_of("e1"))
    add_row(store, text_of("e1"), receiver="shop.ship")

    letters.keep(replace(LETTER, text=text_of("e1")))

    (row,) = store.outbox.take_due(10, lease_seconds=1)
    assert row.envelope.receiver == "shop.ship"


@pytest.mark.parametrize(
    ("text", "left"),
    [(text_of("e1"), 0), (text_of("e1") + " ", 1), ("garbage", 1)],
    ids=["same", "other", "no envelope"],
)
def test_unverified_letter_takes_the_place_of_the_row_with_its_text(
    store: Store, letters: StoredDeadLetters, text: str, left: int
) -> None:
    """What nobody signed takes the place of what was sent only if that is the same."""
    add_row(store, text_of("e1"))

    letters.keep(replace(LETTER, event_id=None, signal=None, text=text))

    assert store.outbox.state().kept == left


@pytest.mark.parametrize(
    ("reason", "left"), [("OSError", 0), ("CommittedError", 1)], ids=["other", "done"]
)
def test_event_that_has_no_row_any_more_is_no_letter(
    store: Store, letters: StoredDeadLetters, reason: str, left: int
) -> None:
    """Another message of it was handled; the handler that did it may still complain."""
    is_new = letters.keep(replace(LETTER, text=text_of("e1"), reason=reason))

    assert is_new == bool(left)
    assert len(letters.find(EVERY)) == left


# -- replay


def test_replayed_letter_is_a_row_of_the_outbox(
    store: Store, letters: StoredDeadLetters
) -> None:
    """What is replayed is published as it was kept, and is gone then."""
    letters.keep(LETTER)
    (number,) = letters.numbers(EVERY)

    assert letters.replay(number)

    assert not letters.replay(number)
    assert letters.find(EVERY) == []
    (row,) = store.outbox.take_due(10, lease_seconds=1)
    assert row.is_spooled
    assert (row.envelope.id, row.envelope.receiver) == ("e1", "shop.bill")
    assert row.envelope.text == LETTER.text


@pytest.mark.parametrize("event_id", ["e1", None], ids=["verified", "unverified"])
def test_replayed_row_of_the_outbox_stays_until_it_is_handled(
    store: Store, letters: StoredDeadLetters, event_id: str | None
) -> None:
    """What came by the outbox goes by the outbox, and its worker finds the row."""
    add_row(store, text_of("e1"))
    letters.keep(replace(LETTER, event_id=event_id, text=text_of("e1")))
    (number,) = letters.numbers(EVERY)

    letters.replay(number)

    (row,) = store.outbox.take_due(10, lease_seconds=1)
    assert not row.is_spooled
    claim = store.inbox.claim("e1", "shop.bill", is_kept=True, lease_seconds=1)
    assert isinstance(claim, Claim)


@pytest.mark.parametrize(
    "text",
    [text_of("e1", is_kept=False), ',"outbox":true,"sig":"', "garbage"],
    ids=["unkept", "no identifier", "no envelope"],
)
def test_replayed_stranger_takes_nobodys_place(
    store: Store, letters: StoredDeadLetters, text: str
) -> None:
    """What an unverified text calls itself is not what its row is called."""
    letters.keep(replace(LETTER, event_id=None, signal=None, text=text))
    (number,) = letters.numbers(EVERY)

    letters.replay(number)

    (row,) = store.outbox.take_due(10, lease_seconds=1)
    assert row.is_spooled
    assert row.envelope.id.startswith("letter-")
    assert row.envelope.text == text


def test_replay_begins_to_count_redeliveries_again(
    store: Store, letters: StoredDeadLetters
) -> None:
    """An event that was handed out too often gets as many chances again."""
    for _ in range(6):
        store.inbox.count_redelivery("e1", "shop.bill")
    letters.keep(LETTER)

    letters.replay(letters.numbers(EVERY)[0])

    assert store.inbox.count_redelivery("e1", "shop.bill") == 1


def test_letter_is_replayed_by_one_of_many(
    store: Store, letters: StoredDeadLetters
) -> None:
    """Of those who replay the same letter at once, one does."""
    letters.keep(LETTER)
    (number,) = letters.numbers(EVERY)

    with ThreadPoolExecutor(8) as executor:
        done = list(executor.map(letters.replay, [number] * 8))

    assert done.count(True) == 1
    assert store.outbox.state().spooled == 1


# -- several processes


BURY = """
import sys
from dataclasses import replace
from datetime import datetime, UTC
from signal_tasks.dead_letters import DeadLetter
from signal_tasks.store import Store, StoredDeadLetters

letters = StoredDeadLetters(Store(sys.argv[1]))
for number in range(10):
    letters.keep(DeadLetter(
        receiver=sys.argv[2], signal=None, event_id=str(number), reason="OSError",
        error="why", attempts=1, text="x" * 2000, died_at=datetime.now(UTC),
    ))
"""


def test_processes_bury_at_once(url: str) -> None:
    """Workers that keep letters at the same time lose none, nor does making the file."""
    if not url.startswith("sqlite"):
        Store(url).create()
    command = [sys.executable, "-W", "error", "-c", BURY, url]

    processes = [subprocess.Popen([*command, f"worker-{n}"]) for n in range(4)]
    codes = [process.wait(timeout=120) for process in processes]

    assert codes == [0] * 4
    assert len(StoredDeadLetters(Store(url)).numbers(EVERY)) == 40


def test_forked_child_keeps_letters_of_its_own(
    store: Store, letters: StoredDeadLetters
) -> None:
    """A child that is forked after its parent used the store does not disturb it."""
    letters.keep(LETTER)
    with store.begin() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
    child = os.fork()
    if child == 0:  # pragma: no cover  # it ends without a word to coverage
        try:
            letters.keep(replace(LETTER, event_id="child"))
        finally:
            os._exit(0)

    os.waitpid(child, 0)
    letters.keep(replace(LETTER, event_id="parent"))

    found = [stored.letter.event_id for stored in letters.find(EVERY)]
    assert found == ["e1", "child", "parent"]


def test_process_that_did_not_use_a_store_closes_nothing() -> None:
    """What a forked child has inherited is its parent's to close."""
    engines = {os.getppid(): sqlalchemy.create_engine("sqlite://")}

    _close_own(engines)

    assert list(engines) == [os.getppid()]


# -- a store that cannot


def test_missing_tables_are_told_of(tmp_path: Path) -> None:
    """Where the tables have gone, the error names the place and the command."""
    file = tmp_path / "store.sqlite3"
    store = Store(f"sqlite:///{file}")
    letters = StoredDeadLetters(store)
    letters.keep(LETTER)
    with store.begin() as connection:
        metadata.drop_all(connection)

    with pytest.raises(StoreError) as caught:
        letters.keep(replace(LETTER, text=SECRET))

    assert f"the store at sqlite:///{file}" in str(caught.value)
    assert "no such table" in str(caught.value)
    assert "`flask signal-tasks store create`" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_postgresql_without_tables_is_told_of() -> None:
    """On a server the tables are made by the command alone."""
    with ExitStack() as cleanup:
        letters = StoredDeadLetters(Store(new_postgresql(cleanup)))

        with pytest.raises(StoreError, match=r'relation "signal_\w+" does not exist'):
            letters.keep(LETTER)


@pytest.mark.parametrize("act", [Store.create, lambda store: store.begin().__enter__()])
def test_server_that_is_not_there_is_told_of(act: Callable[[Store], object]) -> None:
    """A server that refuses is named without its password."""
    store = Store(f"postgresql+psycopg://postgres:{PASSWORD}@127.0.0.1:1/shop")

    with pytest.raises(StoreError) as caught:
        act(store)

    assert "postgres:***@127.0.0.1:1/shop" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_folder_that_cannot_be_made_is_told_of() -> None:
    """The error names the folder, and the setting that mends it."""
    letters = StoredDeadLetters(Store("sqlite:////dev/null/store.sqlite3"))

    with pytest.raises(StoreError, match=r"/dev/null cannot .* SIGNAL_TASKS_STORE_URL"):
        letters.keep(LETTER)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"{PASSWORD}", "no URL of a database"),
        (f"postgresql://a:{PASSWORD}@b:{PASSWORD}/c", "no URL of a database"),
        (f"nosuchdb://a:{PASSWORD}@b/c", "cannot be used"),
        (f"mysql+pymysql://a:{PASSWORD}@b/c", "Install its driver"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "in memory"),
    ],
)
def test_useless_url_is_refused(url: str, said: str) -> None:
    """A URL that leads nowhere, or to where nobody else sees, is refused at once."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        Store(url)

    assert PASSWORD not in str(caught.value)


def test_chosen_timeout_is_kept() -> None:
    """What the URL says of waiting is not overridden."""
    address = "postgresql+psycopg://postgres@127.0.0.1:1/shop?connect_timeout=1"

    assert Store(address).address == address


def test_sqlite_uri_is_left_as_it_is(tmp_path: Path) -> None:
    """A file that SQLite itself is to find by its URI is not looked for by us."""
    url = f"sqlite:///file:{tmp_path}/store.sqlite3?uri=true"
    store = Store(url)
    store.create()

    StoredDeadLetters(store).keep(LETTER)

    assert (tmp_path / "store.sqlite3").exists()


# -- the store of a Flask app


def store_of(app: Flask) -> Store:
    """Return the store of *app*."""
    store: Store = app.extensions["signal_tasks"].store
    return store


def new_database_app(folder: Path, **config: object) -> Flask:
    """Make an app with Flask-SQLAlchemy, whose instance folder is *folder*."""
    app = Flask("shop", instance_path=str(folder))
    app.config.from_mapping(CELERY=celery_settings(), SECRET_KEY="x", **config)
    SQLAlchemy(app)
    SignalTasks(app, bridge=Bridge())
    return app


def test_app_without_a_database_has_a_file(tmp_path: Path) -> None:
    """By default the store is a SQLite file in the instance folder."""
    app = Flask("shop", instance_path=str(tmp_path / "instance"))
    app.config.from_mapping(CELERY=celery_settings(), SECRET_KEY="x")
    SignalTasks(app, bridge=Bridge())

    assert store_of(app).address == (
        f"sqlite:///{tmp_path}/instance/signal_tasks.sqlite3"
    )
    assert store_of(app) is store_of(app)
    assert not (tmp_path / "instance").exists()


def test_store_is_in_the_database_of_the_app(tmp_path: Path) -> None:
    """With Flask-SQLAlchemy the store is where the models are, also by a relative URL."""
    app = new_database_app(tmp_path, SQLALCHEMY_DATABASE_URI="sqlite:///shop.sqlite3")

    assert store_of(app).address == f"sqlite:///{tmp_path}/shop.sqlite3"


@pytest.mark.parametrize(
    "config",
    [
        {"SQLALCHEMY_DATABASE_URI": "sqlite://"},
        {"SQLALCHEMY_DATABASE_URI": "sqlite:///:memory:"},
        {"SQLALCHEMY_BINDS": {"other": "sqlite:///other.sqlite3"}},
    ],
    ids=["memory", "named memory", "no default"],
)
def test_database_that_cannot_keep_gives_way_to_the_file(
    tmp_path: Path, config: dict[str, object]
) -> None:
    """A database in memory, or none that is the default, keeps no dead letters."""
    app = new_database_app(tmp_path, **config)

    assert store_of(app).address == f"sqlite:///{tmp_path}/signal_tasks.sqlite3"


def test_what_the_driver_is_told_of_the_database_holds_for_the_store(
    tmp_path: Path,
) -> None:
    """connect_args of the app's engine, such as certificates, are the store's as well."""
    app = new_database_app(
        tmp_path,
        SQLALCHEMY_DATABASE_URI="sqlite:///shop.sqlite3",
        SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"nonsense": 1}, "pool_size": 7},
    )

    with pytest.raises(TypeError, match="nonsense"):
        store_of(app).create()


@pytest.mark.parametrize("form", [str, make_url], ids=["text", "URL"])
def test_configured_store_wins(tmp_path: Path, form: Callable[[str], object]) -> None:
    """SIGNAL_TASKS_STORE_URL wins over the app's database, relative to its folder."""
    app = new_database_app(
        tmp_path,
        SQLALCHEMY_DATABASE_URI="sqlite:///shop.sqlite3",
        SIGNAL_TASKS_STORE_URL=form("sqlite:///sub/dead.sqlite3"),
    )

    assert store_of(app).address == f"sqlite:///{tmp_path}/sub/dead.sqlite3"


def test_url_object_keeps_its_password() -> None:
    """A URL of SQLAlchemy's own class is taken with its password, and shown without."""
    url = make_url(f"postgresql+psycopg://postgres:{PASSWORD}@127.0.0.1:1/shop")
    app = new_app(Bridge(), SIGNAL_TASKS_STORE_URL=url)

    store = store_of(app)

    assert store._url.password == PASSWORD
    assert store.address.startswith("postgresql+psycopg://postgres:***@")


@pytest.mark.parametrize("url", ["sqlite://", "nonsense", 7], ids=str)
def test_wrong_setting_ends_the_start(url: object) -> None:
    """A store that cannot be is refused in init_app, before anything is lost."""
    with pytest.raises(ConfigurationError, match="SIGNAL_TASKS_STORE_URL"):
        new_app(Bridge(), SIGNAL_TASKS_STORE_URL=url)


UNUSED = """
import sys
from blinker import Signal
from celery.worker.request import Request
from signal_tasks import Bridge
from tests.in_memory import broker_of, new_app

bridge = Bridge()
app = new_app(bridge)
signal = Signal()
bridge.async_receiver(signal, name="bill")(lambda sender: 7)
signal.send(app)
assert broker_of(app).run() == [7]
import signal_tasks.cli.group
assert "sqlalchemy" not in sys.modules
"""


def test_store_costs_nothing_while_nothing_dies() -> None:
    """An app whose handlers succeed does not even import SQLAlchemy for the store."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", UNUSED],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
