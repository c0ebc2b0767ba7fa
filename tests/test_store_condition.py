"""How a store's database does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from signal_tasks import StoreError
from signal_tasks.dead_letters import DeadLetter
from signal_tasks.store import Store
from signal_tasks.store.condition import condition_of, is_shared_with
from signal_tasks.store.tables import relays
from tests.stores import url

__all__ = ["url"]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LETTER = DeadLetter(
    receiver="shop.bill",
    signal="order-placed",
    event_id="e1",
    reason="OSError",
    error="refused",
    attempts=4,
    text="{}",
    died_at=NOW,
)


def execute(url: str, *statements: str) -> None:
    """Execute *statements* in the database at *url*."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_new_store_lacks_nothing(url: str) -> None:
    """What the command has made is what this version uses."""
    store = Store(url)
    store.create()

    condition = condition_of(store)

    assert condition.missing == ()
    assert condition.dead_letters == 0
    assert condition.last_relay is None


def test_what_is_in_the_store_is_counted(url: str) -> None:
    """Dead letters are counted, and of the relays the last one is told."""
    store = Store(url)
    store.create()
    for _ in range(3):
        store.dead_letters.keep(LETTER)
    with store.begin() as connection:
        for name, minutes in (("first", 5), ("second", 1)):
            seen = NOW - timedelta(minutes=minutes)
            values = {"name": name, "started_at": NOW, "seen_at": seen}
            connection.execute(insert(relays).values(values))

    condition = condition_of(store)

    assert condition.dead_letters == 3
    assert condition.last_relay == NOW - timedelta(minutes=1)


def test_missing_columns_and_tables_are_named(url: str) -> None:
    """A store of an older version lacks some; what is there is counted all the same."""
    store = Store(url)
    store.create()
    execute(
        url,
        "DROP TABLE signal_tasks_relays",
        "ALTER TABLE signal_tasks_outbox DROP COLUMN publications",
    )

    condition = condition_of(store)

    assert condition.missing == (
        "signal_tasks_outbox.publications",
        "signal_tasks_relays",
    )
    assert condition.last_relay is None
    assert condition.dead_letters == 0


def test_table_of_dead_letters_may_be_missing(url: str) -> None:
    """It cannot be counted then."""
    store = Store(url)
    store.create()
    execute(url, "DROP TABLE signal_tasks_dead_letters")

    condition = condition_of(store)

    assert condition.missing == ("signal_tasks_dead_letters",)
    assert condition.dead_letters is None


def test_store_that_is_not_there_is_an_error() -> None:
    """What the driver raises is translated."""
    store = Store("postgresql+psycopg://nobody@127.0.0.1:1/none")

    with pytest.raises(StoreError):
        condition_of(store)


def test_session_of_the_same_database_shares_it(url: str) -> None:
    """Its transactions are those of the store."""
    session = Session(create_engine(url))

    assert is_shared_with(Store(url), session) is True


def test_session_of_another_database_does_not(url: str) -> None:
    """It may be of another server, file or name."""
    session = Session(create_engine("sqlite://"))

    assert is_shared_with(Store(url), session) is False


@pytest.mark.parametrize("session", [None, Session()], ids=["none", "unbound"])
def test_session_that_is_not_known_may_share_it(
    url: str, session: Session | None
) -> None:
    """Nobody may have said which it is, or it has a database for each model."""
    assert is_shared_with(Store(url), session) is None
