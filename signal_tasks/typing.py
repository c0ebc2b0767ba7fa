"""Shapes that several rooms share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeGuard, TypeVar, get_args

JSONValue: TypeAlias = (
    "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
)
"""What the standard library's :mod:`json` reads and writes without help."""

Handler: TypeAlias = Callable[..., Any]
"""The user's function. What it accepts is between it and the signal's sender."""

Delivery: TypeAlias = Literal["direct", "request", "commit", "outbox", "buffered"]
"""When and how safely an event is handed to the broker."""

DELIVERIES: Final[tuple[Delivery, ...]] = get_args(Delivery)

Adapt: TypeAlias = Callable[[Mapping[str, object]], Mapping[str, object]]
"""Called with a signal's keyword arguments; returns ones that travel."""

Keys: TypeAlias = tuple[str, ...] | None
"""The keys of a context that a receiver names, or None for all that travel."""

Wanted: TypeAlias = tuple[tuple[str, Keys], ...]
"""The contexts that a receiver asks for, in order."""

HandlerT = TypeVar("HandlerT", bound=Handler)

Extract: TypeAlias = Callable[..., Mapping[str, object]]
"""Called as ``extract(sender, **kwargs)`` on the request path; picks what travels."""

Condition: TypeAlias = Callable[..., bool]
"""Called as ``condition(sender, **kwargs)`` on the request path; false sends nothing."""


def named_items(value: object) -> dict[str, object] | None:
    """Return the items of a mapping whose keys are strings; None of anything else."""
    if not _is_mapping(value):
        return None
    named = {name: item for name, item in value.items() if isinstance(name, str)}
    return named if len(named) == len(value) else None


def names_in(value: object) -> tuple[str, ...] | None:
    """Return the items of a sequence of strings; None of anything else."""
    if isinstance(value, str) or not _is_sequence(value):
        return None
    names = tuple(name for name in value if isinstance(name, str))
    return names if len(names) == len(value) else None


def _is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence)
