"""The outbox: what goes in with the sender's transaction, and who gets it out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine, NullPool, text

from signal_tasks.envelope import Envelope
from signal_tasks.exceptions import ConfigurationError, StoreError
from signal_tasks.relay.outbox import OutboxRow
from signal_tasks.store import Outbox, Store
from signal_tasks.store.moments import moment
from signal_tasks.store.outbox import CHANNEL
from signal_tasks.store.tables import outbox as table
from signal_tasks.store.upserts import insert_into
from tests.stores import Clock, new_postgresql, url

__all__ = ["url"]

SECRET = "4111-1111-1111-1111"
LEASE = 30


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Store:
    """Return a store in each kind of database."""
    store = Store(url, now=clock)
    store.create()
    return store


@pytest.fixture
def outbox(store: Store) -> Outbox:
    """Return the outbox of *store*: nothing in it yet."""
    return store.outbox


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Return the sender's own engine for the same database."""
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    yield engine
    engine.dispose()


def envelope(number: int, receiver: str = "shop.bill") -> Envelope:
    """Return an envelope."""
    return Envelope(
        id=f"e{number}",
        signal="order-placed",
        receiver=receiver,
        sent_at=Clock.time,
        payload={},
        is_kept=True,
        shared="text ",
        own=f"{number}",
    )


def envelopes(*numbers: int) -> list[Envelope]:
    """Return envelopes for one receiver."""
    return [envelope(number) for number in numbers]


def ids(rows: list[OutboxRow]) -> list[str]:
    """Return the events of *rows*."""
    return [row.envelope.id for row in rows]


def take(outbox: Outbox, limit: int = 100) -> list[str]:
    """Take what is due, and return the events."""
    return ids(outbox.take_due(limit, lease_seconds=LEASE))


# -- adding


def test_row_comes_out_as_the_envelope_went_in(outbox: Outbox, clock: Clock) -> None:
    """A row is due at once; what travels is the very text that was sealed."""
    outbox.add([envelope(1)])

    (row,) = outbox.take_due(10, lease_seconds=LEASE)

    assert row.envelope == envelope(1)
    assert not row.is_spooled
    assert row.publications == 0
    assert row.taken_until == clock() + timedelta(seconds=LEASE)


def test_nothing_is_added_of_nothing(tmp_path: Path) -> None:
    """No envelopes cost no transaction."""
    outbox = Store(f"sqlite:///{tmp_path / 'store.sqlite3'}").outbox

    outbox.add([])

    assert not (tmp_path / "store.sqlite3").exists()


def test_row_is_there_when_the_senders_transaction_commits(
    outbox: Outbox, engine: Engine
) -> None:
    """With a connection of the sender's, its commit is what counts."""
    with engine.connect() as connection:
        outbox.add(envelopes(1, 2), connection=connection)
        before = outbox.state().kept
        connection.commit()

    assert before == 0
    assert take(outbox) == ["e1", "e2"]


def test_row_is_gone_with_the_senders_rollback(outbox: Outbox, engine: Engine) -> None:
    """What is rolled back has never happened."""
    with engine.connect() as connection:
        outbox.add(envelopes(1), connection=connection)
        connection.rollback()

    assert take(outbox) == []


def test_same_event_again_keeps_its_row(outbox: Outbox) -> None:
    """A second row of one event and receiver is none, in one call or in two."""
    outbox.add([envelope(1), envelope(1)])
    outbox.add([envelope(1)._replace(own="another"), envelope(1, "shop.ship")])

    rows = outbox.take_due(10, lease_seconds=LEASE)

    assert [(row.envelope.receiver, row.envelope.text) for row in rows] == [
        ("shop.bill", "text 1"),
        ("shop.ship", "text 1"),
    ]


def test_many_rows_keep_their_order(outbox: Outbox) -> None:
    """However many rows a batch has, they come out as they were given."""
    outbox.add(envelopes(*range(2500)))

    assert take(outbox, 5000) == [f"e{number}" for number in range(2500)]


def test_missing_tables_are_made_in_the_senders_transaction(tmp_path: Path) -> None:
    """In SQLite tables are made as rows are: by the one who holds the lock."""
    url = f"sqlite:///{tmp_path / 'shop.sqlite3'}"
    outbox = Store(url).outbox
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER)"))

    with engine.begin() as connection:
        connection.execute(text("INSERT INTO orders VALUES (1)"))
        outbox.add(envelopes(1), connection=connection)

    assert take(outbox) == ["e1"]


def test_sick_database_of_the_sender_is_told_of(
    outbox: Outbox, store: Store, engine: Engine
) -> None:
    """What the sender's connection refuses is an error that quotes no row."""
    with store.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table.name} RENAME COLUMN text TO txt"))

    with (
        engine.connect() as connection,
        pytest.raises(StoreError, match="store create") as caught,
    ):
        outbox.add([envelope(1)._replace(own=SECRET)], connection=connection)

    assert SECRET not in str(caught.value)


