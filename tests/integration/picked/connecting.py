"""Two ways to connect a function: as a decorator, and directly."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.signals import request_started

from signal_tasks import async_receiver
from tests.integration.book import observe


@request_started.connect
def log_request_info(sender: Flask, **extra: Any) -> None:
    """Be connected by a decorator."""
    observe("decorated", "Request started", sorted(extra))


@async_receiver(request_started)
def log_request_info_later(sender: Flask, **extra: Any) -> None:
    """Be connected by a decorator."""
    observe("decorated", "Request started", sorted(extra))


def log_request_info_directly(sender: Flask, **extra: Any) -> None:
    """Be connected by two calls, once of either kind."""
    observe("direct", "Request started", sorted(extra))


request_started.connect(log_request_info_directly)
async_receiver(request_started)(log_request_info_directly)
