"""Lines to the broker, and who gets them."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from celery import Celery

from signal_tasks.dev.broker import running_broker
from signal_tasks.publisher.line import Line
from signal_tasks.publisher.lines import CrowdedError, Lines
from tests.in_memory import new_celery_app

SECONDS = 10


@pytest.fixture
def celery_app() -> Celery:
    """Return a Celery app that is kept alive."""
    return new_celery_app()


@pytest.fixture
def lines(celery_app: Celery) -> Iterator[Lines]:
    """Return lines to a broker in memory."""
    lines = Lines(celery_app, SECONDS)
    yield lines
    lines.close()


@pytest.fixture
def line(lines: Lines, celery_app: Celery) -> Line:
    """Return a line of the lines that is in use, and was made by no thread of theirs."""
    lines.give_back(Line(celery_app, SECONDS, time.monotonic))
    return take(lines)


def take(lines: Lines, seconds: float = SECONDS) -> Line:
    """Take a line that is soon there."""
    return lines.take(time.monotonic() + seconds)


def test_line_is_used_again(lines: Lines) -> None:
    """A line that was given back is the next one to be taken."""
    line = take(lines)
    lines.give_back(line)

    again = take(lines)

    assert again is line


def test_line_in_use_is_nobody_elses(lines: Lines) -> None:
    """Whoever needs a line while another is in use gets a new one."""
    first = take(lines)

    second = take(lines)

    assert first is not second


def test_discarded_line_is_not_used_again(lines: Lines) -> None:
    """With a line that failed nobody gets another try."""
    line = take(lines)
    lines.discard(line)

    another = take(lines)

    assert another is not line


def test_older_lines_go_with_the_one_that_failed(
    lines: Lines, celery_app: Celery
) -> None:
    """What was made before a failed send began is as dead; what came later is not."""
    old, failed = take(lines), take(lines)
    lines.give_back(old)
    new = Line(celery_app, SECONDS, time.monotonic)
    lines.give_back(new)

    lines.discard_older(failed)

    assert not old.connection.connected
    assert not failed.connection.connected
    assert new.connection.connected


def test_line_that_comes_back_late_is_closed(lines: Lines) -> None:
    """Lines that are in use when their owner ends are closed when they come back."""
    line = take(lines)
    lines.close()

    lines.give_back(line)

    assert not line.connection.connected


def test_wait_ends_at_the_deadline(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has no time left to wait for a line waits no more."""
    monkeypatch.setattr(Lines, "_connect_soon", lambda _: None)

    with pytest.raises(TimeoutError):
        take(lines, 0)


def test_waiting_send_takes_what_another_gives_back(
    lines: Lines, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is given back goes to who waits, also if no new one can be made."""
    monkeypatch.setattr(Lines, "_connect_soon", lambda _: lines.give_back(line))

    assert take(lines) is line


def test_crowd_is_told_from_an_outage(
    lines: Lines, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gets no line in time while others do does not take that for an outage."""

    def serve_another(self: Lines) -> None:
        self.give_back(line)
        self.take(time.monotonic())

    monkeypatch.setattr(Lines, "_connect_soon", serve_another)

    with pytest.raises(CrowdedError):
        take(lines, 0.001)


def test_line_is_made_where_no_thread_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the interpreter starts no more threads, the sender connects by itself."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    with running_broker() as broker:
        celery_app = new_celery_app(broker_url=broker.url)
        lines = Lines(celery_app, SECONDS)
        monkeypatch.setattr(threading.Thread, "start", refuse)

        line = take(lines)

        assert line.connection.connected
        lines.discard(line)


def take_spare(lines: Lines, seconds: float = SECONDS) -> Line:
    """Take a line that no send waits for."""
    return lines.take_spare(time.monotonic() + seconds)


def test_spare_line_is_made_where_there_is_none(lines: Lines) -> None:
    """Whoever takes a spare line first has one made, which the next send uses."""
    line = take_spare(lines)
    lines.give_back(line)

    again = take(lines)

    assert again is line


def test_spare_line_is_one_that_comes_back(lines: Lines, line: Line) -> None:
    """No line is made as a spare one while a send uses one that will come back."""
    with ThreadPoolExecutor() as pool:
        spare = pool.submit(take_spare, lines)
        lines.give_back(line)

        assert spare.result() is line


def test_crowd_leaves_no_spare_line(lines: Lines, line: Line) -> None:
    """While sends use all lines there are, that is told from a broker that is away."""
    with pytest.raises(CrowdedError):
        take_spare(lines, 0)

    lines.discard(line)


def test_wait_for_a_spare_line_ends_at_the_deadline(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that lets nobody in is not waited for any longer."""
    monkeypatch.setattr(Lines, "_connect_soon", lambda _: None)

    with pytest.raises(TimeoutError) as caught:
        take_spare(lines, 0.001)

    assert not isinstance(caught.value, CrowdedError)


def test_send_gets_the_line_that_is_made_as_a_spare_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A send that comes meanwhile neither has another line made nor waits in vain."""
    is_connecting, send_waits = threading.Event(), threading.Event()
    new_line, connect_soon = Lines._new_line, Lines._connect_soon

    def connect(self: Lines) -> Line | None:
        is_connecting.set()
        assert send_waits.wait(SECONDS)
        return new_line(self)

    def note(self: Lines) -> None:
        connect_soon(self)
        if self._waiting:
            send_waits.set()

    monkeypatch.setattr(Lines, "_new_line", connect)
    monkeypatch.setattr(Lines, "_connect_soon", note)
    with running_broker() as broker, ThreadPoolExecutor() as pool:
        celery_app = new_celery_app(broker_url=broker.url)
        lines = Lines(celery_app, SECONDS)
        spare = pool.submit(take_spare, lines)
        assert is_connecting.wait(SECONDS)
        line = take(lines)
        was_spare = spare.done()
        lines.give_back(line)

        assert not was_spare
        assert spare.result() is line
        lines.discard(line)


def test_lines_do_not_keep_their_app(lines: Lines) -> None:
    """Lines of an app that is gone connect no more."""
    gone = Lines(new_celery_app(), SECONDS)
    gc.collect()

    with pytest.raises(TimeoutError):
        take(gone, 0.001)


def test_line_waits_for_no_reply_when_the_time_is_over(line: Line) -> None:
    """Whoever has no time left sends nothing, for nobody would hear the answer."""
    with pytest.raises(TimeoutError):
        line.patience(0)
    with pytest.raises(TimeoutError):
        line.options("the-task", 0)


def test_line_has_the_patience_of_its_connection_at_first(line: Line) -> None:
    """A reply is waited for as long as is left, which at first is all the time."""
    assert line.patience(SECONDS) is None
    assert line.patience(SECONDS / 2) == SECONDS / 2


def test_lost_connection_is_noticed_before_it_is_used(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What redis-py would connect again, in its own time, is given up instead."""
    ended = SimpleNamespace(can_read=lambda _seconds: True)
    monkeypatch.setattr(line, "redis", ended)

    with pytest.raises(ConnectionError, match="has ended the connection"):
        line.check()
