"""What the command line asks for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .contenders import CONTENDERS
from .rounds import Cell

PARTS = (
    *("sends", "instructions", "requests", "worker"),
    *("no_receiver", "memory", "start_up"),
)
"""What can be measured, in the order in which it is."""

_ROUNDS = {1: 100, 4: 100, 10: 60, 100: 12}
_MESSAGES = 600
"""How many a cell may send for each contender, where no count of rounds is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure, where, and how long."""

    parts: frozenset[str]
    contenders: tuple[str, ...]
    handlers: tuple[int, ...]
    sizes: tuple[int, ...]
    rounds: int | None
    redis_url: str | None
    amqp_url: str
    postgresql_url: str
    output: Path

    def cells(self) -> list[Cell]:
        """Return the cases to measure."""
        return [
            Cell(handlers=count, size=size, rounds=self.rounds or _rounds_for(count))
            for size in self.sizes
            for count in self.handlers
        ]


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; what is wrong with it ends the program."""
    parser = _parser()
    given = parser.parse_args(arguments)
    names = tuple(given.only)
    unknown = [name for name in names if name not in (*PARTS, *CONTENDERS)]
    if unknown:
        parser.error(
            f"there is no {', '.join(unknown)}. There are the parts {', '.join(PARTS)} "
            f"and the contenders {', '.join(CONTENDERS)}."
        )
    chosen = tuple(name for name in CONTENDERS if name in names)
    parts = frozenset(name for name in PARTS if name in names)
    return Options(
        parts=parts | {"sends"} if chosen else parts or frozenset(PARTS),
        contenders=chosen or tuple(CONTENDERS),
        handlers=tuple(given.handlers),
        sizes=tuple(given.sizes),
        rounds=given.rounds,
        redis_url=given.redis,
        amqp_url=given.rabbitmq,
        postgresql_url=given.postgresql,
        output=given.output,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what a send costs, beside everything else that queues.",
    )
    add = parser.add_argument
    add("--only", type=_names, default=[], help="contenders and parts, with commas")
    add("--handlers", type=_counts, default=[1, 4, 10, 100], help="such as 1,10")
    add("--sizes", type=_counts, default=[200, 4096], help="of payloads, in bytes")
    add("--rounds", type=int, help="of each case; by default fewer for many handlers")
    add("--redis", metavar="URL", help="a Redis; by default one is started")
    add(
        "--rabbitmq",
        metavar="URL",
        default="amqp://guest:guest@127.0.0.1:5672//",
        help="used if it answers",
    )
    add(
        "--postgresql",
        metavar="URL",
        default="postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
        help="used if it answers; a database is made there for the time",
    )
    add("--output", type=Path, default=Path("build/benchmarks"), help="a folder")
    return parser


def _names(text: str) -> list[str]:
    return text.split(",")


def _counts(text: str) -> list[int]:
    counts = sorted({int(part) for part in text.split(",")})
    if counts[0] < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return counts


def _rounds_for(handlers: int) -> int:
    return _ROUNDS.get(handlers) or max(5, _MESSAGES // handlers)
