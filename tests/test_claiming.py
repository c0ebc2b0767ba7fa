"""Events that are claimed before they are handled, and how the claims end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from signal_tasks import ConfigurationError, StoreError, duplicate_dropped
from signal_tasks.claiming import Claimed, claim
from signal_tasks.exceptions import (
    CommittedError,
    StillClaimedError,
)
from signal_tasks.inbox import Busy, Claim
from signal_tasks.settlement import Settlement
from signal_tasks.signals import DuplicateDropped
from tests.envelopes import envelope
from tests.hosts import PlainHost

CLAIM = Claim(
    event_id="one",
    receiver="bill",
    is_kept=False,
    token="mine",
    until=datetime(2026, 1, 2, tzinfo=UTC),
)


@dataclass
class Inbox:
    """An inbox that answers what it is told to, and remembers how claims ended."""

    answer: Claim | Busy | None = CLAIM
    ended: list[str] = field(default_factory=list)
    error: StoreError | None = None
    is_ours: bool = True
    holds_session: bool = True

    def claim(
        self, event_id: str, receiver: str, *, is_kept: bool, lease_seconds: float
    ) -> Claim | Busy | None:
        """Give the answer, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.answer

    def is_in(self, connection: Any) -> bool:
        """Tell whether the session's database is the inbox's."""
        return self.holds_session

    def finish(self, claim: Claim, connection: Any = None) -> bool:
        """Remember it, or raise the error."""
        if self.error is not None:
            raise self.error
        self.ended.append("finished" if connection is None else "settled")
        return self.is_ours

    def release(self, claim: Claim) -> None:
        """Remember it, or raise the error."""
        if self.error is not None:
            raise self.error
        self.ended.append("released")

    def count_redelivery(self, event_id: str, receiver: str) -> int:
        """Count nothing."""
        raise NotImplementedError  # pragma: no cover  # claims count none


@dataclass(kw_only=True, eq=False)
class CommittingHost(PlainHost):
    """An application whose handlers commit in a session."""

    settlements: list[Settlement] = field(default_factory=list)

    def settling(self, settlement: Settlement) -> AbstractContextManager[None]:
        """Let the settlement be seen by :meth:`commit`."""

        @contextmanager
        def let() -> Iterator[None]:
            self.settlements.append(settlement)
            yield

        return let()

    def commit(self) -> None:
        """Commit, as the session of a handler does."""
        (settlement,) = self.settlements
        settlement.is_done = settlement.settle(object())


@pytest.fixture
def inbox() -> Inbox:
    """Return an inbox where the event can be claimed."""
    return Inbox()


@pytest.fixture
def host(inbox: Inbox) -> CommittingHost:
    """Return the application."""
    return CommittingHost(inbox=inbox)


@pytest.fixture
def dropped() -> Iterator[list[DuplicateDropped]]:
    """Return the reports of dropped duplicates."""
    reports: list[DuplicateDropped] = []

    def note(sender: object, details: DuplicateDropped) -> None:
        reports.append(details)

    with duplicate_dropped.connected_to(note):
        yield reports


def claimed(host: PlainHost, *, once: bool = True) -> Claimed:
    """Claim the event."""
    found = claim(host, envelope("one"), once=once, lease_seconds=60)
    assert found is not None
    return found


def handle(host: CommittingHost, *steps: Any, once: bool = True) -> object:
    """Claim the event and handle it by *steps*, of which exceptions are raised."""
    event = claimed(host, once=once)

    def run() -> object:
        with event.settling():
            for step in steps:
                if isinstance(step, BaseException):
                    raise step
                step()
        return "done"

    return event.handle(run)


def test_event_that_was_handled_is_noted(host: CommittingHost, inbox: Inbox) -> None:
    """A handler that commits nothing has its event noted after it has returned."""
    assert handle(host) == "done"
    assert inbox.ended == ["finished"]


def test_note_goes_with_the_commit(host: CommittingHost, inbox: Inbox) -> None:
    """A handler that commits takes the note along, and none is made afterwards."""
    handle(host, host.commit)

    assert inbox.ended == ["settled"]


def test_commit_elsewhere_takes_no_note_along(
    host: CommittingHost, inbox: Inbox
) -> None:
    """A session of another database is not the note's; it is made afterwards."""
    inbox.holds_session = False

    handle(host, host.commit)

    assert inbox.ended == ["finished"]


