"""A Flask app whose owner has written its Celery app as Flask's documentation shows.

Each app has a bridge of its own and hears only its own core signals, so that it can
live in one process with other tests' apps.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from blinker import Signal
from celery import Celery, Task
from flask import (
    Flask,
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    current_app,
)

from signal_tasks import Bridge, SignalTasks, current_event

goods_moved = Signal()

CONTEXT_SIGNALS: Final[Mapping[str, Signal]] = {
    "pushed": appcontext_pushed,
    "tearing-down": appcontext_tearing_down,
    "popped": appcontext_popped,
}


def create_app(**config: object) -> Flask:
    """Make the app from *config*, else from variables like ``WAREHOUSE_SECRET_KEY``."""
    app = Flask(__name__)
    app.config.from_prefixed_env("WAREHOUSE")
    app.config.update(config)

    celery_app = celery_init_app(app)
    celery_app.task(sweep, name="warehouse.sweep")

    bridge = Bridge()
    SignalTasks(app, bridge=bridge)
    bridge.async_receiver(goods_moved)(book)
    for name, signal in CONTEXT_SIGNALS.items():
        bridge.async_receiver(signal, sender=app, name=f"warehouse.{name}")(watch)
    return app


def celery_init_app(app: Flask) -> Celery:
    """Make a Celery app whose tasks run inside the app's context."""

    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


def sweep() -> None:
    """Be a task that has nothing to do with signals."""
    _write(handler="sweep")


def book(sender: object, **extra: Any) -> None:
    """Hear of moved goods."""
    _write(handler="book", event_id=current_event.id)


def watch(sender: object, **extra: Any) -> None:
    """Hear of app contexts, whose coming and going a naive bridge causes itself."""
    _write(handler="watch", event_id=current_event.id, signal=current_event.signal)


def _write(**facts: object) -> None:
    facts = {"pid": os.getpid(), "parent_pid": os.getppid(), **facts}
    with Path(current_app.config["RECORDS"]).open("a") as records:
        records.write(json.dumps(facts) + "\n")
