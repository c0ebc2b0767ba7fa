"""The fixtures that the unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
from blinker import Signal
from celery import Celery
from flask import Flask

from signal_tasks import Bridge
from signal_tasks.bridge import default_bridge
from tests.in_memory import KEY, PATIENCE_SECONDS, Broker, new_app, new_celery_app

# On a busy machine an example may take long, and that is no failure. With CI in the
# environment these begin from Hypothesis' own profile for it, which repeats itself.
hypothesis.settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")
# pytest --hypothesis-profile thorough
hypothesis.settings.register_profile("thorough", max_examples=1000)


@pytest.fixture
def signal() -> Signal:
    """Return a signal that nobody else knows."""
    return Signal()


@pytest.fixture
def celery_app() -> Celery:
    """Return a Celery app without Flask."""
    return new_celery_app()


@pytest.fixture
def broker(celery_app: Celery) -> Broker:
    """Return the queue of *celery_app*."""
    return Broker(celery_app)


@pytest.fixture
def bridge(celery_app: Celery) -> Bridge:
    """Return a bridge for *celery_app*, whose failures raise."""
    return Bridge(
        celery_app,
        secret_key=KEY,
        on_error="raise",
        publish_timeout_seconds=PATIENCE_SECONDS,
    )


@pytest.fixture
def flask_bridge() -> Bridge:
    """Return a bridge that serves no app but those that a test gives it."""
    return Bridge()


@pytest.fixture
def app(flask_bridge: Bridge) -> Iterator[Flask]:
    """Return a Flask app that *flask_bridge* serves, and no other bridge hears.

    Flask's signals are those of all apps, and the demo's receivers listen to them.
    """
    with default_bridge.disconnected():
        yield new_app(flask_bridge)
