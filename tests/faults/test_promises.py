"""A dozen cells of the matrix, tried for real; ``make faults`` tries all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.faults.brokers import MissingServerError
from tests.faults.cells import Cell
from tests.faults.run import Extent, Result, run
from tests.faults.table import broken_promises
from tests.integration.servers import missing

# The first tests wait for runs that share two processors with others.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

SEED: Final = 4
EXTENT: Final = Extent(orders=200, seconds=5)
AT_A_TIME: Final = 4
"""Most of its time a run waits, and a machine in CI has two processors."""


def _cell(
    fault: str, delivery: str, broker: str, store: str, *, once: bool = False
) -> Cell:
    """Return a cell."""
    return Cell(fault=fault, delivery=delivery, broker=broker, store=store, once=once)


CELLS: Final = (
    _cell("worker killed", "direct", "rabbitmq", "sqlite", once=True),
    _cell("worker stopped", "outbox", "redis-aof", "postgresql", once=True),
    _cell("child killed", "outbox", "rabbitmq", "postgresql", once=True),
    _cell("relay killed", "outbox", "redis-aof", "postgresql"),
    _cell("web killed", "outbox", "redis", "postgresql"),
    _cell("web killed", "commit", "redis-aof", "sqlite"),
    _cell("broker killed", "direct", "redis-aof", "sqlite", once=True),
    _cell("broker killed", "outbox", "redis", "sqlite", once=True),
    _cell("broker stopped", "direct", "redis-aof", "postgresql", once=True),
    _cell("broker flushed", "outbox", "redis-aof", "postgresql"),
    _cell("connections cut", "direct", "rabbitmq", "postgresql", once=True),
    _cell("everything", "outbox", "redis", "postgresql", once=True),
)

Runs = Mapping[Cell, Future[Result]]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """Begin the runs that the tests ask for, several at a time."""

    def attempt(cell: Cell) -> Result:
        folder: Path = tmp_path_factory.mktemp("faults")
        return run(cell, seed=SEED, extent=EXTENT, folder=folder)

    with ThreadPoolExecutor(AT_A_TIME) as executor:
        yield {cell: executor.submit(attempt, cell) for cell in _asked_for(request)}


def _asked_for(request: pytest.FixtureRequest) -> list[Cell]:
    return [
        item.callspec.params["cell"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_promises_are_kept
    ]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_promises_are_kept(cell: Cell, runs: Runs) -> None:
    """Of hundreds of orders no more come to harm than is promised, and none waits."""
    try:
        result = runs[cell].result()
    except MissingServerError as error:  # pragma: no cover  # where one is missing
        missing(error)

    assert not broken_promises(result), result
    assert result.counts.committed > EXTENT.orders / 2, result
    assert result.struck
