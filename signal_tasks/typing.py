"""Shapes that several rooms share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

JSONValue: TypeAlias = (
    "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
)
"""What the standard library's :mod:`json` reads and writes without help."""

Handler: TypeAlias = Callable[..., Any]
"""The user's function. What it accepts is between it and the signal's sender."""

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
