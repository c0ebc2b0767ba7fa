"""Types that users let travel. This file is checked and never run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, assert_type

from signal_tasks import register_type


class Colour(Enum):
    """An enum needs no functions."""

    RED = "red"


@register_type
@dataclass(frozen=True)
class Order:
    """The function works as a class decorator."""

    number: int


class Point(NamedTuple):
    """A named tuple needs none either."""

    x: float
    y: float


class Money:
    """Any other class needs two."""

    def __init__(self, cents: int) -> None:
        self.cents = cents


assert_type(register_type(Colour), type[Colour])
assert_type(Order(7).number, int)
assert_type(register_type(Point, tag="point"), type[Point])


def to_cents(money: Money) -> int:
    """Make something of it that travels."""
    return money.cents


assert_type(register_type(Money, to_cents, Money, "money"), type[Money])
register_type(Colour, encode=to_cents, decode=Money)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
register_type(Money(7))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
