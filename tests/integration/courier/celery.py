"""Where ``celery -A tests.integration.courier worker`` finds the Celery app."""

from __future__ import annotations

import os

from tests.integration.courier import create_courier

courier = create_courier(os.environ["COURIER_BROKER_URL"])
app = courier.celery_app
