"""Receivers as users declare them. This file is checked and never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from blinker import Namespace, Signal
from celery import Celery
from flask import Flask, Response, request_finished

from signal_tasks import Bridge, SignalTasks, async_receiver, current_event

shop_signals = Namespace()
user_registered = shop_signals.signal("user-registered")
user_removed: Signal = shop_signals.signal("user-removed")

app = Flask(__name__)


@async_receiver(user_registered)
def send_welcome_email(sender: Flask, user: str, **extra: object) -> int:
    """Return how long the mail is."""
    return len(user)


# A decorated handler is the function that it was: for a unit test, for example.
assert_type(send_welcome_email(app, "ada"), int)
assert_type(send_welcome_email(app, user="ada", campaign=1), int)
send_welcome_email(app)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
send_welcome_email(app, 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@async_receiver(user_registered, user_removed)
@async_receiver(request_finished, sender=app)
async def count(sender: object, **extra: Any) -> str:
    """Return the name of the event's signal."""
    return current_event.signal


async def use_count() -> None:
    """Await a decorated coroutine function."""
    assert_type(await count(None), str)


def pick_status(sender: Flask, response: Response, **extra: object) -> dict[str, int]:
    """Pick what travels."""
    return {"status": response.status_code}


def is_wanted(sender: Flask, response: Response, **extra: object) -> bool:
    """Tell whether the event matters."""
    return response.status_code >= 500


@async_receiver(
    request_finished,
    sender=app,
    name="shop.log_error",
    extract=pick_status,
    condition=is_wanted,
    queue="metrics",
    priority=3,
    countdown=1.5,
    max_retries=5,
    retry_backoff=True,
    autoretry_for=(OSError,),
    rate_limit="10/m",
)
def log_error(sender: Flask, status: int) -> None:
    """Use Celery's options with ours."""


class Mailer:
    """Something whose methods are handlers."""

    def send(self, sender: object, user: str) -> bool:
        """Send a mail."""
        return bool(user)


# The direct form, for a function that somebody else wrote, and for a method.
mailer = Mailer()
send = async_receiver(user_registered)(mailer.send)
assert_type(send(None, "ada"), bool)

# What is no signal, function, or answer is found before anything runs.
async_receiver("user-registered")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async_receiver(user_registered)(7)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
async_receiver(user_registered, extract=is_wanted)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Without Flask.
bridge = Bridge(Celery("shop"), secret_key=b"key", on_error="raise")
Bridge(Celery("shop"), on_error="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@bridge.async_receiver(user_removed)
def forget(sender: object, user: str) -> Mapping[str, int]:
    """Return how much was forgotten."""
    return {user: 1}


assert_type(forget(None, "ada"), Mapping[str, int])

with bridge.disconnected(forget, "shop.log_error"):
    bridge.connect(forget)
    bridge.disconnect("shop.log_error")

# One extension object for several apps, with the default bridge or another.
signal_tasks = SignalTasks(bridge=bridge)
signal_tasks.init_app(app)
assert_type(SignalTasks(app).bridge, Bridge)
