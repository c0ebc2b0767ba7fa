"""Celery's door in: a task for each receiver, and what a worker needs to lose nothing."""
