"""A program that is well, or as ill as its configuration makes it."""

from __future__ import annotations

from blinker import Signal
from celery import Celery
from flask import Flask

from signal_tasks import Bridge, SignalTasks
from signal_tasks.cli.group import group

TREAT = "clinic.treat"
BILL = "clinic.bill"


def treat(sender: object, patient: str, **extra: object) -> None:
    """Stand for a handler."""


def treat_as_before(sender: object, patient: str, ward: int) -> None:
    """Stand for the handler of an older version."""


def bill(sender: object, **extra: object) -> None:
    """Stand for a handler that an older version does not have."""


def make_app(name: str, **config: object) -> Flask:
    """Make the app, which is of an older version where the configuration says so."""
    app = Flask(name)
    app.config.update(config, TESTING=True)
    bridge = Bridge()
    is_old = app.config.get("IS_OLD", False)
    bridge.async_receiver(Signal(), name=TREAT)(treat_as_before if is_old else treat)
    if not is_old:
        bridge.async_receiver(Signal(), name=BILL, countdown=30)(bill)
    app.cli.add_command(group)
    SignalTasks(app, bridge=bridge)
    return app


def create_app() -> Flask:
    """Make the app, configured by variables that begin with CLINIC_."""
    settings = Flask(__name__)
    settings.config.from_prefixed_env("CLINIC")
    return make_app("clinic", **settings.config)


def create_stranger() -> Celery:
    """Make the Celery app of another program, configured by the same variables."""
    settings = Flask(__name__)
    settings.config.from_prefixed_env("CLINIC")
    celery_app = Celery("stranger", set_as_current=False)
    celery_app.config_from_object(settings.config["CELERY"])
    celery_app.task(name="stranger.work")(bill)
    return celery_app
