"""A logger of what users do, whose methods listen to three signals."""

from __future__ import annotations

import time
from typing import Any

from blinker import signal
from flask import Flask, Response, g, request, session
from flask.signals import request_finished, request_started

from signal_tasks import async_receiver
from tests.integration.book import observe
from tests.integration.unchanged.app import app, connect_twice

user_action = signal("unchanged-user-action")

CONTEXT = ("request", "session", "g")


class ActivityLogger:
    """Logs requests and actions."""

    def __init__(self) -> None:
        self.setup_signal_handlers()

    def setup_signal_handlers(self) -> None:
        """Connect the methods; the one that prepares the request belongs into it."""
        request_started.connect(self.on_request_started)
        connect_twice(request_finished, self.on_request_finished, context=CONTEXT)
        connect_twice(user_action, self.on_user_action, context=CONTEXT)

    def on_request_started(self, sender: Flask, **extra: Any) -> None:
        """Note the time, for whoever comes later in the request."""
        g.start_time = time.time()
        observe("noted", g.start_time)

    def on_request_finished(
        self, sender: Flask, response: Response, **extra: Any
    ) -> None:
        """Log a request."""
        if hasattr(g, "start_time"):  # pragma: no branch  # it is there in these tests
            duration = time.time() - g.start_time
            user_id = session.get("user_id", "anonymous")
            observe(
                "activity",
                f"{user_id} {request.method} {request.path}: {response.status_code}",
            )
            observe("duration", g.start_time, duration)

    def on_user_action(self, sender: Flask, action: str, **extra: Any) -> None:
        """Log an action."""
        user_id = session.get("user_id", "anonymous")
        observe("action", f"{user_id} performed {action}", sorted(extra.items()))


logger = ActivityLogger()

# What not to do: the worker gets a copy of g, and the request never sees it again.
async_receiver(request_started, context=("g",))(logger.on_request_started)


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
