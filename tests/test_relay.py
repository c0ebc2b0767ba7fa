"""The relay: what is due leaves once, and an outage of anything is sat out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from logging import ERROR, INFO, WARNING
from pathlib import Path

import pytest

from signal_tasks.envelope import Envelope
from signal_tasks.exceptions import PublishError, StoreError
from signal_tasks.relay.outbox import OutboxRow
from signal_tasks.relay.relay import Relay, drain
from signal_tasks.store import Outbox, Store
from tests.stores import Clock


def envelope(number: int, receiver: str = "shop.bill") -> Envelope:
    """Return an envelope."""
    return Envelope(
        id=f"e{number}",
        signal="order-placed",
        receiver=receiver,
        sent_at=Clock.time,
        payload={},
        shared="text ",
        own=f"{number}",
    )


class Broker:
    """A publisher that fails as it is told to."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.taken: list[str] = []
        self.when_empty: Callable[[], object] | None = None

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        failure = self.failures.pop(0) if self.failures else None
        names = failure.receivers if isinstance(failure, PublishError) else ()
        if failure is None or names:
            self.taken += [one.id for one in envelopes if one.receiver not in names]
        if failure is not None:
            raise failure


class Once:
    """A waiter that ends the relay when there is nothing to do for it."""

    def wait(self, stop: threading.Event) -> None:
        stop.set()


class Rows:
    """An outbox that fails as it is told to."""

    def __init__(self, outbox: Outbox, **failures: int) -> None:
        self.outbox = outbox
        self.failures = failures

    def take_due(
        self,
        limit: int,
        *,
        lease_seconds: float,
        receivers: Collection[str] | None = None,
    ) -> list[OutboxRow]:
        self._fail("take_due")
        return self.outbox.take_due(
            limit, lease_seconds=lease_seconds, receivers=receivers
        )

    def mark_published(self, rows: Iterable[OutboxRow]) -> None:
        self._fail("mark_published")
        self.outbox.mark_published(rows)

    def has_spooled(self, receivers: Collection[str] | None = None) -> bool:
        self._fail("has_spooled")
        return self.outbox.has_spooled(receivers)

    def _fail(self, name: str) -> None:
        left = self.failures.get(name, 0)
        if left:
            self.failures[name] = left - 1
            raise StoreError("the store did not do it")


class Impatient(threading.Event):
    """A stop event that nobody waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0)
        return self.is_set()


def refusal(*receivers: str, unsent: bool = True) -> PublishError:
    """Return what a broker says that did not take it."""
    return PublishError(
        "no broker", receivers=receivers, unsent=receivers if unsent else ()
    )


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Outbox:
    """Return an outbox with nothing in it."""
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite3'}", now=clock)
    store.create()
    return store.outbox


def test_what_is_due_leaves_in_order(outbox: Outbox) -> None:
    """The relay publishes batch after batch until nothing is due."""
    outbox.add([envelope(number) for number in range(7)])
    broker = Broker()
    relay = Relay([outbox], broker, batch_size=3)

    relay.run_once(threading.Event())

    assert broker.taken == [f"e{number}" for number in range(7)]
    assert relay.published == 7
    assert outbox.state().due == 0
    assert outbox.state().kept == 7


def test_relay_goes_on_when_rows_come(outbox: Outbox) -> None:
    """It waits for rows, and ends when it is told to."""
    broker = Broker()

    class Adding:
        turns = 0

        def wait(self, stop: threading.Event) -> None:
            self.turns += 1
            if self.turns > 3:
                stop.set()
            outbox.add([envelope(self.turns)])

    Relay([outbox], broker).run(Adding(), threading.Event())

    assert broker.taken == ["e1", "e2", "e3"]


def test_each_outbox_is_looked_after(outbox: Outbox, tmp_path: Path) -> None:
    """What was spooled beside the store leaves as well."""
    spool = Store(f"sqlite:///{tmp_path / 'spool.sqlite3'}").outbox
    outbox.add([envelope(1)])
    spool.add([envelope(2)], is_spooled=True)
    broker = Broker()

    Relay([outbox, spool], broker).run(Once(), threading.Event())

    assert broker.taken == ["e1", "e2"]
    assert not spool.has_spooled()


def test_rows_of_strangers_stay(outbox: Outbox) -> None:
    """What this process has no receiver for is left to one that has."""
    outbox.add([envelope(1, "other.app"), envelope(2)])
    broker = Broker()

    Relay([outbox], broker, receivers=lambda: ["shop.bill"]).run_once(threading.Event())

    assert broker.taken == ["e2"]
    assert outbox.state().due == 1


def test_outage_of_the_broker_is_sat_out(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows wait for the broker, the relay longer each time, and the log says so once."""
    outbox.add([envelope(1)])
    broker = Broker(*[refusal("shop.bill")] * 9)
    stop = Impatient()

    with caplog.at_level(INFO):
        Relay([outbox], broker).run(Once(), stop)

    assert broker.taken == ["e1"]
    assert stop.waits == sorted(stop.waits)
    assert (stop.waits[0], stop.waits[-1]) == (0.2, 5.0)
    assert [record.levelno for record in caplog.records] == [WARNING, INFO]
    assert "waits for the broker" in caplog.text
    assert "the broker works again" in caplog.text


