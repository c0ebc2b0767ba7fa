"""What the codec objects to, and how its errors name types and places.

Names of types, fields and name-like keys are shown, for they are code. Everything else
is somebody's data, and is told by its position.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TypeAlias

_LONGEST_SHOWN_KEY = 40
_SHOWN_ENDS = 8

Step: TypeAlias = Callable[[object, int], str]
"""Writes how a path goes on, from a key and its position."""


class FormError(Exception):
    """A value that has no form on the wire, or a form that is no value.

    It never leaves the codec, which turns it into an
    :exc:`~signal_tasks.exceptions.EncodeError` or
    :exc:`~signal_tasks.exceptions.DecodeError` at the root, where the whole path is
    known: containers add their step to it while it unwinds, so that a walk in which
    nothing goes wrong pays nothing for paths.

    Args:
        reason: What is wrong and how to mend it, without any value.
        about: The type's name on the way out, the tag's on the way in; empty while
            only the codec knows it.
        is_too_deep: Whether the depth is what is wrong, so that a circle may be why.
    """

    def __init__(
        self, reason: str, *, about: str = "", is_too_deep: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.about = about
        self._is_too_deep = is_too_deep
        self._steps: list[tuple[object, str]] = []

    @property
    def is_placed(self) -> bool:
        """Whether a container has added its step."""
        return bool(self._steps)

    def at(self, holder: object, step: str) -> Self:
        """Add that it came up in *holder*, one *step* further on."""
        self._steps.append((holder, step))
        return self

    def path(self, root: str) -> str:
        """Write the way from *root* to where it came up."""
        steps = [step for _, step in reversed(self._steps) if step]
        if len(steps) > 2 * _SHOWN_ENDS:
            steps = [*steps[:_SHOWN_ENDS], "...", *steps[-_SHOWN_ENDS:]]
        return root + "".join(steps)

    def as_circle(self) -> FormError:
        """Name the object that contains itself, if that is why it is too deep.

        Asked for at the root, so that a walk that stays shallow need not remember
        where it has been.
        """
        way = self._steps[::-1] if self._is_too_deep else []
        seen: dict[int, int] = {}
        for again, (holder, _) in enumerate(way):
            first = seen.setdefault(id(holder), again)
            if first != again:
                return _circle(way, first, again)
        return self


def _circle(way: list[tuple[object, str]], first: int, again: int) -> FormError:
    where = "".join(step for _, step in way[first:again])
    error = FormError(
        f"it contains itself{where and ', at ' + where}. Break the circle, or send an "
        "identifier instead.",
        about=type_name(type(way[first][0])),
    )
    for holder, step in reversed(way[:first]):
        error.at(holder, step)
    return error


def type_name(cls: type[object]) -> str:
    """Name *cls* in full, the way one would import it."""
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


def is_showable(key: object) -> bool:
    """Tell whether *key* reads like a name, not like somebody's data."""
    if type(key) is not str or len(key) > _LONGEST_SHOWN_KEY:
        return False
    return key.isidentifier() or key.replace("-", "").replace("_", "").isalnum()


def key_step(key: object, position: int) -> str:
    """Write the step to the value under *key* of a dict."""
    return f"[{key!r}]" if is_showable(key) else f"[<key {position}>]"


def field_step(key: object, position: int) -> str:
    """Write the step to the attribute *key*."""
    return f".{key}" if is_showable(key) else f".<field {position}>"