def test_postgresql_without_tables_is_told_of() -> None:
    """On a server the tables are made by the command alone, also for a sender."""
    with ExitStack() as cleanup:
        url = new_postgresql(cleanup)
        outbox = Store(url).outbox
        engine = sqlalchemy.create_engine(url, poolclass=NullPool)

        with (
            engine.connect() as connection,
            pytest.raises(StoreError, match=f'relation "{table.name}" does not exist'),
        ):
            outbox.add(envelopes(1), connection=connection)


def test_other_databases_have_no_outbox() -> None:
    """A database that we know no way in is named."""

    class Elsewhere:
        class dialect:  # noqa: N801
            name = "mysql"

    with pytest.raises(ConfigurationError, match=r"kept in mysql\. .*_STORE_URL"):
        insert_into(Elsewhere(), table)


def notices(connection: sqlalchemy.Connection) -> int:
    """Return how many notices PostgreSQL has for us."""
    raw = connection.connection.driver_connection
    return len(list(raw.notifies(timeout=0.3)))


def test_postgresql_tells_of_rows_at_the_commit() -> None:
    """Who listens hears once of all rows of a transaction, and not before its end."""
    with ExitStack() as cleanup:
        url = new_postgresql(cleanup)
        store = Store(url)
        store.create()
        engine = sqlalchemy.create_engine(url, poolclass=NullPool)
        listener = cleanup.enter_context(
            engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        )
        listener.execute(text(f"LISTEN {CHANNEL}"))
        with engine.connect() as connection:
            store.outbox.add(envelopes(*range(50)), connection=connection)
            store.outbox.add(envelopes(51), connection=connection)
            before = notices(listener)
            connection.commit()

        assert (before, notices(listener)) == (0, 1)


# -- taking


def test_taken_rows_are_nobody_elses(outbox: Outbox, clock: Clock) -> None:
    """A row is with its taker until the lease is over, and then with the next."""
    outbox.add(envelopes(1, 2, 3))

    assert take(outbox, 2) == ["e1", "e2"]
    assert take(outbox, 2) == ["e3"]
    clock.move(LEASE - 0.001)
    assert take(outbox) == []
    clock.move(0.001)
    assert take(outbox) == ["e1", "e2", "e3"]


@pytest.mark.parametrize("is_spooled", [False, True], ids=["kept", "spooled"])
def test_rows_that_were_put_back_are_due_again(
    outbox: Outbox, clock: Clock, is_spooled: bool
) -> None:
    """What did not leave is taken again when its time has come."""
    outbox.add(envelopes(1, 2), is_spooled=is_spooled)
    outbox.put_back(outbox.take_due(10, lease_seconds=LEASE), delay_seconds=5)

    clock.move(4.9)
    assert take(outbox) == []
    clock.move(0.1)
    assert take(outbox) == ["e1", "e2"]


def test_published_row_is_due_later_and_later(
    store: Store, outbox: Outbox, clock: Clock
) -> None:
    """A row whose handler does not finish is published less and less often."""
    outbox.add(envelopes(1))
    waits: list[timedelta] = []

    for _ in range(12):
        rows = outbox.take_due(10, lease_seconds=LEASE)
        outbox.mark_published(rows)
        with store.reading() as connection:
            due_at = moment(connection.scalars(sqlalchemy.select(table.c.due_at)).one())
        waits.append(due_at - clock())
        clock.time = due_at

    assert [wait.total_seconds() for wait in waits[:4]] == [300, 600, 1200, 2400]
    assert waits[-1] == timedelta(days=1)


def test_spooled_row_is_gone_once_published(outbox: Outbox) -> None:
    """A row that was only to be published needs no handler to end it."""
    outbox.add(envelopes(1, 2), is_spooled=True)

    outbox.mark_published(outbox.take_due(1, lease_seconds=LEASE))

    assert outbox.state().spooled == 1
    assert take(outbox) == ["e2"]


def test_late_note_changes_nothing(outbox: Outbox, clock: Clock) -> None:
    """A taker that comes back after its lease leaves the next one's rows alone."""
    outbox.add(envelopes(1))
    outbox.add(envelopes(2), is_spooled=True)
    late = outbox.take_due(10, lease_seconds=LEASE)
    clock.move(LEASE)
    assert take(outbox) == ["e2", "e1"]

    outbox.mark_published(late)
    outbox.put_back(late)

    assert take(outbox) == []
    assert (outbox.state().kept, outbox.state().spooled) == (1, 1)


def test_number_of_a_deleted_row_is_not_given_out_again(
    store: Store, outbox: Outbox
) -> None:
    """Numbers tell the order, so none comes twice."""
    outbox.add(envelopes(1))
    (row,) = outbox.take_due(10, lease_seconds=LEASE)
    with store.begin() as connection:
        connection.execute(table.delete())

    outbox.add(envelopes(2))

    (later,) = outbox.take_due(10, lease_seconds=LEASE)
    assert later.id > row.id


