"""The event being handled, and what is the bridge's own work."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from signal_tasks.event import (
    Event,
    current_event,
    current_trail,
    handling,
    is_quiet,
    quiet,
)

EVENT = Event(
    id="e1",
    signal="order-placed",
    receiver="shop.bill",
    sent_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    attempt=2,
    trail=("cart-filled", "cart-checked-out"),
    headers={"x": "y"},
)
FACTS = ("id", "signal", "receiver", "sent_at", "attempt", "hops", "headers")


def test_current_event_is_false_outside_a_handler() -> None:
    """Outside a handler there is no current event, and one can ask for that."""
    assert not current_event


@pytest.mark.parametrize("fact", FACTS)
def test_current_event_cannot_be_read_outside_a_handler(fact: str) -> None:
    """Reading a fact where there is no event says to ask first."""
    with pytest.raises(RuntimeError, match="if current_event:"):
        getattr(current_event, fact)


@pytest.mark.parametrize("fact", FACTS)
def test_current_event_shows_the_facts(fact: str) -> None:
    """Inside a handler the current event has the facts of the event handled."""
    with handling(EVENT):
        shown = getattr(current_event, fact)

    assert shown == getattr(EVENT, fact)


def test_current_event_is_true_inside_a_handler() -> None:
    """Inside a handler there is a current event."""
    with handling(EVENT):
        assert current_event


def test_current_event_is_none_in_quiet_work() -> None:
    """The bridge's own work inside a handler is not the handler."""
    with handling(EVENT), quiet():
        assert not current_event


def test_hops_count_the_signals_before() -> None:
    """An event is as many hops from the first signal as its trail is long."""
    assert EVENT.hops == 2


def test_handling_ends_with_its_block() -> None:
    """After the handler the event is over, also when the handler failed."""
    with pytest.raises(ZeroDivisionError), handling(EVENT):
        raise ZeroDivisionError

    assert not current_event


def test_quiet_ends_with_its_block() -> None:
    """Quiet is over with its block, also when what ran inside failed."""
    with pytest.raises(ZeroDivisionError), quiet():
        raise ZeroDivisionError

    assert not is_quiet()


def test_handling_lifts_quiet_and_gives_it_back() -> None:
    """A handler inside the bridge's own work may send signals, and what follows may not."""
    with quiet():
        before = is_quiet()
        with handling(EVENT):
            inside = is_quiet()
        after = is_quiet()

    assert (before, inside, after) == (True, False, True)


def test_trail_starts_empty() -> None:
    """A signal that no handler sent is the first of its trail."""
    assert current_trail() == ()


def test_trail_goes_on_from_the_event_handled() -> None:
    """A signal sent by a handler is one hop further than the handler's event."""
    with handling(EVENT):
        trail = current_trail()

    assert trail == ("cart-filled", "cart-checked-out", "order-placed")


def test_events_of_concurrent_coroutines_are_their_own() -> None:
    """Two coroutines that handle events side by side do not see each other's."""

    async def handle(number: int) -> str:
        event = Event(
            id=f"e{number}",
            signal="s",
            receiver="r",
            sent_at=EVENT.sent_at,
            attempt=1,
            trail=(),
            headers={},
        )
        with handling(event):
            await asyncio.sleep(0)
            return current_event.id

    async def handle_both() -> list[str]:
        return await asyncio.gather(handle(1), handle(2))

    seen = asyncio.run(handle_both())

    assert seen == ["e1", "e2"]
