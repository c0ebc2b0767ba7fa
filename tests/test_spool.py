"""What the broker did not take is kept, in order, and published later."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from signal_tasks import PublishError, StoreError, event_spooled
from signal_tasks.delivery.spool import Spool
from signal_tasks.envelope import Envelope
from signal_tasks.signals import EventSpooled
from tests.envelopes import envelope
from tests.hosts import RecordingPublisher

PATIENCE_SECONDS = 60


@dataclass
class Rows:
    """Rows in memory."""

    waiting: list[str] = field(default_factory=list)
    error: Exception | None = None
    asking_error: Exception | None = None
    is_there: bool = True
    has_looked: threading.Event = field(default_factory=threading.Event)

    def add(self, envelopes: Sequence[Envelope], *, is_spooled: bool) -> None:
        """Add envelopes, or raise the error."""
        assert is_spooled
        if self.error is not None:
            raise self.error
        self.waiting += [one.text for one in envelopes]

    def has_spooled(self) -> bool:
        """Tell whether there are rows, or raise the error."""
        self.has_looked.set()
        error = self.error or self.asking_error
        if error is not None:
            raise error
        return bool(self.waiting)


@dataclass
class Office:
    """A spool, its rows, and a drain that works when it is let."""

    rows: Rows = field(default_factory=Rows)
    publisher: RecordingPublisher = field(default_factory=RecordingPublisher)
    drained: list[str] = field(default_factory=list)
    may_drain: threading.Event = field(default_factory=threading.Event)
    is_wanted: bool = True

    def __post_init__(self) -> None:
        self.spool = Spool(
            self.publisher,
            rows=lambda: self.rows,
            drain=self.drain,
            application="shop",
            is_wanted=lambda: self.is_wanted,
        )

    def drain(self) -> None:
        """Take the rows, as soon as the broker is back."""
        assert self.may_drain.wait(PATIENCE_SECONDS)
        self.drained += self.rows.waiting
        self.rows.waiting.clear()

    def join(self) -> None:
        """Wait until the spool's thread has nothing to do any more."""
        thread = self.spool._queue.own.thread
        if thread is not None:  # pragma: no branch  # it may have ended already
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()

    def break_broker(self, *names: str, lost: Sequence[str] = ()) -> None:
        """Let the broker refuse the envelopes for *names*, and none be made of *lost*."""
        self.publisher.error = PublishError(
            "the broker is away.", receivers=(*lost, *names), unsent=names
        )


@pytest.fixture
def office() -> Office:
    """Return a spool whose broker is well."""
    return Office()


def test_what_the_broker_takes_is_not_kept(office: Office) -> None:
    """A healthy broker gets everything at once."""
    office.spool.publish([envelope("one")])
    office.join()

    assert [one.id for one in office.publisher.envelopes] == ["one"]
    assert (office.rows.waiting, office.drained) == ([], [])


def test_what_the_broker_does_not_take_is_kept_and_published_later(
    office: Office,
) -> None:
    """An envelope that could not leave is a row until the broker is back."""
    events: list[EventSpooled] = []

    def note(sender: object, details: EventSpooled) -> None:
        events.append(details)

    office.break_broker("bill")

    with event_spooled.connected_to(note):
        office.spool.publish([envelope("one"), envelope("one", "pack")])
    kept = list(office.rows.waiting)
    office.may_drain.set()
    office.join()

    assert (kept, office.drained) == (["one for bill"], ["one for bill"])
    assert [(one.event_id, one.receivers) for one in events] == [("one", ("bill",))]
    assert events[0].error is office.publisher.error


def test_what_comes_later_queues_up_behind(office: Office) -> None:
    """While something waits, nothing overtakes it, also when the broker is back."""
    office.break_broker("bill")
    office.spool.publish([envelope("one")])
    office.publisher.error = None

    office.spool.publish([envelope("two")])
    office.may_drain.set()
    office.join()
    office.spool.publish([envelope("three")])

    assert office.drained == ["one for bill", "two for bill"]
    assert [one.id for one in office.publisher.envelopes] == ["three"]


def test_store_that_fails_lets_later_events_overtake(office: Office) -> None:
    """The order is worth less than an event that the broker would take."""
    office.break_broker("bill")
    office.spool.publish([envelope("one")])
    office.publisher.error = None
    office.rows.error = StoreError("the disk is full.")

    office.spool.publish([envelope("two")])

    assert [one.id for one in office.publisher.envelopes] == ["two"]
    office.may_drain.set()
    office.join()


