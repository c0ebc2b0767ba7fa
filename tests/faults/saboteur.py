"""The one who kills, stops and restarts what an event passes through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random
from typing import Final

import psutil

from tests.faults.cells import Cell
from tests.faults.plant import CLAIM_SECONDS, VISIBILITY_SECONDS, Plant

Strike = Callable[[Plant, Random], None]
"""Does harm once, and leaves nothing behind that would not come to life by itself."""

_PAUSE_SECONDS: Final = (0.8, 2.0)
"""Between two strikes."""

_EVERYTHING: Final = (
    ("worker killed", "worker stopped", "worker replaced", "child killed"),
    ("web killed", "relay killed"),
    ("broker killed", "broker stopped", "broker flushed", "connections cut"),
)
"""What happens at the same time when everything does."""


class Saboteur:
    """Strikes again and again.

    Args:
        plant: Whom.
        seed: Repeats the order of strikes, not what each of them meets.
    """

    def __init__(self, plant: Plant, seed: int) -> None:
        self._plant = plant
        self._seed = seed
        self.struck: list[str] = []
        """The names of what has been done so far."""

    def work_while(self, is_running: Callable[[], bool]) -> None:
        """Strike for as long as *is_running* says so."""
        cell = self._plant.cell
        with ThreadPoolExecutor() as executor:
            works = [
                executor.submit(self._work, strikes, random, is_running)
                for strikes, random in _crew(cell, self._seed)
            ]
        for work in works:
            work.result()

    def _work(
        self, strikes: Sequence[str], random: Random, is_running: Callable[[], bool]
    ) -> None:
        while _rests(random.uniform(*_PAUSE_SECONDS), is_running):
            name = random.choice(strikes)
            STRIKES[name](self._plant, random)
            self.struck.append(name)


def _crew(cell: Cell, seed: int) -> Iterator[tuple[Sequence[str], Random]]:
    """Return who does which strikes; what they strike at is not the others' concern."""
    wanted = _EVERYTHING if cell.fault == "everything" else [(cell.fault,)]
    for strikes in wanted:
        fit = [name for name in strikes if is_fit(name, cell)]
        if fit:
            yield fit, Random(f"{seed} {cell} {fit}")


def is_fit(strike: str, cell: Cell) -> bool:
    """Tell whether there is something in *cell* to strike at so."""
    if strike == "relay killed":
        return cell.has_relays
    if strike == "connections cut" and cell.broker == "rabbitmq":
        return not cell.needs_own_node  # that has no proxy, for it is killed itself
    return strike != "none"


def _rests(seconds: float, is_running: Callable[[], bool]) -> bool:
    """Wait, and tell whether there is still something to do."""
    deadline = time.monotonic() + seconds
    while is_running():
        if time.monotonic() >= deadline:
            return True
        time.sleep(0.05)
    return False


def _kill_worker(plant: Plant, random: Random) -> None:
    worker = random.choice(plant.workers)
    worker.kill()
    plant.start(worker)


def _stop_worker(plant: Plant, random: Random) -> None:
    worker = random.choice(plant.workers)
    worker.freeze()
    # The broker, or the others as well, are to believe that it is dead, and then it lives.
    time.sleep(random.choice([VISIBILITY_SECONDS, CLAIM_SECONDS]) + 1.5)
    worker.thaw()


def _replace_worker(plant: Plant, random: Random) -> None:
    worker = random.choice(plant.workers)
    worker.stop()
    plant.start(worker)


def _kill_child(plant: Plant, random: Random) -> None:
    pool = [child for worker in plant.workers for child in worker.pool()]
    with suppress(psutil.NoSuchProcess, IndexError):
        random.choice(pool).kill()


def _kill_relay(plant: Plant, random: Random) -> None:
    relay = random.choice(plant.relays)
    relay.kill()
    plant.start(relay)


def _kill_web(plant: Plant, _random: Random) -> None:
    plant.web.kill()
    plant.start(plant.web)


def _kill_broker(plant: Plant, random: Random) -> None:
    node = plant.broker.node
    node.kill()
    time.sleep(random.uniform(0, 1.5))
    node.start()


def _stop_broker(plant: Plant, _random: Random) -> None:
    node = plant.broker.node
    node.freeze()
    time.sleep(2)
    node.thaw()


def _flush_broker(plant: Plant, _random: Random) -> None:
    plant.broker.flush()


def _cut_connections(plant: Plant, _random: Random) -> None:
    plant.broker.cut()


STRIKES: Final[Mapping[str, Strike]] = {
    "worker killed": _kill_worker,
    "worker stopped": _stop_worker,
    "worker replaced": _replace_worker,
    "child killed": _kill_child,
    "relay killed": _kill_relay,
    "web killed": _kill_web,
    "broker killed": _kill_broker,
    "broker stopped": _stop_broker,
    "broker flushed": _flush_broker,
    "connections cut": _cut_connections,
}
