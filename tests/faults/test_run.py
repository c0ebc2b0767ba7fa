"""For how long a run is watched before what is missing is lost."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults.run import (
    _CALM_SECONDS,
    _HOPELESS_SECONDS,
    _PATIENCE_SECONDS,
    _patience,
)
from tests.faults.test_table import COUNTS


@pytest.mark.parametrize(
    ("broker", "lost", "waiting", "seconds"),
    [
        pytest.param("redis", 0, 0, _CALM_SECONDS, id="all there"),
        pytest.param("redis", 1, 0, _HOPELESS_SECONDS, id="nowhere"),
        pytest.param("redis", 1, 1, _PATIENCE_SECONDS, id="in the broker"),
        pytest.param("rabbitmq", 1, 0, _PATIENCE_SECONDS, id="with a worker, perhaps"),
    ],
)
def test_what_may_still_come_is_waited_for(
    broker: str, lost: int, waiting: int, seconds: float
) -> None:
    """What is neither in the broker nor in an outbox does not come back."""
    plant: Any = SimpleNamespace(
        broker=SimpleNamespace(waiting=lambda: waiting),
        cell=SimpleNamespace(broker=broker),
        has_spool=False,
    )
    counts = replace(COUNTS, lost=lost, unfinished=0)

    assert _patience(plant, counts) == seconds
