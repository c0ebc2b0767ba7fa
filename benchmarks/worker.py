"""What a contender's own worker loads: ``celery -A benchmarks.worker worker``, and so on.

Whichever attribute the worker asks for, it gets what the contender named in the
environment is served with.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from .contenders import load
from .place import Place

CONTENDER_VARIABLE = "SIGNAL_TASKS_CONTENDER"

SERVED = frozenset({"app", "celery", "broker", "huey"})


def __getattr__(name: str) -> Any:
    if name not in SERVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _served()


@cache
def _served() -> Any:
    return load(os.environ[CONTENDER_VARIABLE], Place.from_environment()).served
