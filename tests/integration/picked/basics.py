"""Basic usage: a request's start, its finish, and an error; and all signals there are."""

from __future__ import annotations

from typing import Any, NoReturn

from flask import Flask, Response, request
from flask.signals import (
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    got_request_exception,
    request_finished,
    request_started,
    request_tearing_down,
)

from signal_tasks import async_receiver
from tests.integration.book import observe
from tests.integration.picked.app import app


@app.route("/")
def index() -> str:
    """Greet."""
    return "Hello, signals!"


@app.route("/error")
def error() -> NoReturn:
    """Fail on purpose."""
    raise RuntimeError("on purpose")


# -- started and finished


@request_started.connect
def log_request_started(sender: Flask, **extra: Any) -> None:
    """Say which request starts."""
    observe("started", sender.name, request.endpoint)


@request_finished.connect
def log_request_finished(sender: Flask, response: Response, **extra: Any) -> None:
    """Say how a request ends."""
    observe("finished", sender.name, request.endpoint, response.status_code)


def pick_endpoint(sender: Flask, **extra: Any) -> dict[str, Any]:
    """Pick what travels of a request that starts."""
    return {"endpoint": request.endpoint}


def pick_status(sender: Flask, response: Response, **extra: Any) -> dict[str, Any]:
    """Pick what travels of a request that ends."""
    return {"endpoint": request.endpoint, "status": response.status_code}


@async_receiver(request_started, extract=pick_endpoint)
def log_request_started_later(sender: Flask, endpoint: str) -> None:
    """Say which request has started."""
    observe("started", sender.name, endpoint)


@async_receiver(request_finished, extract=pick_status)
def log_request_finished_later(sender: Flask, endpoint: str, status: int) -> None:
    """Say how a request has ended."""
    observe("finished", sender.name, endpoint, status)


# -- the others of the tutorial's list


@got_request_exception.connect
def log_exception(sender: Flask, exception: Exception, **extra: Any) -> None:
    """Say what went wrong."""
    observe("exception", type(exception).__name__)


def pick_type(sender: Flask, exception: Exception, **extra: Any) -> dict[str, Any]:
    """Pick what travels of an exception."""
    return {"exception_type": type(exception).__name__}


@async_receiver(got_request_exception, extract=pick_type)
def log_exception_later(sender: Flask, exception_type: str) -> None:
    """Say what went wrong."""
    observe("exception", exception_type)


def log_moved(sender: Flask, **extra: Any) -> None:
    """Say that a context has come or gone."""
    observe("moved", sender.name)


def log_torn_down(sender: Flask, exc: Exception | None, **extra: Any) -> None:
    """Say that a context goes, and whether an error is why."""
    observe("torn down", sender.name, exc is not None)


def log_torn_down_later(sender: Flask, *, has_failed: bool) -> None:
    """Say that a context has gone, and whether an error was why."""
    observe("torn down", sender.name, has_failed)


def pick_failed(sender: Flask, exc: Exception | None, **extra: Any) -> dict[str, Any]:
    """Pick what travels of a context's end."""
    return {"has_failed": exc is not None}


# For this app alone, for the tutorial has another one, which has no worker.
for moved in (appcontext_pushed, appcontext_popped):
    moved.connect(log_moved, app)
for torn_down in (request_tearing_down, appcontext_tearing_down):
    torn_down.connect(log_torn_down, app)

async_receiver(appcontext_pushed, appcontext_popped, sender=app)(log_moved)
async_receiver(
    request_tearing_down, appcontext_tearing_down, sender=app, extract=pick_failed
)(log_torn_down_later)
