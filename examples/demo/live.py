"""The live page: the same handler inside the request and in the worker, side by side."""

from __future__ import annotations

import logging
import os
import secrets
from typing import Final

from flask import Blueprint, Response, current_app, jsonify, render_template, request

from . import accounts
from .accounts import Answer
from .handlers import send_welcome_email
from .models import User
from .runs import last_run_id, runs_after
from .signals import this_app

live = Blueprint("live", __name__, url_prefix="/live")

_NAMES: Final = ("Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace", "Niklaus")
_SHOWN_AT_FIRST: Final = 12


@live.get("/")
def page() -> Answer:
    """Show the page; its script does the rest."""
    return render_template(
        "live.html",
        smtp_ms=round(1000 * current_app.config["DEMO_SMTP_SECONDS"]),
        seen_run=max(0, last_run_id() - _SHOWN_AT_FIRST),
    )


@live.post("/register")
def register() -> Response:
    """Register a made-up person; the form says where the welcome e-mail is written."""
    seen_run = last_run_id()
    user = made_up_user()
    if request.form["where"] == "request":
        accounts.store(user)
        # What a plain receiver does: the same function, while the visitor waits.
        send_welcome_email(
            this_app(), user_id=user.id, name=user.name, email=user.email
        )
    else:
        accounts.register(user)
    return jsonify(name=user.name, seen_run=seen_run)


@live.get("/feed")
def feed() -> Response:
    """Return the handler runs since the last one that the page has seen."""
    seen_run = request.args.get("after", 0, type=int)
    return jsonify(web_pid=os.getpid(), runs=runs_after(seen_run, at_most=200))


def made_up_user() -> User:
    """Return somebody new, who has no password and so cannot log in."""
    name, number = secrets.choice(_NAMES), secrets.token_hex(4)
    return User(name=name, email=f"{name.lower()}.{number}@example.org")


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """Keep the page's polling out of the development server's log."""
    return "/live/feed" not in record.getMessage()
