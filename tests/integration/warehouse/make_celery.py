"""The entry point of the warehouse's workers, as Flask's documentation shows it."""

from __future__ import annotations

from tests.integration.warehouse import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
