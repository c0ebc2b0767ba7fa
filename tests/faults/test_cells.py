"""The matrix, and what is promised for its cells."""

from __future__ import annotations

import pytest

from tests.faults.cells import (
    BROKERS,
    FAULTS,
    STORES,
    Cell,
    all_cells,
    chosen,
    promise_of,
)

STRIKES = 7


def test_outbox_is_tried_with_each_fault_broker_and_store() -> None:
    """The delivery that promises most meets everything."""
    tried = [cell for cell in all_cells() if cell.delivery == "outbox" and cell.once]

    assert len(tried) == len(FAULTS) * len(BROKERS) * len(STORES)
    assert len(set(tried)) == len(tried)


def test_cells_are_chosen_by_words_of_their_names() -> None:
    """All of the words are to be in it, and no word chooses all cells."""
    cells = list(all_cells())

    found = chosen(cells, ["everything", "direct once", "redis,"])

    assert [str(cell) for cell in found] == [
        "everything, direct once, redis, sqlite",
        "everything, direct once, redis, postgresql",
    ]
    assert chosen(cells, []) == cells


@pytest.mark.parametrize(
    ("described", "promised"),
    [
        ("everything, outbox, redis", (0, None, 0)),
        ("everything, outbox once, redis", (0, 0, 0)),
        ("none, direct, redis", (0, 0, None)),
        ("none, buffered, redis", (0, 0, None)),
        ("web killed, direct once, redis", (0, 0, None)),
        ("web killed, commit, rabbitmq", (None, None, 0)),
        ("web killed, request, rabbitmq", (None, None, None)),
        ("web killed, buffered, rabbitmq", (None, None, None)),
        ("worker killed, direct once, redis-aof", (STRIKES, 0, None)),
        ("worker killed, direct once, rabbitmq", (0, 0, None)),
        ("broker killed, direct, redis-aof", (2 * STRIKES, None, None)),
        ("broker stopped, direct, redis-aof", (0, None, None)),
        ("broker killed, direct, redis", (None, None, None)),
        ("broker flushed, commit, rabbitmq", (None, None, 0)),
    ],
    ids=str,
)
def test_promises_differ(
    described: str, promised: tuple[int | None, int | None, int | None]
) -> None:
    """What may come to harm depends on the delivery, the fault and the broker."""
    fault, delivery, broker = described.split(", ")
    name, _, once = delivery.partition(" ")
    cell = Cell(
        fault=fault, delivery=name, once=bool(once), broker=broker, store="sqlite"
    )

    promise = promise_of(cell, STRIKES)

    assert (promise.lost, promise.doubled, promise.phantom) == promised
