"""The Celery app of a Flask app, for ``celery -A signal_tasks.worker worker``.

The Flask app is found as the ``flask`` command finds it: by ``FLASK_APP``, in
``.flaskenv``, or in ``app.py`` or ``wsgi.py`` of the current directory.
"""

from __future__ import annotations

import os

from celery import Celery
from flask.cli import ScriptInfo, load_dotenv

from .flask.host import host_of

celery: Celery  # made on first use, for importing a module does nothing by itself


def __getattr__(name: str) -> Celery:
    if name != "celery":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["celery"] = celery_app = load_celery_app()
    return celery_app


def load_celery_app() -> Celery:
    """Load the Flask app that ``FLASK_APP`` names and return its Celery app.

    Raises:
        ConfigurationError: The app has no SignalTasks.
    """
    load_dotenv()
    app = ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
    return host_of(app).celery_app
