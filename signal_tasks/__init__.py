"""Run blinker and Flask signal receivers in Celery workers."""
