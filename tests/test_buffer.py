"""Envelopes that wait in memory for a thread."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from queue import SimpleQueue

import pytest

from signal_tasks import BufferFullError, PublishError, dispatch_failed
from signal_tasks.delivery import buffer as buffer_module
from signal_tasks.delivery.buffer import (
    Buffer,
    WhenFull,
    _look_again_and_again,
    _Waiting,
)
from signal_tasks.envelope import Envelope
from signal_tasks.signals import DispatchFailed
from tests.envelopes import envelope
from tests.hosts import RecordingPublisher

PATIENCE_SECONDS = 60


class Receiving:
    """A publisher that can be waited for, and held up."""

    def __init__(self) -> None:
        self.batches: SimpleQueue[list[str]] = SimpleQueue()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Tell which events came, when that is allowed."""
        assert self.may_go_on.wait(PATIENCE_SECONDS)
        self.batches.put([one.id for one in envelopes])

    def next(self) -> list[str]:
        """Return the events of the next batch."""
        return self.batches.get(timeout=PATIENCE_SECONDS)


def make_buffer(
    publisher: Receiving,
    direct: RecordingPublisher | None = None,
    *,
    size: int = 100,
    when_full: WhenFull = "direct",
) -> Buffer:
    """Return a buffer before *publisher*."""
    return Buffer(
        publisher,
        direct=direct or RecordingPublisher(),
        application="shop",
        size=size,
        when_full=when_full,
    )


def test_thread_publishes_what_waits_in_order() -> None:
    """What comes while the thread is away leaves as one batch."""
    publisher = Receiving()
    buffer = make_buffer(publisher)
    publisher.may_go_on.clear()

    buffer.publish([envelope("one")])
    buffer.publish([envelope("two"), envelope("three")])
    publisher.may_go_on.set()

    seen: list[str] = []
    while len(seen) < 3:
        seen += publisher.next()
    assert seen == ["one", "two", "three"]


def test_thread_wakes_again() -> None:
    """What comes after the thread has had nothing to do is published as well."""
    publisher = Receiving()
    buffer = make_buffer(publisher)
    buffer.publish([envelope("one")])
    first = publisher.next()

    buffer.publish([envelope("two")])

    assert (first, publisher.next()) == (["one"], ["two"])


def test_full_buffer_publishes_at_once() -> None:
    """What finds no place leaves in the request, as it would directly."""
    direct = RecordingPublisher()
    receiving = Receiving()
    receiving.may_go_on.clear()
    buffer = make_buffer(receiving, direct, size=1)
    while not direct.batches:
        buffer.publish([envelope("one"), envelope("two")])
    receiving.may_go_on.set()

    assert [one.id for one in direct.envelopes] == ["one", "two"]


def test_full_buffer_may_drop() -> None:
    """Where that is chosen, what finds no place is dropped, and reported."""
    failures: list[DispatchFailed] = []

    def note(sender: object, details: DispatchFailed) -> None:
        failures.append(details)

    direct = RecordingPublisher(error=PublishError("", receivers=()))
    receiving = Receiving()
    receiving.may_go_on.clear()
    buffer = make_buffer(receiving, direct, size=1, when_full="drop")

    with dispatch_failed.connected_to(note):
        while not failures:
            buffer.publish([envelope("one"), envelope("one", "pack")])
    receiving.may_go_on.set()

    (failure,) = failures
    assert failure.receivers == ("bill", "pack")
    assert isinstance(failure.error, BufferFullError)
    assert failure.error.size == 1


def test_buffer_is_flushed_on_demand() -> None:
    """A flush publishes all that waits before it returns, in batches."""
    publisher = Receiving()
    buffer = make_buffer(publisher, size=10_000)
    for number in range(1200):
        buffer.publish([envelope(str(number))])

    buffer.flush()

    sizes: list[int] = []
    while sum(sizes) < 1200:
        sizes.append(len(publisher.next()))
    assert max(sizes) <= 100


def test_thread_ends_with_its_buffer() -> None:
    """A buffer that nobody has any more is no reason to keep a thread."""
    publisher = Receiving()
    buffer = make_buffer(publisher)
    buffer.publish([envelope("one")])
    publisher.next()
    thread = buffer._waiting.own.thread
    reference = weakref.ref(buffer)

    del buffer
    gc.collect()
    assert thread is not None
    thread.join(PATIENCE_SECONDS)

    assert not thread.is_alive()
    assert reference() is None


