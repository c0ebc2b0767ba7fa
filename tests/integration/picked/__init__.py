"""The samples of a tutorial on Flask's signals, each with two receivers.

One is connected as blinker does, and runs in the request with all that is there. The
other runs in the worker, and what it needs of the request is picked with ``extract=``.
"""

from __future__ import annotations

from tests.integration.picked import (
    activity,
    basics,
    connecting,
    custom,
    namespaces,
    senders,
)
from tests.integration.picked.app import app

__all__ = [
    "activity",
    "app",
    "basics",
    "connecting",
    "custom",
    "namespaces",
    "senders",
]
