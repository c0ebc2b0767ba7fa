"""The Celery app of another program, for its worker."""

from tests.integration.clinic import create_stranger

celery = create_stranger()
