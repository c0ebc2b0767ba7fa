"""What is found about the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from signal_tasks import ConfigurationError
from signal_tasks.dead_letters import DeadLetter
from signal_tasks.doctor.findings import Finding, Status
from signal_tasks.doctor.store import (
    check_lag,
    check_letters,
    check_relay,
    check_session,
    check_spool,
    look_at_store,
)
from signal_tasks.envelope import Seal
from signal_tasks.references import NO_DATABASE, Database
from signal_tasks.relay.outbox import OutboxState
from signal_tasks.store import Store
from signal_tasks.store.tables import relays
from tests.test_store_condition import LETTER

OK, NOTE, WARNING, WRONG = Status.OK, Status.NOTE, Status.WARNING, Status.WRONG
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EMPTY = OutboxState(kept=0, spooled=0, due=0, oldest_due=None)
PASSWORD = "hunter2"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store."""
    return Store(f"sqlite:///{tmp_path / 'store.sqlite3'}")


def found(store: Store, *kept: str) -> list[Finding]:
    """Return what is found in *store*."""
    return list(
        look_at_store(lambda: store, NO_DATABASE, kept=kept, once=(), now=lambda: NOW)
    )


def test_store_in_use_is_well(store: Store) -> None:
    """It answers, has its tables, and a relay."""
    with store.begin() as connection:
        values = {"name": "relay", "started_at": NOW, "seen_at": NOW}
        connection.execute(insert(relays).values(values))

    findings = found(store)

    assert [(one.check, one.status) for one in findings] == [
        ("store-reachable", OK),
        ("store-tables", OK),
        ("relay-alive", OK),
    ]


def test_store_that_is_not_there_is_wrong() -> None:
    """Its address is named without its password."""
    store = Store(f"postgresql+psycopg://bob:{PASSWORD}@127.0.0.1:1/shop")

    [finding] = found(store)

    assert (finding.check, finding.status) == ("store-reachable", WRONG)
    assert "127.0.0.1" in finding.found
    assert PASSWORD not in finding.found


def test_store_that_is_set_up_wrongly_is_wrong() -> None:
    """A driver may be missing, or the URL be none."""

    def open_store() -> Store:
        raise ConfigurationError("install its driver.")

    [finding] = look_at_store(open_store, NO_DATABASE, kept=(), once=())

    assert (finding.check, finding.status) == ("store-reachable", WRONG)
    assert finding.found == "install its driver."


def test_missing_tables_are_wrong(store: Store) -> None:
    """They are named, and nothing is read from those that are there."""
    store.create()
    engine = create_engine(store.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE signal_tasks_outbox")
    engine.dispose()

    findings = found(store)

    assert [one.check for one in findings] == ["store-reachable", "store-tables"]
    assert findings[1].status is WRONG
    assert findings[1].about == ("signal_tasks_outbox",)


def test_dead_letters_are_a_note(store: Store) -> None:
    """Somebody may want to look at them."""
    letter: DeadLetter = LETTER
    store.dead_letters.keep(letter)

    *_, finding = found(store)

    assert (finding.check, finding.status) == ("dead-letters", NOTE)
    assert "1 dead letter" in finding.found


def test_no_dead_letters_are_no_finding() -> None:
    """Neither are those that cannot be counted."""
    assert not [*check_letters(0), *check_letters(None)]


@pytest.mark.parametrize(
    ("seen", "kept", "outbox", "statuses"),
    [
        (NOW - timedelta(seconds=20), ["bill"], EMPTY, [OK]),
        (NOW - timedelta(minutes=3), ["bill"], EMPTY, [WRONG]),
        (None, ["bill"], EMPTY, [WRONG]),
        (None, [], OutboxState(kept=1, spooled=0, due=0, oldest_due=None), [WRONG]),
        (None, [], EMPTY, []),
    ],
    ids=["alive", "gone", "never", "rows", "unneeded"],
)
def test_relay_is_at_work_where_it_is_needed(
    seen: datetime | None, kept: list[str], outbox: OutboxState, statuses: list[Status]
) -> None:
    """Receivers that are delivered by outbox need one, and so do rows."""
    findings = list(check_relay(seen, now=NOW, kept=kept, outbox=outbox))

    assert [one.status for one in findings] == statuses


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=90), "90 seconds ago"),
        (timedelta(minutes=5), "5 minutes ago"),
        (timedelta(hours=7), "7 hours ago"),
        (timedelta(days=3), "3 days ago"),
    ],
    ids=["seconds", "minutes", "hours", "days"],
)
def test_relay_that_is_gone_was_seen(ago: timedelta, text: str) -> None:
    """How long ago that was is said as people do."""
    [finding] = check_relay(NOW - ago, now=NOW, kept=["bill"], outbox=EMPTY)

    assert text in finding.found


@pytest.mark.parametrize(
    ("kept", "late", "statuses"),
    [
        (3, timedelta(minutes=5), [WRONG]),
        (3, timedelta(seconds=5), [OK]),
        (3, None, [OK]),
        (0, None, []),
    ],
    ids=["late", "soon", "published", "none"],
)
def test_late_rows_are_wrong(
    kept: int, late: timedelta | None, statuses: list[Status]
) -> None:
    """A row that is due and stays tells that nobody publishes it."""
    outbox = OutboxState(kept=kept, spooled=0, due=1 if late else 0, oldest_due=late)

    assert [one.status for one in check_lag(outbox)] == statuses


def test_spooled_rows_are_a_warning(store: Store) -> None:
    """The broker has not taken some events so far."""
    envelopes = Seal(["key"]).seal(
        id="e1",
        signal="paid",
        sent_at=NOW,
        trail=(),
        payload={},
        context={},
        receivers=["shop.bill", "shop.thank"],
    )
    store.spool.add(envelopes, is_spooled=True)

    *_, finding = found(store)

    assert (finding.check, finding.status) == ("spooled", WARNING)
    assert "2 events" in finding.found


def test_empty_spool_is_no_finding() -> None:
    """That is how it should be, and goes without saying."""
    assert not list(check_spool(0))


@pytest.mark.parametrize(
    ("is_shared", "statuses"),
    [(True, [OK]), (None, [WARNING, WARNING]), (False, [WARNING, WRONG])],
    ids=["shared", "unknown", "another"],
)
def test_handlers_transactions_are_the_stores(
    is_shared: bool | None, statuses: list[Status]
) -> None:
    """Else an effect may be doubled, and an event is not part of its cause."""
    findings = list(check_session(is_shared, kept=["bill"], once=["thank"]))

    assert [one.status for one in findings] == statuses


def test_session_matters_to_those_who_ask_for_it() -> None:
    """Who is delivered directly and may run twice needs none."""
    assert not list(check_session(None, kept=[], once=[]))


def test_session_is_looked_at(store: Store) -> None:
    """The session of the handlers may be of the same database as the store."""
    handlers = Database(session=lambda: Session(create_engine(store.url)))

    *_, finding = look_at_store(lambda: store, handlers, kept=(), once=["shop.bill"])

    assert (finding.check, finding.status) == ("session-database", OK)
