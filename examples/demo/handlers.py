"""The handlers: all that need not be done before the visitor has an answer.

Each is a plain function under ``@async_receiver(signal)``. When the signal is sent, the
decorator's own receiver publishes a message and returns; a worker calls the function,
inside the app's context. Called by hand, as a test does, it is just the function.

A message may come twice, after a crash for instance. Handlers that set something may
run again without harm; those that add a line then add a second one.

``@recorded`` is the demo's own: it notes each run, for the live page to show.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage

from flask import (
    Flask,
    current_app,
    g,
    got_request_exception,
    request_finished,
    request_started,
    template_rendered,
)
from sqlalchemy.dialects.sqlite import insert

from signal_tasks import async_receiver, current_event

from . import cache, picks
from .models import Activity, Change, Count, TemplateRender, User, db
from .runs import recorded
from .signals import data_changed, profile_changed, user_action, user_registered
from .storage import outbox


@request_started.connect
def start_clock(_sender: Flask, **_extra: object) -> None:
    """Note when the request began.

    Not every receiver is better off in a worker: this one is quick, and what it writes
    has to be there within the request. So it stays a plain one.
    """
    g.started = time.perf_counter()


# The welcome e-mail


@async_receiver(user_registered, extract=picks.recipient, delivery="outbox")
@recorded
def send_welcome_email(
    _sender: Flask, *, user_id: int, name: str, email: str, **_extra: object
) -> None:
    """Write the new user a letter, into the local outbox instead of to a server."""
    time.sleep(current_app.config["DEMO_SMTP_SECONDS"])  # as slow as an SMTP server
    local_part, _, domain = email.rpartition("@")
    letter = EmailMessage()
    letter["From"] = Address("The demo", "demo", "example.org")
    letter["To"] = Address(name, local_part, domain)
    letter["Subject"] = f"Welcome, {name}"
    letter.set_content(f"Dear {name},\n\nit is good to have you here.\n")
    (outbox() / f"welcome-{user_id}.eml").write_bytes(bytes(letter))


# The activity log, in the database


@async_receiver(request_finished, extract=picks.visit, condition=picks.is_page)
@recorded
def log_request(
    _sender: Flask,
    *,
    user_id: int | None,
    method: str,
    path: str,
    status: int,
    milliseconds: float,
    **_extra: object,
) -> None:
    """Log who asked for what, and how it went."""
    _log(user_id, f"{method} {path}", f"{status} in {milliseconds} ms")


@async_receiver(user_action)
@recorded
def log_action(
    _sender: Flask, *, action: str, user_id: int | None, **_extra: object
) -> None:
    """Log what a visitor did."""
    _log(user_id, action, "")


@async_receiver(got_request_exception, extract=picks.failure)
@recorded
def log_failure(
    _sender: Flask, *, user_id: int | None, path: str, error: str, **_extra: object
) -> None:
    """Log which page failed, and with what."""
    _log(user_id, f"failed {path}", error)


def _log(user_id: int | None, what: str, detail: str) -> None:
    db.session.add(
        Activity(at=_happened_at(), user_id=user_id, what=what, detail=detail)
    )
    db.session.commit()


# Exercise 1: every template, and what it was given


@recorded
def audit_template(
    _sender: Flask, *, template: str, context: dict[str, str], **_extra: object
) -> None:
    """Record a template and the kinds of values in its context."""
    db.session.add(
        TemplateRender(at=_happened_at(), template=template, context=context)
    )
    db.session.commit()


# The direct form, for a function that comes from elsewhere.
async_receiver(template_rendered, extract=picks.rendering)(audit_template)


# Exercise 2: when a profile was last changed


@async_receiver(profile_changed)
@recorded
def touch_profile(_sender: Flask, *, user_id: int, **_extra: object) -> None:
    """Set the profile's last-modified time to when it was saved."""
    user = db.session.get_one(User, user_id)
    user.modified_at = _happened_at()
    db.session.commit()


# Exercise 3: every change of data


@async_receiver(data_changed)
@recorded
def audit_change(
    table: str,
    *,
    row_id: int,
    actor_id: int | None,
    columns: Mapping[str, tuple[object, object]],
    **_extra: object,
) -> None:
    """Record who changed which columns, from what to what."""
    db.session.add_all(
        Change(
            at=_happened_at(),
            actor_id=actor_id,
            table=table,
            row_id=row_id,
            column=column,
            old=str(old),
            new=str(new),
        )
        for column, (old, new) in columns.items()
    )
    db.session.commit()


# Exercise 4: analytics. Two signals, each with its own way to pick what is counted.


@async_receiver(request_finished, extract=picks.page, condition=picks.is_page)
@async_receiver(user_action, extract=picks.action)
@recorded
def count(_sender: Flask, *, kind: str, name: str, **_extra: object) -> None:
    """Count a page view, or an action, in one statement that no other can interrupt."""
    first = insert(Count).values(kind=kind, name=name, total=1)
    again = {"total": Count.total + 1}
    db.session.execute(
        first.on_conflict_do_update(index_elements=["kind", "name"], set_=again)
    )
    db.session.commit()


# Cache invalidation, bound to one sender: only changes of the user table matter.


@async_receiver(data_changed, sender=User.__tablename__)
@recorded
def forget_members(_table: str, **_extra: object) -> None:
    """Drop the cached list of members."""
    cache.forget("members")


def _happened_at() -> datetime:
    """Return when the signal was sent, which a handler may see some time later."""
    return current_event.sent_at if current_event else datetime.now(UTC)
