"""The tutorial's application, with its slow receivers moved into a worker.

Read on in this order: ``signals`` (what can happen), ``views`` (where it happens),
``handlers`` (what follows from it), ``picks`` (what travels from one to the other).
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from flask import Flask

from signal_tasks import SignalTasks

from . import changes, handlers, live, views
from .models import db
from .storage import ENGINE_OPTIONS, create_tables, secret_key

# Changes and handlers are imported for what they connect.
__all__ = ["changes", "create_app", "handlers"]

signal_tasks = SignalTasks()


def create_app() -> Flask:
    """Build the app, in the web process and in the worker alike.

    Its files are in the folder that ``DEMO_INSTANCE`` names, else in ``instance``. The
    broker is where ``CELERY_BROKER_URL`` says, which Celery reads by itself.
    """
    folder = os.environ.get("DEMO_INSTANCE")
    app = Flask(__name__, instance_path=str(Path(folder).resolve()) if folder else None)
    app.config.from_mapping(
        SECRET_KEY=secret_key(Path(app.instance_path)),
        SESSION_COOKIE_SAMESITE="Lax",
        SQLALCHEMY_DATABASE_URI="sqlite:///demo.sqlite3",
        SQLALCHEMY_ENGINE_OPTIONS=ENGINE_OPTIONS,
        # Show our own error page while debugging too.
        PROPAGATE_EXCEPTIONS=False,
        DEMO_SMTP_SECONDS=0.3,
    )
    app.config.from_prefixed_env()
    db.init_app(app)
    signal_tasks.init_app(app)
    app.register_blueprint(views.pages)
    app.register_blueprint(live.live)
    create_tables(app)
    logging.getLogger("werkzeug").addFilter(live.is_worth_a_line)
    return app
