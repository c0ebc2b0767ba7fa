"""Users come, log in, and are known from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec

from flask import flash, g, redirect, session, url_for
from sqlalchemy.exc import IntegrityError
from werkzeug import Response

from .forms import FormError
from .models import User, db
from .signals import this_app, user_registered

P = ParamSpec("P")
Answer = str | Response


def store(user: User) -> None:
    """Store a new user.

    Raises:
        FormError: The address is taken.
    """
    with _unless_taken():
        db.session.add(user)
        db.session.commit()


def register(user: User) -> None:
    """Store a new user, and say so in the same transaction.

    The welcome letter's event is a row of it, so there is a letter if, and only if,
    there is a user.

    Raises:
        FormError: The address is taken.
    """
    with _unless_taken():
        db.session.add(user)
        db.session.flush()
        user_registered.send(this_app(), user=user)
        db.session.commit()


@contextmanager
def _unless_taken() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        db.session.rollback()
        raise FormError("Somebody has registered with this address.") from None


def log_in(user: User) -> None:
    """Start a new session, so that nothing of an earlier one is carried over."""
    session.clear()
    session["user_id"] = user.id


def load_user() -> None:
    """Look up who is logged in; runs before every request."""
    user_id = session.get("user_id")
    g.user = None if user_id is None else db.session.get(User, user_id)


def login_required(view: Callable[P, Answer]) -> Callable[P, Answer]:
    """Send visitors who are not logged in to the login page."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Answer:
        if g.user is None:
            flash("Please log in first.")
            return redirect(url_for("pages.login_form"))
        return view(*args, **kwargs)

    return guarded
