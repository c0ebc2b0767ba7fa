"""The samples of a tutorial on Flask's signals, each handler connected twice.

Once with blinker, so that it runs in the request, and once with ``@async_receiver``, so
that it runs in the worker. Both call the very same function.
"""

from __future__ import annotations

from tests.integration.unchanged import activity, exercises, samples, testing
from tests.integration.unchanged.app import app

__all__ = ["activity", "app", "exercises", "samples", "testing"]
