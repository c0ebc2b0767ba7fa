"""Lines of several processes in one terminal, each behind the name of its process."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

_COLOURS = {"web": "cyan", "worker": "green", "broker": "magenta", "dev": "yellow"}
_WIDTH = max(map(len, _COLOURS))


def wants_colour(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether colours on *stream* reach somebody who wants to see them.

    See https://no-color.org for the variable ``NO_COLOR``.
    """
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    return stream.isatty()


class Console:
    """A terminal, or whatever stands for it, that several threads write lines to.

    Args:
        stream: Where the lines go.
        is_coloured: Whether the names have colours; if not, nothing has.
    """

    def __init__(self, stream: TextIO, *, is_coloured: bool = False) -> None:
        self._stream = stream
        self._is_coloured = is_coloured
        self._lock = threading.Lock()
        self._is_gone = False

    def line(self, name: str, text: str) -> None:
        """Write *text* behind *name*; do nothing once the terminal is gone.

        A closed terminal must not keep the processes from being ended in order.
        """
        line = click.style(f"{name:<{_WIDTH}} |", fg=_COLOURS.get(name)) + f" {text}\n"
        if not self._is_coloured:
            line = click.unstyle(line)  # some children colour their own words as well
        with self._lock:
            if self._is_gone:
                return
            try:
                self._stream.write(line)
                self._stream.flush()
            except OSError:
                self._is_gone = True
