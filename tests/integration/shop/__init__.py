"""A small shop whose slow work runs in Celery workers: the application under test.

Its signals are its own, so that it can live in one process with other tests' apps.
"""

from __future__ import annotations

from flask import Flask

from signal_tasks import SignalTasks

from . import goods, handlers
from .models import db

__all__ = ["create_app", "goods", "handlers"]

signal_tasks = SignalTasks()


def create_app(**config: object) -> Flask:
    """Make the shop's app from *config*, else from variables like ``SHOP_SECRET_KEY``."""
    app = Flask(__name__)
    app.config.update(SERVER_NAME="shop.example", CURRENCY="EUR")
    app.config.from_prefixed_env("SHOP")
    app.config.update(config)

    db.init_app(app)
    signal_tasks.init_app(app)
    app.add_url_rule("/orders/<int:order>", "order")
    return app