def test_outage_of_the_store_is_sat_out(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that comes back is gone on with, and the log says so once."""
    outbox.add([envelope(1)])
    broker = Broker()

    with caplog.at_level(INFO):
        Relay([Rows(outbox, take_due=3)], broker).run(Once(), Impatient())

    assert broker.taken == ["e1"]
    assert [record.levelno for record in caplog.records] == [WARNING, INFO]


@pytest.mark.parametrize("is_spooled", [False, True], ids=["kept", "spooled"])
def test_what_has_left_is_noted_when_the_store_is_back(
    outbox: Outbox, is_spooled: bool
) -> None:
    """A store that fails between the two makes nothing leave twice."""
    outbox.add([envelope(1)], is_spooled=is_spooled)
    broker = Broker()

    Relay([Rows(outbox, mark_published=3)], broker).run(Once(), Impatient())

    assert broker.taken == ["e1"]
    assert outbox.state().spooled == 0
    assert outbox.state().due == 0


def test_unexpected_failure_is_survived(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """A publisher that is broken is logged with its traceback, and tried again."""
    outbox.add([envelope(1)])
    broker = Broker(KeyError("shop"))

    Relay([outbox], broker).run(Once(), Impatient())

    assert [record.levelno for record in caplog.records] == [ERROR]
    assert caplog.records[0].exc_info
    clock.move(5)
    Relay([outbox], broker).run_once(threading.Event())
    assert broker.taken == ["e1"]


def test_message_that_cannot_be_made_holds_up_no_other(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its row stays for a while, for it takes new code; the others leave."""
    outbox.add([envelope(1, "shop.wrong"), envelope(2)])
    broker = Broker(refusal("shop.wrong", unsent=False))

    with pytest.raises(PublishError):
        Relay([outbox], broker).run_once(threading.Event())

    assert broker.taken == ["e2"]
    assert "stay there for now" in caplog.text
    assert outbox.state().due == 0
    clock.move(60)
    assert outbox.state().due == 1


def test_once_means_until_the_first_failure(outbox: Outbox) -> None:
    """Who runs it once is told that the broker did not take it; the rows are due."""
    outbox.add([envelope(1), envelope(2, "shop.ship")])
    broker = Broker(refusal("shop.ship"), refusal("shop.ship"))

    with pytest.raises(PublishError):
        Relay([outbox], broker).run_once(threading.Event())

    assert broker.taken == ["e1"]
    assert outbox.state().due == 1


class SlowBroker:
    """A publisher that takes so many at a time."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.taken: list[str] = []

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        self.taken += [one.id for one in envelopes[: self.at_once]]
        left = envelopes[self.at_once :]
        names = tuple(one.receiver for one in left)
        if left:
            events = {(one.id, one.receiver) for one in left}
            raise PublishError("slow", receivers=names, unsent=names, events=events)


@pytest.mark.parametrize("is_spooled", [False, True], ids=["kept", "spooled"])
def test_slow_broker_gets_each_message_once(outbox: Outbox, is_spooled: bool) -> None:
    """What has left in time is not sent again with those of its receiver that have not."""
    outbox.add([envelope(number) for number in range(20)], is_spooled=is_spooled)
    broker = SlowBroker(3)

    Relay([outbox], broker, batch_size=8).run_once(threading.Event())

    assert broker.taken == [f"e{number}" for number in range(20)]
    assert outbox.state().due == 0


def test_full_queue_holds_up_no_other(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that a working broker refuses let those behind them pass, and stay."""
    outbox.add([envelope(1, "shop.full"), envelope(2)])
    refused = PublishError(
        "full", receivers=("shop.full",), unsent=("shop.full",), is_outage=False
    )
    broker = Broker(refused)

    with pytest.raises(PublishError, match="full"):
        Relay([outbox], broker, batch_size=1).run_once(threading.Event())

    assert broker.taken == ["e2"]
    assert "stay there for now" in caplog.text
    assert outbox.state().due == 0
    clock.move(10)
    assert outbox.state().due == 1


def test_chores_are_done_now_and_then(outbox: Outbox) -> None:
    """A heartbeat is not one for each batch."""
    outbox.add([envelope(number) for number in range(3)])
    time = iter([0.0, 0.0, 0.0, 5.0, 10.0, 10.0])
    done: list[None] = []
    relay = Relay(
        [outbox],
        Broker(),
        batch_size=1,
        chores=lambda: done.append(None),
        clock=lambda: next(time, 11.0),
    )

    relay.run(Once(), threading.Event())

    assert len(done) == 2


# -- draining


def test_drain_ends_when_nothing_is_left(outbox: Outbox) -> None:
    """The spool is emptied, whatever it takes; what is kept stays."""
    outbox.add([envelope(number) for number in range(250)], is_spooled=True)
    broker = Broker(None, refusal("shop.bill"))

    drain(outbox, broker, stop=Impatient())

    assert broker.taken == [f"e{number}" for number in range(250)]
    assert not outbox.has_spooled()


def test_drain_survives_the_store(outbox: Outbox) -> None:
    """A store that does not answer is asked again."""
    outbox.add([envelope(1)], is_spooled=True)
    broker = Broker()

    drain(Rows(outbox, has_spooled=2, take_due=1), broker, stop=Impatient())

    assert broker.taken == ["e1"]


def test_drain_waits_for_who_has_the_rows(outbox: Outbox, clock: Clock) -> None:
    """What another process is publishing is not over until it has done so."""
    outbox.add([envelope(1)], is_spooled=True)
    rows = outbox.take_due(1, lease_seconds=60)

    class Other(Impatient):
        def wait(self, timeout: float | None = None) -> bool:
            outbox.mark_published(rows)
            return super().wait(timeout)

    stop = Other()
    broker = Broker()
    drain(outbox, broker, stop=stop)

    assert broker.taken == []
    assert stop.waits == [1]


def test_drain_leaves_what_cannot_be_made(outbox: Outbox) -> None:
    """A receiver that no message can be made for does not keep the thread."""
    outbox.add([envelope(1, "shop.wrong"), envelope(2)], is_spooled=True)
    broker = Broker(refusal("shop.wrong", unsent=False))

    drain(outbox, broker)

    assert broker.taken == ["e2"]
    assert outbox.state().spooled == 1


def test_drain_leaves_strangers(outbox: Outbox) -> None:
    """Rows that are for other code are none of ours."""
    outbox.add([envelope(1, "other.app")], is_spooled=True)

    drain(outbox, Broker(), receivers=lambda: ["shop.bill"])

    assert outbox.state().spooled == 1


def test_drain_can_be_ended(outbox: Outbox) -> None:
    """Who ends early leaves the rest."""
    outbox.add([envelope(1)], is_spooled=True)
    stop = threading.Event()
    stop.set()

    drain(outbox, Broker(), stop=stop)

    assert outbox.state().spooled == 1


# -- several at once


def test_relays_share_the_rows(outbox: Outbox) -> None:
    """Of several relays each row leaves by one."""
    outbox.add([envelope(number) for number in range(200)])
    brokers = [Broker() for _ in range(4)]

    with ThreadPoolExecutor(4) as executor:
        done = [
            executor.submit(
                Relay([outbox], broker, batch_size=7).run_once, threading.Event()
            )
            for broker in brokers
        ]
    assert [one.exception() for one in done] == [None] * 4

    taken = [one for broker in brokers for one in broker.taken]
    assert sorted(taken) == sorted(f"e{number}" for number in range(200))
