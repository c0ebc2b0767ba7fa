"""How text that others wrote is shown in a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Write out what would move the terminal's cursor; anybody may have sent it."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )
