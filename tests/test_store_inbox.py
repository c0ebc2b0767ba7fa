"""The inbox: of several workers one handles an event, and once it is handled none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine, NullPool

from signal_tasks.envelope import Envelope
from signal_tasks.inbox import Busy, Claim
from signal_tasks.store import Inbox, Store
from signal_tasks.store.tables import handled
from tests.stores import Clock, url

__all__ = ["url"]

LEASE = 60

both = pytest.mark.parametrize("is_kept", [False, True], ids=["key", "row"])


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Store:
    """Return a store in each kind of database, with one row in its outbox."""
    store = Store(url, now=clock)
    store.create()
    store.outbox.add([envelope()])
    return store


@pytest.fixture
def inbox(store: Store) -> Inbox:
    """Return the inbox of *store*."""
    return store.inbox


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Return the handler's own engine for the same database."""
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    yield engine
    engine.dispose()


def envelope(event_id: str = "e1") -> Envelope:
    """Return an envelope."""
    return Envelope(
        id=event_id,
        signal="order-placed",
        receiver="shop.bill",
        sent_at=Clock.time,
        payload={},
        shared="",
        own="text",
    )


def claim(inbox: Inbox, is_kept: bool) -> Claim | Busy | None:
    """Claim the one event."""
    return inbox.claim("e1", "shop.bill", is_kept=is_kept, lease_seconds=LEASE)


def claimed(inbox: Inbox, is_kept: bool) -> Claim:
    """Claim the one event, which is to be had."""
    found = claim(inbox, is_kept)
    assert isinstance(found, Claim)
    return found


# -- claims


@both
def test_claimed_event_is_busy(inbox: Inbox, clock: Clock, is_kept: bool) -> None:
    """Who comes second is told until when somebody else has it."""
    ours = claimed(inbox, is_kept)

    found = claim(inbox, is_kept)

    assert found == Busy(until=clock() + timedelta(seconds=LEASE))
    assert ours.until == clock() + timedelta(seconds=LEASE)


@both
def test_claim_is_taken_over_when_its_time_is_over(
    inbox: Inbox, clock: Clock, is_kept: bool
) -> None:
    """A worker that died with an event keeps it from others for a while only."""
    lost = claimed(inbox, is_kept)
    clock.move(LEASE - 0.001)
    assert isinstance(claim(inbox, is_kept), Busy)
    clock.move(0.001)

    ours = claimed(inbox, is_kept)

    assert not inbox.finish(lost)
    assert inbox.finish(ours)


@both
def test_finished_event_is_handled(inbox: Inbox, clock: Clock, is_kept: bool) -> None:
    """What is handled is handled for good."""
    assert inbox.finish(claimed(inbox, is_kept))

    assert claim(inbox, is_kept) is None
    clock.move(10 * LEASE)
    assert claim(inbox, is_kept) is None


@both
def test_event_is_finished_once(inbox: Inbox, is_kept: bool) -> None:
    """A second end of the same claim tells that it came too late."""
    ours = claimed(inbox, is_kept)
    assert inbox.finish(ours)

    assert not inbox.finish(ours)


@both
def test_released_event_can_be_claimed_at_once(inbox: Inbox, is_kept: bool) -> None:
    """After a failure the next attempt waits for no lease."""
    lost = claimed(inbox, is_kept)
    inbox.release(lost)

    ours = claimed(inbox, is_kept)

    inbox.release(lost)
    assert isinstance(claim(inbox, is_kept), Busy)
    assert inbox.finish(ours)


def test_event_given_back_while_it_was_looked_at_is_free_now(
    inbox: Inbox, store: Store, clock: Clock
) -> None:
    """Between two looks a claim may go; then there is nothing to wait for."""
    from signal_tasks.store.inbox import _holder  # noqa: PLC0415

    ours = claimed(inbox, True)
    inbox.release(ours)

    with store.begin() as connection:
        assert _holder(connection, ours, clock()) == Busy(until=clock())


@both
def test_receivers_have_claims_of_their_own(inbox: Inbox, is_kept: bool) -> None:
    """Another receiver of the same event is not kept from it."""
    assert claimed(inbox, False)

    found = inbox.claim("e1", "shop.ship", is_kept=False, lease_seconds=LEASE)

    assert isinstance(found, Claim)


def test_handled_row_is_gone(inbox: Inbox, store: Store) -> None:
    """What came through the outbox needs no key: its row has gone."""
    assert store.outbox.state().kept == 1

    inbox.finish(claimed(inbox, True))

    assert store.outbox.state().kept == 0


def test_claimed_row_is_not_published_again(
    inbox: Inbox, store: Store, clock: Clock
) -> None:
    """While a worker is at it nobody needs another message; afterwards, somebody does."""
    claimed(inbox, True)

    clock.move(LEASE - 1)
    assert store.outbox.take_due(10, lease_seconds=1) == []
    clock.move(1)
    assert len(store.outbox.take_due(10, lease_seconds=1)) == 1


