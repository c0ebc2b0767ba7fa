"""Celery apps and Flask apps around a broker that lives in this process's memory."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from uuid import uuid4

from celery import Celery
from celery.worker.request import Request
from flask import Flask
from kombu import Message

from signal_tasks import Bridge, SignalTasks

PATIENCE_SECONDS = 20
"""How long a publish may take, where that is not what is tested: machines are busy."""

KEY = "the key of the tests, which nobody else has"


@dataclass(frozen=True, slots=True)
class Broker:
    """The one queue of a Celery app, and what a worker would do with what is in it."""

    celery_app: Celery

    def take(self) -> list[Message]:
        """Return the messages in the queue, in order, and leave none."""
        with self.celery_app.connection_for_read() as connection:
            waiting = connection.SimpleQueue(self.celery_app.conf.task_default_queue)
            messages = [waiting.get_nowait() for _ in range(waiting.qsize())]
            for message in messages:
                message.ack()
            waiting.close()
        return messages

    def names(self) -> list[str]:
        """Take the messages and return the names of the receivers that they are for."""
        return [message.headers["task"] for message in self.take()]

    def run(self) -> list[object]:
        """Do what a worker's pool does with each message, once.

        Returns:
            What the tasks return, or Celery's account of what they raise. Messages that
            the tasks publish, such as retries, stay for the next run.
        """
        return [
            Request(message, app=self.celery_app).execute() for message in self.take()
        ]


def celery_settings(**settings: object) -> dict[str, object]:
    """Return Celery settings for a queue that nobody else uses."""
    own_queue = f"tests.{uuid4().hex}"
    return {"broker_url": "memory://", "task_default_queue": own_queue, **settings}


def new_celery_app(**settings: object) -> Celery:
    """Make a Celery app that is nobody's current one."""
    celery_app = Celery("tests", set_as_current=False)
    celery_app.config_from_object(celery_settings(**settings))
    return celery_app


@functools.cache
def instance_folder() -> str:
    """Return a folder for what an app keeps, such as dead letters."""
    folder = tempfile.mkdtemp(prefix="signal-tasks-tests-")
    atexit.register(shutil.rmtree, folder)
    return folder


def new_app(bridge: Bridge, import_name: str = "shop", **config: object) -> Flask:
    """Make a Flask app that *bridge* serves."""
    app = Flask(import_name, instance_path=instance_folder())
    app.config.from_mapping(
        TESTING=True,
        SECRET_KEY=KEY,
        CELERY=celery_settings(),
        SIGNAL_TASKS_PUBLISH_TIMEOUT=PATIENCE_SECONDS,
    )
    app.config.from_mapping(config)
    SignalTasks(app, bridge=bridge)
    return app


def broker_of(app: Flask) -> Broker:
    """Return the queue of the Celery app that *app* has now."""
    return Broker(app.extensions["celery"])
