"""A logger of what users do, whose methods listen to three signals."""

from __future__ import annotations

import time
from typing import Any

from blinker import signal
from flask import Flask, Response, g, request, session
from flask.signals import request_finished, request_started

from signal_tasks import async_receiver
from tests.integration.book import observe
from tests.integration.picked.app import app

user_action = signal("picked-user-action")


def pick_request(sender: Flask, response: Response, **extra: Any) -> dict[str, Any]:
    """Pick what travels of a request that ends."""
    return {
        "user": session.get("user_id", "anonymous"),
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "seconds": time.time() - g.start_time,
    }


def pick_user(sender: Flask, action: str, **extra: Any) -> dict[str, Any]:
    """Pick what travels of a user's action."""
    return {"action": action, "user": session.get("user_id", "anonymous")}


class ActivityLogger:
    """Logs requests and actions, each in the request and in the worker."""

    def __init__(self) -> None:
        self.setup_signal_handlers()

    def setup_signal_handlers(self) -> None:
        """Connect the methods."""
        request_started.connect(self.on_request_started)
        request_finished.connect(self.on_request_finished)
        user_action.connect(self.on_user_action)
        async_receiver(request_finished, extract=pick_request)(self.log_request)
        async_receiver(user_action, extract=pick_user)(self.log_action)

    def on_request_started(self, sender: Flask, **extra: Any) -> None:
        """Note the time, which is for the request alone."""
        g.start_time = time.time()

    def on_request_finished(
        self, sender: Flask, response: Response, **extra: Any
    ) -> None:
        """Log a request while it ends."""
        self.log_request(sender, **pick_request(sender, response))

    def on_user_action(self, sender: Flask, action: str, **extra: Any) -> None:
        """Log an action while it happens."""
        self.log_action(sender, **pick_user(sender, action))

    def log_request(
        self,
        sender: Flask,
        *,
        user: str,
        method: str,
        path: str,
        status: int,
        seconds: float,
    ) -> None:
        """Write down a request."""
        observe("activity", user, method, path, status, 0 <= seconds < 60)

    def log_action(self, sender: Flask, *, action: str, user: str) -> None:
        """Write down an action."""
        observe("action", sender.name, user, action)


logger = ActivityLogger()


@app.route("/login", methods=["POST"])
def login() -> str:
    """Log somebody in."""
    session["user_id"] = request.form.get("username", "demo_user")
    user_action.send(app, action="login", username=session["user_id"])
    return "logged in"


@app.route("/profile")
def profile() -> str | tuple[str, int]:
    """Show who is logged in."""
    if "user_id" not in session:
        return "not logged in", 401
    user_action.send(app, action="view_profile")
    return f"profile of {session['user_id']}"