def test_row_that_is_claimed_while_it_is_published_stays_claimed(
    inbox: Inbox, store: Store, clock: Clock
) -> None:
    """A worker may be faster than the relay's note that it has published."""
    rows = store.outbox.take_due(10, lease_seconds=30)
    claimed(inbox, True)

    store.outbox.mark_published(rows)

    assert isinstance(claim(inbox, True), Busy)
    clock.move(LEASE)
    assert len(store.outbox.take_due(10, lease_seconds=1)) == 1


# -- the handler's transaction


@both
def test_event_is_finished_with_the_handlers_commit(
    inbox: Inbox, engine: Engine, is_kept: bool
) -> None:
    """Effect and note come true together."""
    ours = claimed(inbox, is_kept)

    with engine.begin() as connection:
        assert inbox.finish(ours, connection)

    assert claim(inbox, is_kept) is None


@both
def test_event_is_not_finished_by_the_handlers_rollback(
    inbox: Inbox, engine: Engine, is_kept: bool
) -> None:
    """Without the effect there is no note."""
    ours = claimed(inbox, is_kept)

    with engine.connect() as connection:
        assert inbox.finish(ours, connection)
        connection.rollback()

    assert isinstance(claim(inbox, is_kept), Busy)
    assert inbox.finish(ours)


# -- redeliveries


def test_redeliveries_are_counted(inbox: Inbox) -> None:
    """Each event of each receiver has its count, whether it is claimed or not."""
    assert inbox.count_redelivery("e1", "shop.bill") == 1
    claimed(inbox, False)

    assert inbox.count_redelivery("e1", "shop.bill") == 2
    assert inbox.count_redelivery("e1", "shop.ship") == 1
    assert inbox.count_redelivery("e2", "shop.bill") == 1
    assert isinstance(claim(inbox, False), Busy)


def test_counted_event_can_be_claimed(inbox: Inbox) -> None:
    """A count is no claim."""
    inbox.count_redelivery("e1", "shop.bill")

    assert inbox.finish(claimed(inbox, False))
    assert inbox.count_redelivery("e1", "shop.bill") == 2


# -- forgetting


def test_old_keys_are_forgotten(inbox: Inbox, store: Store, clock: Clock) -> None:
    """A key is kept as long as a message may come again, and no longer."""
    inbox.finish(claimed(inbox, False))
    inbox.count_redelivery("counted", "shop.bill")
    clock.move(60)
    inbox.claim("running", "shop.bill", is_kept=False, lease_seconds=7200)
    clock.move(3600 - 60)
    assert inbox.forget(timedelta(hours=1)) == 0
    clock.move(61)

    assert inbox.forget(timedelta(hours=1)) == 2

    with store.reading() as connection:
        left = connection.scalars(sqlalchemy.select(handled.c.event_id)).all()
    assert left == ["running"]
    assert store.outbox.state().kept == 1


# -- several at once


@both
def test_one_of_many_threads_gets_the_claim(inbox: Inbox, is_kept: bool) -> None:
    """Of workers that ask at the same time, one gets the event."""
    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda _: claim(inbox, is_kept), range(8)))

    assert [type(one) for one in found].count(Claim) == 1
    assert [type(one) for one in found].count(Busy) == 7


def test_threads_count_each_redelivery(inbox: Inbox) -> None:
    """No count is lost."""
    with ThreadPoolExecutor(8) as executor:
        counts = executor.map(
            lambda _: inbox.count_redelivery("e1", "shop.bill"), range(40)
        )

    assert sorted(counts) == list(range(1, 41))


HANDLE = """
import sys
from signal_tasks.inbox import Claim
from signal_tasks.store import Store

inbox = Store(sys.argv[1]).inbox
for number in range(60):
    is_kept = number % 2 == 1
    claim = inbox.claim(
        f"e{number}", "shop.bill", is_kept=is_kept, lease_seconds=600
    )
    if isinstance(claim, Claim):
        print(number)
        assert inbox.finish(claim)
"""


def test_processes_handle_each_event_once(url: str) -> None:
    """Workers that get the same messages share the events."""
    store = Store(url)
    store.create()
    store.outbox.add([envelope(f"e{number}") for number in range(60)])
    command = [sys.executable, "-W", "error", "-c", HANDLE, url]

    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = [process.communicate(timeout=120)[0].split() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    done = sorted(int(number) for numbers in printed for number in numbers)
    assert done == list(range(60))
    assert store.outbox.state().kept == 30


def test_handlers_transaction_keeps_the_next_claim_waiting(
    tmp_path: Path, engine: Engine, inbox: Inbox, clock: Clock
) -> None:
    """A claim that is over cannot be taken while its handler's commit is under way."""
    ours = claimed(inbox, True)
    clock.move(LEASE)

    with ThreadPoolExecutor(1) as executor, engine.begin() as connection:
        assert inbox.finish(ours, connection)
        late = executor.submit(claim, inbox, True)

    assert late.result() is None
