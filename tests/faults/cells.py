"""What is tried: which fault, which delivery, which broker, which store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

FAULTS: Final = (
    "none",
    "worker killed",
    "worker stopped",
    "worker replaced",
    "child killed",
    "relay killed",
    "web killed",
    "broker killed",
    "broker stopped",
    "broker flushed",
    "connections cut",
    "everything",
)
"""What the saboteur does, again and again; see :mod:`tests.faults.saboteur`."""

DELIVERIES: Final = ("direct", "request", "commit", "outbox", "buffered")
BROKERS: Final = ("redis-aof", "redis", "rabbitmq")
STORES: Final = ("sqlite", "postgresql")

#: Where a broker loses what it had acknowledged.
_FORGETFUL: Final = frozenset(
    {
        *(("broker flushed", broker) for broker in BROKERS),
        *(("everything", broker) for broker in BROKERS),
        ("broker killed", "redis"),
    }
)
#: How many workers may lose, in one strike, the message that they are just taking from
#: Redis: kombu notes that it has one after Redis has forgotten it.
_TAKING: Final = {
    "worker killed": 1,
    "broker killed": 2,
    "connections cut": 2,
    "everything": 2,
}
#: What happens to the publishing.
_PUBLISHING: Final = frozenset(
    {"none", "web killed", "broker killed", "broker stopped", "everything"}
)
#: Where to try what does not depend much on the store.
_ENOUGH: Final = {"direct": "sqlite", "outbox": "postgresql"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One field of the matrix."""

    fault: str
    delivery: str
    broker: str
    store: str
    once: bool = False

    def __str__(self) -> str:
        once = " once" if self.once else ""
        return f"{self.fault}, {self.delivery}{once}, {self.broker}, {self.store}"

    @property
    def has_relays(self) -> bool:
        """Whether relays run as processes of their own, instead of in the workers."""
        return self.delivery == "outbox" and self.fault in {
            "relay killed",
            "everything",
        }

    @property
    def needs_own_node(self) -> bool:
        """Whether something is done to the broker that others may be using too."""
        return self.fault in {"broker killed", "broker stopped", "everything"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """How many events may come to harm; None where any number may."""

    lost: int | None
    doubled: int | None
    phantom: int | None


def promise_of(cell: Cell, strikes: int) -> Promise:
    """Return what the library promises for *cell*, when it is struck so often."""
    return Promise(
        lost=_may_be_lost(cell, strikes),
        doubled=0 if cell.once or cell.fault == "none" else None,
        phantom=0 if cell.delivery in {"outbox", "commit"} else None,
    )


def _may_be_lost(cell: Cell, strikes: int) -> int | None:
    if cell.delivery == "outbox":
        return 0
    if cell.delivery == "buffered" and cell.fault != "none":
        return None
    if (cell.fault, cell.broker) in _FORGETFUL:
        return None
    # Between the commit and the publishing nobody but the web process knows of it.
    if cell.delivery in {"request", "commit"} and cell.fault == "web killed":
        return None
    return 0 if cell.broker == "rabbitmq" else strikes * _TAKING.get(cell.fault, 0)


def all_cells() -> Iterator[Cell]:
    """Return the matrix, without the cells in which nothing would be tried."""
    for fault, delivery, once, broker, store in product(
        FAULTS, DELIVERIES, (False, True), BROKERS, STORES
    ):
        cell = Cell(
            fault=fault, delivery=delivery, once=once, broker=broker, store=store
        )
        if _is_worthwhile(cell):
            yield cell


def _is_worthwhile(cell: Cell) -> bool:
    if cell.fault == "relay killed" and cell.delivery != "outbox":
        return False
    if cell.delivery in {"request", "commit", "buffered"}:
        # Behind the publishing they are as `direct` is, and ask no store.
        is_plain = not cell.once and cell.store == "sqlite"
        return is_plain and cell.fault in _PUBLISHING
    # The store is asked much where an event is to be handled once.
    return cell.once or cell.store == _ENOUGH[cell.delivery]


def chosen(cells: Iterable[Cell], words: Iterable[str]) -> list[Cell]:
    """Return the cells whose names have all of *words*."""
    wanted = tuple(words)
    return [cell for cell in cells if all(word in str(cell) for word in wanted)]
