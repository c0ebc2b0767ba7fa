"""What a request sends is gathered."""

from __future__ import annotations

from signal_tasks.delivery.gathering import Gathering
from signal_tasks.envelope import Envelope
from tests.envelopes import envelope
from tests.hosts import RecordingPublisher


def test_envelopes_of_a_request_are_gathered() -> None:
    """While there is a basket, envelopes go there, in order."""
    basket: list[Envelope] = []
    publisher = RecordingPublisher()
    gathering = Gathering(publisher, lambda: basket)

    gathering.publish([envelope("one"), envelope("one", "pack")])
    gathering.publish([envelope("two")])

    assert [one.text for one in basket] == [
        "one for bill",
        "one for pack",
        "two for bill",
    ]
    assert publisher.batches == []


def test_envelopes_outside_a_request_leave_at_once() -> None:
    """Without a basket there is nothing to wait for."""
    publisher = RecordingPublisher()

    Gathering(publisher, lambda: None).publish([envelope("one")])

    assert publisher.receivers == ["bill"]
