"""The app with its extensions, which would choose otherwise in a worker."""

from __future__ import annotations

import time
from typing import Any

from celery import current_task
from flask import Flask, g
from flask.signals import request_started
from flask_babel import Babel
from flask_login import LoginManager, UserMixin

from signal_tasks import SignalTasks

app = Flask("signals", template_folder="tests/integration/signals_app/templates")
app.root_path = "."
app.secret_key = "only the app's"
signal_tasks = SignalTasks(app)


# -- Flask-Login

login_manager = LoginManager(app)


class User(UserMixin):
    """Somebody with a name, which both processes know."""

    def __init__(self, number: str) -> None:
        self.id = number
        self.name = {"7": "Ada"}[number]


@login_manager.user_loader
def load_user(number: str) -> User:
    """Find a user by what the session has."""
    return User(number)


# -- Flask-Babel


def choose_locale() -> str:
    """Choose one locale in the web server, another in a worker."""
    return "fr" if current_task else "de"


def choose_timezone() -> str:
    """Choose one time zone in the web server, another in a worker."""
    return "Asia/Tokyo" if current_task else "Europe/Berlin"


babel = Babel(app, locale_selector=choose_locale, timezone_selector=choose_timezone)


# -- what is in g


class Database:
    """Something that no message can carry."""


@request_started.connect_via(app)
def prepare(sender: Flask, **extra: Any) -> None:
    """Prepare the request: a handler that belongs into it."""
    g.start_time = time.time()
    g.connection = Database()