def test_forked_child_publishes_what_is_its_own() -> None:
    """A child begins with nothing, and with a thread of its own."""
    publisher = Receiving()
    buffer = make_buffer(publisher)
    buffer.publish([envelope("parent's")])
    publisher.next()
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        buffer.publish([envelope("child's")])
        os.write(writing, publisher.next()[0].encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 100) == b"child's"
    os.close(reading)
    os.close(writing)


def test_forked_child_leaves_alone_what_its_parent_publishes() -> None:
    """A child that ends publishes nothing that it was born with, and waits for nobody."""
    buffer = make_buffer(publisher := Receiving())
    reading, writing = os.pipe()

    # Held before there is anything to publish, or the thread would come first.
    with buffer._waiting.own.publishing:
        buffer.publish([envelope("parent's")])
        child = os.fork()
        if child == 0:
            buffer.flush()
            os.write(writing, str(publisher.batches.qsize()).encode())
            os._exit(0)
        os.waitpid(child, 0)

    assert os.read(reading, 100) == b"0"
    assert publisher.next() == ["parent's"]
    os.close(reading)
    os.close(writing)


def test_without_a_thread_events_are_published_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no thread can be started any more, nothing waits for one."""

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    publisher = Receiving()
    buffer = make_buffer(publisher)
    monkeypatch.setattr(threading.Thread, "start", fail)

    buffer.publish([envelope("one")])
    buffer.publish([envelope("two")])

    assert (publisher.next(), publisher.next()) == (["one"], ["two"])


def test_thread_survives_what_should_not_be_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An event that fails against all promises is logged, and the next one leaves."""

    def fail() -> list[Envelope]:
        raise KeyError

    publisher = Receiving()
    buffer = make_buffer(publisher)

    buffer.put(fail)
    buffer.publish([envelope("one")])

    assert publisher.next() == ["one"]
    assert "buffered events are lost" in caplog.text


PROGRAM = """
import atexit
from signal_tasks.delivery.buffer import Buffer
from tests.envelopes import envelope

class Printer:
    def publish(self, envelopes):
        for one in envelopes:
            print(one.id, flush=True)

kept = Buffer(Printer(), direct=Printer(), application=None, size=9, when_full="drop")
gone = Buffer(Printer(), direct=Printer(), application=None, size=9, when_full="drop")
del gone
kept.publish([envelope("one"), envelope("two")])
"""


@pytest.mark.timeout(60)
def test_orderly_end_flushes() -> None:
    """A process that ends in order publishes what waits, once."""
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True
    ).stdout

    assert output.split() == ["one", "two"]


def test_thread_that_has_slept_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long nothing has come, the next event finds somebody."""
    monkeypatch.setattr(buffer_module, "_AWAKE_SECONDS", 0.02)
    monkeypatch.setattr(buffer_module, "_SLEEP_SECONDS", 0.01)
    publisher = Receiving()
    buffer = make_buffer(publisher)

    for number in range(3):
        buffer.publish([envelope(f"{number}")])
        assert publisher.next() == [f"{number}"]
        time.sleep(0.1)


def test_thread_that_is_awake_is_not_woken() -> None:
    """It will look by itself, and to wake it would take the time of the send."""
    buffer = make_buffer(publisher := Receiving())
    buffer._waiting.own.is_awake = True

    buffer.publish([envelope("one")])

    assert not buffer._waiting.own.wake.is_set()
    assert buffer._waiting.own.thread is None
    buffer.flush()
    assert publisher.next() == ["one"]


@pytest.mark.timeout(30)
def test_thread_does_not_look_after_a_buffer_that_is_gone() -> None:
    """What waited in it has nobody to publish it, and is no reason to go on."""
    buffer = make_buffer(Receiving())
    waiting, reference = buffer._waiting.own, weakref.ref(buffer)
    waiting.events.append(list)
    del buffer
    gc.collect()

    _look_again_and_again(reference, waiting)

    assert reference() is None


class LateEvent(_Waiting):
    """Gets an event just when the thread has stopped to look for any."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "is_awake" and hasattr(self, "wake"):
            self.events.append(list)


def test_event_that_comes_while_the_thread_falls_asleep_wakes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever found it awake has not woken it, so it wakes itself."""
    monkeypatch.setattr(buffer_module, "_AWAKE_SECONDS", 0)
    waiting = LateEvent()
    waiting.wake.clear()

    _look_again_and_again(weakref.ref(make_buffer(Receiving())), waiting)

    assert waiting.wake.is_set()