def test_row_without_once_is_there_until_the_end(
    host: CommittingHost, inbox: Inbox
) -> None:
    """Without once=True the first of several commits is not the end of the work."""
    handle(host, once=False)

    assert (host.settlements, inbox.ended) == ([], ["finished"])


def test_failed_event_may_be_claimed_again(host: CommittingHost, inbox: Inbox) -> None:
    """A handler that raises gives its claim back, for the attempt to come."""
    with pytest.raises(LookupError):
        handle(host, LookupError())

    assert inbox.ended == ["released"]


def test_failure_after_the_commit_is_not_tried_again(
    host: CommittingHost, inbox: Inbox
) -> None:
    """What is committed is done, so what is raised after it is a refusal."""
    with pytest.raises(CommittedError, match="LookupError after") as caught:
        handle(host, host.commit, LookupError("secret"))

    assert inbox.ended == ["settled"]
    assert caught.value.error_name == "LookupError"
    assert "secret" not in str(caught.value)


def test_event_that_another_worker_has_handled_meanwhile_is_dropped(
    host: CommittingHost, inbox: Inbox, dropped: list[DuplicateDropped]
) -> None:
    """Of two that handle an event at once, the commit of the second one fails."""
    inbox.is_ours = False

    assert handle(host, host.commit) is None
    assert dropped == [DuplicateDropped(event_id="one", receiver="bill")]


def test_handler_that_outran_its_claim_is_told(
    host: CommittingHost, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nothing could be undone, the log says that it may have happened twice."""
    inbox.is_ours = False

    assert handle(host) == "done"
    assert "may have been handled twice" in caplog.text


def test_event_that_was_handled_before_is_dropped(
    host: CommittingHost, inbox: Inbox, dropped: list[DuplicateDropped]
) -> None:
    """An event that is noted as handled is nobody's any more."""
    inbox.answer = None

    assert claim(host, envelope("one"), once=True, lease_seconds=60) is None
    assert dropped == [DuplicateDropped(event_id="one", receiver="bill")]


def test_event_that_is_being_handled_comes_again(
    host: CommittingHost, inbox: Inbox
) -> None:
    """A message whose event another worker has is tried when its claim is over."""
    inbox.answer = Busy(until=datetime.now(UTC) + timedelta(seconds=50))

    with pytest.raises(StillClaimedError) as caught:
        claimed(host)

    assert 40 < caught.value.seconds <= 51


def test_claim_that_is_over_is_waited_for_no_longer(
    host: CommittingHost, inbox: Inbox
) -> None:
    """A claim that has just ended is tried again soon."""
    inbox.answer = Busy(until=datetime.now(UTC) - timedelta(seconds=50))

    with pytest.raises(StillClaimedError) as caught:
        claimed(host)

    assert caught.value.seconds == 1


def test_row_that_is_being_handled_needs_no_second_message(
    host: CommittingHost, inbox: Inbox, dropped: list[DuplicateDropped]
) -> None:
    """A row is published again by itself when its claim is over."""
    inbox.answer = Busy(until=datetime.now(UTC) + timedelta(seconds=50))
    kept = envelope("one", is_kept=True)

    assert claim(host, kept, once=False, lease_seconds=60) is None
    assert dropped == [DuplicateDropped(event_id="one", receiver="bill")]


def test_sick_store_is_asked_again_later(
    host: CommittingHost, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be looked up is not handled, and not lost either; the log says so."""
    inbox.error = StoreError("no such server.")

    with pytest.raises(StillClaimedError, match="no such server") as caught:
        claimed(host)

    assert caught.value.seconds == 10
    assert "waits for the store" in caplog.text


@pytest.mark.parametrize("step", [None, LookupError()], ids=["handled", "failed"])
def test_store_that_is_sick_at_the_end_is_logged(
    host: CommittingHost,
    inbox: Inbox,
    caplog: pytest.LogCaptureFixture,
    step: Exception | None,
) -> None:
    """The handler has run; what it returns or raises is not changed by the store."""
    event = claimed(host)

    def run() -> str:
        inbox.error = StoreError("no such server.")
        if step is not None:
            raise step
        return "done"

    if step is None:
        assert event.handle(run) == "done"
    else:
        with pytest.raises(LookupError):
            event.handle(run)
    assert "the store did not note how the handler of bill ended" in caplog.text


def test_host_without_a_store_cannot_claim() -> None:
    """An application that was not given the sender's store says what it lacks."""
    with pytest.raises(ConfigurationError, match="store="):
        claimed(PlainHost())
