"""Types of the shop that travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from pathlib import PurePosixPath, PureWindowsPath
from typing import Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from signal_tasks import register_type


@register_type
@dataclass(frozen=True, slots=True)
class Money:
    """An amount and its currency."""

    amount: Decimal
    currency: str = "EUR"


@register_type
@dataclass
class Order:
    """What somebody buys."""

    number: int
    items: list[tuple[str, Money]] = field(default_factory=list)


@register_type
class Shelf(NamedTuple):
    """A place in the store."""

    row: int
    level: str


@register_type
class Status(Enum):
    """Where an order stands."""

    PLACED = "placed"
    PAID = "paid"


@register_type
class Size(IntEnum):
    """How large a parcel is."""

    SMALL = 1
    LARGE = 2


@register_type
class Care(Flag):
    """What a carrier has to mind."""

    FRAGILE = 1
    COLD = 2


class Sku(str):
    """The code of an article: a subclass of a built-in type."""

    __slots__ = ()


register_type(Sku, str, Sku)


class Coupon:
    """A type that nobody registered."""


_BERLIN = ZoneInfo("Europe/Berlin")
_SUMMER_TIME_ENDS = datetime(2026, 10, 25, 2, 30, tzinfo=_BERLIN)

EVERYTHING: Final[Mapping[str, object]] = {
    "nothing": None,
    "truth": [True, False],
    "whole": [0, -1, 2**63 - 1, 2**63, -(2**200), 10**5000],
    "real": [0.1, -0.0, 1e308, float("nan"), float("inf"), float("-inf")],
    "text": ["", "naïve ☃ 🎁", "\x00\x1f", "\ud800 alone", "</script>", '"\\"'],
    "binary": bytes(range(256)),
    "groups": [(), (1, (2,)), {1, 2}, frozenset({"a"}), [], {}],
    "keys": {1: "int", "1": "str", (1, 2): "tuple", None: "none", Status.PAID: "enum"},
    "moments": [
        datetime(2026, 1, 2, 3, 4, 5, 678901),  # noqa: DTZ001  # a naive one
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
        _SUMMER_TIME_ENDS,
        _SUMMER_TIME_ENDS.replace(fold=1),
    ],
    "calendar": [date(2026, 2, 28), time(23, 59, 59, 1), timedelta(-1, 2, 3)],
    "numbers": [Decimal("1.10"), Decimal("NaN"), Decimal("-0E+3")],
    "names": [UUID(int=1), PurePosixPath("/a/b"), PureWindowsPath("c:/a")],
    "ours": [
        Order(7, [("tea", Money(Decimal("3.50")))]),
        Shelf(3, "top"),
        Status.PLACED,
        Size.LARGE,
        Care.FRAGILE | Care.COLD,
        Sku("tea-7"),
    ],
    "look-alikes": [
        {"~tuple": [1, 2]},
        {"~~": "~"},
        {"__type__": "uuid", "__value__": "not one"},
        {"__type__": "datetime", "__value__": "2026-01-02T03:04:05"},
        {"v": 1, "sig": "none"},
        {"bytes": "YQ==", "__proto__": None},
    ],
}
"""A value of every kind that travels, and of those that transports trip over."""


def describe(value: object) -> object:
    """Tell type and content of *value* in JSON, so that no two values read alike."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return [kind, _content_of(value)]


def _content_of(value: object) -> object:
    match value:
        case dict():
            return [[describe(key), describe(item)] for key, item in value.items()]
        case list() | tuple():
            return [describe(item) for item in value]
        case set() | frozenset():
            return sorted((describe(item) for item in value), key=ascii)
        case int():
            return hex(value)  # Python writes no decimals of 5000 digits
        case _:
            return ascii(value)
