"""What the counts count."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, StaticPool, create_engine, text
from sqlalchemy.orm import Session

from tests.faults.counting import Counts, count
from tests.faults.program import Base, Booking, Order


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Return a database with the program's tables."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def keep(engine: Engine, table: str, *numbers: int) -> None:
    """Put envelopes about the orders of these *numbers* into a table of the store."""
    envelopes = [{"payload": {"kwargs": {"number": number}}} for number in numbers]
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {table} (text TEXT)"))
        for envelope in envelopes:
            values = {"envelope": json.dumps(envelope)}
            connection.execute(text(f"INSERT INTO {table} VALUES (:envelope)"), values)


def test_orders_and_bookings_are_compared(engine: Engine) -> None:
    """One order is booked once, one not, one thrice; and two are booked that are none."""
    with Session(engine) as session, session.begin():
        session.add_all(Order(number=number) for number in (1, 2, 3))
        session.add_all(Booking(number=number) for number in (1, 3, 3, 3, 4, 5, 5))

    counts = count(engine)

    assert counts == Counts(
        committed=3, lost=1, buried=0, doubled=1, phantom=2, unfinished=0
    )


def test_tables_of_the_store_are_looked_into(engine: Engine) -> None:
    """An order with a dead letter and no booking is not lost; a row of the outbox is."""
    with Session(engine) as session, session.begin():
        session.add_all(Order(number=number) for number in (1, 2, 3))
        session.add(Booking(number=1))
    keep(engine, "signal_tasks_dead_letters", 1, 2, 7)
    keep(engine, "signal_tasks_outbox", 3)

    counts = count(engine)

    assert counts == Counts(
        committed=3, lost=1, buried=1, doubled=0, phantom=0, unfinished=1
    )
