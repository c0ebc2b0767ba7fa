"""A cache in files, which web and worker can both reach.

It is a sketch: what is being made while it is dropped is kept all the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from .storage import cache_folder


def get(key: str, make: Callable[[], list[str]]) -> list[str]:
    """Return what is kept under *key*; where nothing is, make it and keep it."""
    path = cache_folder() / f"{key}.json"
    try:
        kept: list[str] = json.loads(path.read_text())
    except FileNotFoundError:
        kept = make()
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(kept))
        draft.replace(path)
    return kept


def forget(key: str) -> None:
    """Drop what is kept under *key*, if anything is."""
    (cache_folder() / f"{key}.json").unlink(missing_ok=True)
