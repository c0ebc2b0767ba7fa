"""A signal of one's own, sent when somebody registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blinker import signal
from flask import Flask

from signal_tasks import async_receiver, register_type
from tests.integration.book import observe
from tests.integration.picked.app import app

user_registered = signal("picked-user-registered")


@register_type
@dataclass
class User:
    """Somebody who registers."""

    name: str
    email: str


@app.route("/register")
def register() -> str:
    """Register somebody, and send the signal."""
    user_registered.send(app, user=User("Ada", "ada@example.org"))
    return "registered"


@user_registered.connect
def send_welcome_email(sender: Flask, user: User, **extra: Any) -> None:
    """Write to somebody new."""
    observe("custom", sender.name, type(user).__name__, user.name, user.email)


@async_receiver(user_registered)
def send_welcome_email_later(sender: Flask, user: User, **extra: Any) -> None:
    """Write to somebody new."""
    observe("custom", sender.name, type(user).__name__, user.name, user.email)
