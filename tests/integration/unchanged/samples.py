"""Handlers of Flask's signals and of one's own, for one sender and for any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from blinker import Namespace, signal
from flask import Flask, Response, render_template_string, request
from flask.signals import request_finished, request_started, template_rendered
from jinja2 import Template

from signal_tasks import async_receiver, register_type
from tests.integration.book import observe
from tests.integration.unchanged.app import app, connect_twice

# -- basic usage


@app.route("/")
def index() -> str:
    """Greet."""
    return "Hello, signals!"


@app.route("/error")
def error() -> NoReturn:
    """Fail on purpose."""
    raise RuntimeError("on purpose")


@async_receiver(request_started, context=("request",))
@request_started.connect
def log_request_started(sender: Flask, **extra: Any) -> None:
    """Say which request starts."""
    observe("started", f"Request started: {request.endpoint}")


@async_receiver(request_finished, context=("request",))
@request_finished.connect
def log_request_finished(sender: Flask, response: Response, **extra: Any) -> None:
    """Say how a request ends."""
    observe("finished", request.endpoint, response.status_code)


# -- a signal of one's own

user_registered = signal("unchanged-user-registered")


@register_type
@dataclass
class User:
    """Somebody who registers."""

    name: str
    email: str


@app.route("/register")
def register() -> str:
    """Register somebody, and send the signal."""
    user_registered.send(app, user=User("Ada", "ada@example.org"))
    return "registered"


@async_receiver(user_registered)
@user_registered.connect
def send_welcome_email(sender: Flask, user: User, **extra: Any) -> None:
    """Write to somebody new."""
    observe("custom", sender.name, type(user).__name__, f"Welcome, {user.email}")


# -- a decorator and a direct call


@async_receiver(request_started)
@request_started.connect
def log_decorated(sender: Flask, **extra: Any) -> None:
    """Be connected by decorators."""
    observe("decorated", "Request started", sorted(extra))


def log_direct(sender: Flask, **extra: Any) -> None:
    """Be connected by calls."""
    observe("direct", "Request started", sorted(extra))


request_started.connect(log_direct)
async_receiver(request_started)(log_direct)


# -- one sender alone

other_app = Flask("other")


@app.route("/page")
def page() -> str:
    """Render two templates, of which only one is this app's."""
    with other_app.app_context():
        render_template_string("{{ title }}", title="Of another app")
    return render_template_string("<h1>{{ title }}</h1>", title="Signal example")


def log_template_renders(
    sender: Flask, template: Template, context: dict[str, Any], **extra: Any
) -> None:
    """Say what is rendered, and with what."""
    observe("template", sender.name, template.name, context["title"])


connect_twice(template_rendered, log_template_renders, sender=app)


# -- a namespace

my_signals = Namespace()
user_created = my_signals.signal("user-created")
user_deleted = my_signals.signal("user-deleted")


@app.route("/comings-and-goings")
def come_and_go() -> str:
    """Create somebody, and delete them again."""
    user_created.send(app, user_id=7)
    user_deleted.send(app, user_id=7)
    return "gone"


def note_created(sender: Flask, user_id: int, **extra: Any) -> None:
    """Say who has come."""
    observe("namespace", "created", user_id)


def note_deleted(sender: Flask, user_id: int, **extra: Any) -> None:
    """Say who has gone."""
    observe("namespace", "deleted", user_id)


connect_twice(user_created, note_created)
connect_twice(user_deleted, note_deleted)