def test_store_that_fails_once_leaves_no_row_behind(office: Office) -> None:
    """What is there for certain is published, also if the store does not say so now."""
    office.break_broker("bill")
    office.rows.asking_error = StoreError("it restarts.")
    office.may_drain.set()

    office.spool.publish([envelope("one")])
    office.join()

    assert office.drained == ["one for bill"]


def test_thread_that_cannot_be_started_is_started_later(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that is kept is not lost for there being too many threads."""

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    office.break_broker("bill")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        office.spool.publish([envelope("one")])
    office.may_drain.set()

    office.spool.publish([envelope("two")])
    office.join()

    assert office.drained == ["one for bill", "two for bill"]


def test_event_that_cannot_be_kept_is_an_error(office: Office) -> None:
    """With broker and store away, the sender hears of both."""
    office.break_broker("bill")
    office.rows.error = StoreError("the disk is full.")

    with pytest.raises(PublishError, match=r"away\. Nor could.*disk is full") as caught:
        office.spool.publish([envelope("one")])

    assert caught.value.receivers == ("bill",)


def test_what_has_left_is_not_kept_with_its_likes(office: Office) -> None:
    """Of several events for a receiver, those that the broker took are not sent again."""
    office.publisher.error = PublishError(
        "slow.", receivers=("bill",), unsent=("bill",), events={("two", "bill")}
    )

    office.spool.publish([envelope("one"), envelope("two")])

    assert office.rows.waiting == ["two for bill"]
    office.may_drain.set()
    office.join()


def test_message_that_cannot_be_made_is_not_kept(office: Office) -> None:
    """What no broker would ever get is an error, while the others are kept."""
    office.break_broker("bill", lost=["pack"])

    with pytest.raises(PublishError) as caught:
        office.spool.publish([envelope("one"), envelope("one", "pack")])

    assert caught.value.receivers == ("pack",)
    assert office.rows.waiting == ["one for bill"]
    office.may_drain.set()
    office.join()


def test_message_that_cannot_be_made_is_an_error_of_the_sender(office: Office) -> None:
    """With a healthy broker there is nothing to keep."""
    office.break_broker(lost=["pack"])

    with pytest.raises(PublishError):
        office.spool.publish([envelope("one", "pack")])

    assert office.rows.waiting == []


def test_sender_that_hears_of_it_keeps_nothing(office: Office) -> None:
    """Where a failed send raises, what to do is the sender's business."""
    office.is_wanted = False
    office.break_broker("bill")

    with pytest.raises(PublishError):
        office.spool.publish([envelope("one")])

    assert office.rows.waiting == []


def test_rows_of_a_process_before_are_found(office: Office) -> None:
    """What a process has left that ended in the outage is published by the next one."""
    office.rows.waiting.append("left behind")
    office.may_drain.set()

    office.spool.publish([envelope("one")])
    office.join()

    assert office.drained == ["left behind"]


def test_database_that_is_not_there_has_no_rows(office: Office) -> None:
    """Where nothing was ever kept, nobody is asked for it."""
    office.rows.is_there = False

    office.spool.publish([envelope("one")])
    office.join()

    assert not office.rows.has_looked.is_set()


def test_rows_that_cannot_be_looked_for_end_nothing(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that cannot be reached is logged, and the next event leaves."""
    office.rows.error = StoreError("no such server.")

    office.spool.publish([envelope("one")])
    assert office.rows.has_looked.wait(PATIENCE_SECONDS)
    office.join()

    assert [one.id for one in office.publisher.envelopes] == ["one"]
    assert "were left there" in caplog.text


def test_forked_child_has_a_thread_of_its_own(office: Office) -> None:
    """A child that inherits the state of a draining parent drains what it keeps."""
    office.break_broker("bill")
    office.spool.publish([envelope("one")])
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        office.rows.waiting.clear()
        office.spool.publish([envelope("two")])
        office.may_drain.set()
        office.join()
        os.write(writing, office.drained[0].encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 100) == b"two for bill"
    os.close(reading)
    os.close(writing)
    office.may_drain.set()
    office.join()
