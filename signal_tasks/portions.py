"""Mappings of which only a part travels, with the names of what stayed behind.

Sessions, ``g`` and template contexts hold things that no message can carry. What is left
out is known by name in the worker, so that a handler that asks for it hears why it is
not there, instead of being told that it never was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from .codec import Codec
from .exceptions import EncodeError, NotSentError
from .typing import Keys

NAME_IT = (
    "Name it in context=, register its type, or pick what you need of it with extract=."
)
"""How to have the rest of a context sent."""

PICK_IT = "Register its type, or pick what you need of it with extract=."
"""How to have it sent where it is no context and has no keys to name."""


def portion_of(
    items: Mapping[str, object], keys: Keys, codec: Codec
) -> dict[str, object]:
    """Return the part of *items* that travels, in a form that travels.

    Args:
        items: A session, say.
        keys: The keys to send; what stands there has to travel. None sends whatever
            does.
        codec: Knows what travels.

    Raises:
        NotSentError: One of *keys* did not get this far.
    """
    if keys is None:
        sent = {key: item for key, item in items.items() if _travels(item, codec)}
    else:
        sent = {key: items[key] for key in keys if key in items}
    left_out = {key for key in items if key not in sent}
    if isinstance(items, Portion):
        left_out |= items.left_out
    return {"sent": sent, "left_out": sorted(left_out, key=str)}


class Portion(dict[str, Any]):
    """What arrived of a mapping; asking for what did not raises ``NotSentError``.

    Args:
        portion: What :func:`portion_of` made.
        what: The mapping's name, for errors.
        mend: How to have the rest sent, for errors.
    """

    def __init__(
        self, portion: Mapping[str, Any], *, what: str, mend: str = NAME_IT
    ) -> None:
        super().__init__(portion["sent"])
        self.what = what
        self.mend = mend
        self.left_out: frozenset[str] = frozenset(portion["left_out"])
        """Names of what was there and was not sent."""

    def __missing__(self, key: str) -> NoReturn:
        self._check(key)
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        self._check(key)
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the item, or *default* if there was none where it was sent."""
        self._check(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        """Remove and return the item, or *default* if there was none."""
        self._check(key)
        return super().pop(key, *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the item, or *default*, which then stands there, if there was none."""
        self._check(key)
        return super().setdefault(key, default)

    def _check(self, key: object) -> None:
        if not super().__contains__(key):
            check_was_sent(key, self.left_out, what=self.what, mend=self.mend)


class ChecksKeys:
    """Mixed into multidicts: asking for what was withheld raises ``NotSentError``."""

    left_out: Collection[str]
    """Keys of what stayed behind."""

    what: str
    """What it is, for errors."""

    mend: str = NAME_IT
    """How to have the rest sent, for errors."""

    def __getitem__(self, key: Any) -> Any:
        self._check(key)
        return super().__getitem__(key)  # type: ignore[misc]

    def __contains__(self, key: object) -> bool:
        self._check(key)
        return bool(super().__contains__(key))  # type: ignore[misc]

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return the first item of that key."""
        self._check(key)
        return super().get(key, *args, **kwargs)  # type: ignore[misc]

    def getlist(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return all items of that key."""
        self._check(key)
        return super().getlist(key, *args, **kwargs)  # type: ignore[misc]

    def _check(self, key: object) -> None:
        check_was_sent(key, self.left_out, what=self.what, mend=self.mend)


class ChecksHeaders(ChecksKeys):
    """Mixed into headers, whose names are the same in upper and lower case."""

    left_out: Collection[str]
    """Names of the headers that stayed behind, in lower case."""

    what = "the headers"

    def _check(self, key: object) -> None:
        super()._check(key.lower() if isinstance(key, str) else key)


def check_was_sent(
    key: object, left_out: Collection[str], *, what: str, mend: str = NAME_IT
) -> None:
    """Raise if *key* is the name of something that was left out.

    Raises:
        NotSentError: It is.
    """
    if key in left_out:
        raise NotSentError(
            f"{what} had {key!r} where the signal was sent, and it did not travel: it was "
            f"not asked for, or its type does not travel. {mend}"
        )


def _travels(item: object, codec: Codec) -> bool:
    try:
        codec.encode(item, path="item")
    except EncodeError:
        return False
    return True
