"""What a request sends is gathered."""

from __future__ import annotations

import pytest

from signal_tasks.delivery.gathering import Basket, Gathering, batches_of
from tests.envelopes import envelope
from tests.hosts import RecordingPublisher


def test_envelopes_of_a_request_are_gathered() -> None:
    """While there is a basket, envelopes go there, in order."""
    basket: Basket = []
    publisher = RecordingPublisher()
    gathering = Gathering(publisher, lambda: basket)

    gathering.publish([envelope("one"), envelope("one", "pack")])
    gathering.publish([envelope("two")])

    assert [[one.text for one in envelopes] for envelopes in basket] == [
        ["one for bill", "one for pack"],
        ["two for bill"],
    ]
    assert publisher.batches == []


def test_envelopes_outside_a_request_leave_at_once() -> None:
    """Without a basket there is nothing to wait for."""
    publisher = RecordingPublisher()

    Gathering(publisher, lambda: None).publish([envelope("one")])

    assert publisher.receivers == ["bill"]


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([1, 2], [3], id="few"),
        pytest.param([60, 40, 1], [100, 1], id="just one batch"),
        pytest.param([60, 41], [60, 41], id="no event is torn"),
        pytest.param([1, 100, 2, 250], [1, 100, 2, 250], id="large events"),
    ],
)
def test_events_leave_some_at_a_time(sizes: list[int], batches: list[int]) -> None:
    """Each batch can be sent in the time that there is for one, and the order stays."""
    basket = [
        [envelope(f"{event}", f"{number}") for number in range(size)]
        for event, size in enumerate(sizes)
    ]

    made = list(batches_of(basket))

    assert [len(batch) for batch in made] == batches
    assert [one for batch in made for one in batch] == [
        one for event in basket for one in event
    ]