# -- spooled rows


def test_spooled_row_waits_for_the_earlier_ones_of_its_receiver(
    outbox: Outbox, clock: Clock
) -> None:
    """While rows of a receiver are with somebody, its later ones are not given out."""
    outbox.add(envelopes(1, 2, 3), is_spooled=True)
    outbox.add([envelope(4, "shop.ship")], is_spooled=True)
    first = outbox.take_due(2, lease_seconds=LEASE)

    assert take(outbox) == ["e4"]
    outbox.put_back(first, delay_seconds=1)
    assert take(outbox) == []
    clock.move(1)
    assert take(outbox) == ["e1", "e2", "e3"]


def test_spooled_rows_come_first(outbox: Outbox) -> None:
    """They have waited for the broker, and so do the events behind them."""
    outbox.add(envelopes(1))
    outbox.add(envelopes(2), is_spooled=True)

    assert outbox.has_spooled()
    assert take(outbox) == ["e2", "e1"]


def test_spool_is_empty(outbox: Outbox) -> None:
    """Rows that are kept are not spooled."""
    outbox.add(envelopes(1))

    assert not outbox.has_spooled()


def test_outbox_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """To look for rows makes no file."""
    outbox = Store(f"sqlite:///{tmp_path / 'none.sqlite3'}").outbox

    assert not outbox.has_spooled()
    assert outbox.take_due(1, lease_seconds=1) == []
    assert not (tmp_path / "none.sqlite3").exists()


def test_spooled_rows_are_found_by_an_index(store: Store) -> None:
    """To ask for spooled rows costs nothing where millions are kept."""
    query = (
        sqlalchemy.select(table.c.id)
        .where(table.c.is_spooled)
        .limit(1)
        .compile(dialect=store._engine.dialect, compile_kwargs={"literal_binds": True})
    )
    explain = "EXPLAIN QUERY PLAN" if "sqlite" in store.address else "EXPLAIN"

    with store.begin() as connection:
        if explain == "EXPLAIN":
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(text(f"{explain} {query}")).all()

    assert "signal_tasks_outbox_spooled" in str(plan)


# -- how it does


def test_state_of_an_empty_outbox(outbox: Outbox) -> None:
    """An empty outbox is late with nothing."""
    state = outbox.state()

    assert (state.kept, state.spooled, state.due, state.oldest_due) == (0, 0, 0, None)


def test_state_tells_how_late_the_relay_is(outbox: Outbox, clock: Clock) -> None:
    """It counts rows by kind, and tells for how long the first has been due."""
    outbox.add(envelopes(1, 2))
    outbox.mark_published(outbox.take_due(10, lease_seconds=LEASE))
    clock.move(10)
    outbox.add(envelopes(3))
    outbox.add(envelopes(4), is_spooled=True)
    clock.move(5)

    state = outbox.state()

    assert (state.kept, state.spooled, state.due) == (3, 1, 2)
    assert state.oldest_due == timedelta(seconds=5)


# -- several at once


TAKE = """
import sys
from signal_tasks.store import Store

outbox = Store(sys.argv[1]).outbox
while rows := outbox.take_due(7, lease_seconds=600):
    for row in rows:
        print(row.envelope.id)
    outbox.mark_published(rows)
"""


@pytest.mark.parametrize("is_spooled", [False, True], ids=["kept", "spooled"])
def test_processes_share_the_rows(url: str, is_spooled: bool) -> None:
    """Relays that run at the same time take every row, and none of them twice."""
    store = Store(url)
    store.create()
    store.outbox.add(
        [envelope(number, f"shop.{number % 3}") for number in range(200)],
        is_spooled=is_spooled,
    )
    command = [sys.executable, "-W", "error", "-c", TAKE, url]

    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = [process.communicate(timeout=120)[0].split() for process in processes]

    taken = [one for ids in printed for one in ids]
    rest = store.outbox.take_due(500, lease_seconds=1) if is_spooled else []
    assert sorted(taken + ids(rest)) == sorted(f"e{number}" for number in range(200))


def test_threads_take_spooled_rows_in_order(url: str) -> None:
    """However many relays there are, what one receiver gets is in order."""
    store = Store(url)
    store.create()
    store.outbox.add(
        [envelope(number, f"shop.{number % 4}") for number in range(200)],
        is_spooled=True,
    )
    published: list[OutboxRow] = []

    def relay() -> None:
        while store.outbox.has_spooled():
            rows = store.outbox.take_due(5, lease_seconds=600)
            published.extend(rows)
            store.outbox.mark_published(rows)

    with ThreadPoolExecutor(4) as executor:
        done = [executor.submit(relay) for _ in range(4)]
    assert [one.exception() for one in done] == [None] * 4

    assert len(published) == 200
    for remainder in range(4):
        mine = [
            row.id for row in published if row.envelope.receiver == f"shop.{remainder}"
        ]
        assert mine == sorted(mine)
