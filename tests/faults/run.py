"""One run: traffic, a saboteur, peace, and the counts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.cells import Cell
from tests.faults.counting import Counts, count
from tests.faults.plant import Plant, running_plant
from tests.faults.saboteur import Saboteur
from tests.faults.traffic import Traffic

# A relay that was killed had taken rows for half a minute, and so had the thread of a web
# process that drains what is spooled.
_PATIENCE_SECONDS: Final = 40.0
"""How long nothing may happen before what is missing is lost."""

_HOPELESS_SECONDS: Final = 8.0
"""The same, when what is missing is neither in the broker nor in an outbox."""

_CALM_SECONDS: Final = 1.5
"""How long nothing may happen when nothing is missing, before that is the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is tried in one run."""

    orders: int
    seconds: float
    """How long the traffic takes, if nothing holds it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run has shown."""

    cell: Cell
    seed: int
    orders: int
    """How many were tried; some were rolled back, and some died with a web process."""

    counts: Counts
    struck: tuple[str, ...]
    """What the saboteur did."""

    slowest_send: float
    """Seconds that the slowest send took, with the publishing that belongs to it."""

    seconds: float
    """How long the run took, without starting and ending its processes."""


def run(cell: Cell, *, seed: int, extent: Extent, folder: Path) -> Result:
    """Try *cell* once.

    Args:
        cell: What is tried.
        seed: Of the saboteur.
        extent: How much.
        folder: For the run's files and logs.

    Raises:
        MissingServerError: This machine lacks a server.
    """
    with running_plant(cell, folder) as plant:
        started = time.monotonic()
        traffic = Traffic(plant.port, orders=extent.orders, seconds=extent.seconds)
        saboteur = Saboteur(plant, seed)
        with traffic.running():
            saboteur.work_while(lambda: traffic.is_running)
        counts = _settled(plant)
        seconds = time.monotonic() - started
    return Result(
        cell=cell,
        seed=seed,
        orders=extent.orders,
        counts=counts,
        struck=tuple(saboteur.struck),
        slowest_send=max(_times(cell, traffic), default=0.0),
        seconds=seconds,
    )


def _times(cell: Cell, traffic: Traffic) -> list[float]:
    # A gathered event is published behind the view, where nobody can look at a clock.
    return traffic.requests if cell.delivery == "request" else traffic.sends


def _settled(plant: Plant) -> Counts:
    """Return the counts once nothing is on its way any more."""
    counts = count(plant.engine)
    since = time.monotonic()
    while time.monotonic() - since < _patience(plant, counts):
        time.sleep(0.5)
        former, counts = counts, count(plant.engine)
        if counts != former:
            since = time.monotonic()
    return counts


def _patience(plant: Plant, counts: Counts) -> float:
    is_held = bool(counts.unfinished or plant.broker.waiting())
    if not (is_held or counts.lost):
        return _CALM_SECONDS
    # RabbitMQ does not tell of messages that are with a worker.
    if is_held or plant.has_spool or plant.cell.broker == "rabbitmq":
        return _PATIENCE_SECONDS
    return _HOPELESS_SECONDS
