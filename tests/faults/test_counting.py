"""What the counts count."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, StaticPool, create_engine
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


def test_orders_and_bookings_are_compared(engine: Engine) -> None:
    """One order is booked once, one not, one thrice; and two are booked that are none."""
    with Session(engine) as session, session.begin():
        session.add_all(Order(number=number) for number in (1, 2, 3))
        session.add_all(Booking(number=number) for number in (1, 3, 3, 3, 4, 5, 5))

    counts = count(engine)

    assert counts == Counts(
        committed=3, lost=1, doubled=1, phantom=2, dead=0, unfinished=0
    )


def test_tables_of_the_store_are_counted_where_they_are(engine: Engine) -> None:
    """Dead letters and rows of the outbox are told."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE signal_tasks_dead_letters (id INTEGER)"
        )
        connection.exec_driver_sql("CREATE TABLE signal_tasks_outbox (id INTEGER)")
        connection.exec_driver_sql("INSERT INTO signal_tasks_outbox VALUES (1), (2)")

    counts = count(engine)

    assert (counts.dead, counts.unfinished) == (0, 2)
