"""What each process has for itself, for what a fork copies is of no use to the child."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Makes a value when a process first asks for it, and no second one for that process.

    No thread comes along into a forked child, and a lock that one of them held is held
    there for ever.

    Args:
        make: Makes the value.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[int, T] = {}

    @property
    def own(self) -> T:
        """The value of this process."""
        value = self._values.get(os.getpid())
        if value is None:
            # Of two threads that are first, both get the one that stays.
            value = self._values.setdefault(os.getpid(), self._make())
        return value
