"""The tutorial's exercises."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from blinker import signal
from flask import Flask, Response, request, session
from flask.signals import request_finished, template_rendered
from jinja2 import Template

from tests.integration.book import observe
from tests.integration.unchanged.activity import CONTEXT, user_action
from tests.integration.unchanged.app import app, connect_twice, database

profile_changed = signal("unchanged-profile-changed")
data_modified = signal("unchanged-data-modified")

_STANDARD = ("g", "request", "session")
"""What Flask adds to the context of every template."""


@app.route("/profile/edit", methods=["POST"])
def edit_profile() -> str:
    """Change an address, and tell of it."""
    address = request.form["address"]
    profile_changed.send(app, user=session["user_id"], fields=("address",))
    data_modified.send(app, what="address", before=None, after=address)
    return "changed"


def log_template(
    sender: Flask, template: Template, context: dict[str, Any], **extra: Any
) -> None:
    """Log every template with its data: exercise 1."""
    data = {name: context[name] for name in context if name not in _STANDARD}
    observe("rendered", template.name or "a string", data)


def touch_profile(
    sender: Flask, user: str, fields: tuple[str, ...], **extra: Any
) -> None:
    """Keep the time of the last change: exercise 2."""
    now = datetime.now(UTC).isoformat()
    with database() as db:
        db.execute("REPLACE INTO last_modified VALUES (?, ?)", (user, now))
    observe("touched", user, type(fields).__name__, fields)


def write_audit(
    sender: Flask, what: str, before: object, after: object, **extra: Any
) -> None:
    """Record what was changed, and by whom: exercise 3."""
    with database() as db:
        db.execute(
            "INSERT INTO audit VALUES (?, ?, ?, ?)",
            (session["user_id"], what, before, after),
        )
    observe("audited", what)


def count_view(sender: Flask, response: Response, **extra: Any) -> None:
    """Count page views: exercise 4."""
    count(f"{request.method} {request.url_rule}")


def count_action(sender: Flask, action: str, **extra: Any) -> None:
    """Count interactions: exercise 4."""
    count(action)


def count(what: str) -> None:
    """Add one to the count of *what*."""
    with database() as db:
        db.execute(
            "INSERT INTO views VALUES (?, 1) "
            "ON CONFLICT (what) DO UPDATE SET count = count + 1",
            (what,),
        )
    observe("counted", what)


def save_activity(sender: Flask, response: Response, **extra: Any) -> None:
    """Save the activity log to a database: exercise 5."""
    user = session.get("user_id", "anonymous")
    row = (user, request.method, request.path, response.status_code)
    with database() as db:
        db.execute("INSERT INTO activity VALUES (?, ?, ?, ?)", row)
    observe("saved", request.path)


connect_twice(template_rendered, log_template, sender=app)
connect_twice(profile_changed, touch_profile)
connect_twice(data_modified, write_audit, context=("session",))
connect_twice(request_finished, count_view, context=("request",))
connect_twice(user_action, count_action)
connect_twice(request_finished, save_activity, context=CONTEXT)
