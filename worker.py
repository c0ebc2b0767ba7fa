"""Serve ``celery -A worker worker``: the demo, or the Flask app that FLASK_APP names."""

from __future__ import annotations

import os

from signal_tasks.worker import load_celery_app

os.environ.setdefault("FLASK_APP", "examples.demo:create_app")

celery = load_celery_app()
