"""The pages. They do what the visitor waits for, and say what happened by signals."""

from __future__ import annotations

from typing import Final, TypeVar

from flask import (
    Blueprint,
    Response,
    flash,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from sqlalchemy import select
from werkzeug.exceptions import HTTPException

from . import accounts, cache, csrf, forms
from .accounts import Answer, login_required
from .models import Activity, Change, Count, Record, TemplateRender, User, db
from .signals import profile_changed, this_app, user_action
from .storage import outbox

_SHOWN: Final = 15

RecordT = TypeVar("RecordT", bound=Record)

pages = Blueprint("pages", __name__)
pages.before_app_request(csrf.check)
pages.before_app_request(accounts.load_user)


class DeliberateError(Exception):
    """What the error page raises, to show that the handlers hear of it."""


@pages.get("/")
def home() -> Answer:
    """Welcome the visitor, with the latest members."""
    return render_template("home.html", members=cache.get("members", latest_members))


@pages.get("/register")
def register_form() -> Answer:
    """Show the form of registration."""
    return render_template("register.html")


@pages.post("/register")
def register() -> Answer:
    """Register a user, and log them in."""
    try:
        user = User(name=forms.name(), email=forms.email())
        user.set_password(forms.new_password())
        accounts.register(user)
    except forms.FormError as error:
        flash(str(error))
        return redirect(url_for("pages.register_form"))
    accounts.log_in(user)
    user_action.send(this_app(), action="register", user_id=user.id)
    return redirect(url_for("pages.profile"))


@pages.get("/login")
def login_form() -> Answer:
    """Show the form of login."""
    return render_template("login.html")


@pages.post("/login")
def login() -> Answer:
    """Log a user in."""
    email = request.form["email"].strip().lower()
    user = db.session.scalar(select(User).where(User.email == email))
    if user is None or not user.has_password(request.form["password"]):
        user_action.send(this_app(), action="login failed", user_id=None)
        flash("No user has this address and this password.")
        return redirect(url_for("pages.login_form"))
    accounts.log_in(user)
    user_action.send(this_app(), action="login", user_id=user.id)
    return redirect(url_for("pages.profile"))


@pages.post("/logout")
def logout() -> Answer:
    """Log the user out."""
    user_action.send(this_app(), action="logout", user_id=session.get("user_id"))
    session.clear()
    return redirect(url_for("pages.home"))


@pages.get("/profile")
@login_required
def profile() -> Answer:
    """Show the user's own profile."""
    user_action.send(this_app(), action="view profile", user_id=g.user.id)
    return render_template("profile.html")


@pages.get("/profile/edit")
@login_required
def edit_form() -> Answer:
    """Show the form of the profile."""
    return render_template("edit.html")


@pages.post("/profile/edit")
@login_required
def edit() -> Answer:
    """Save the profile."""
    try:
        g.user.name = forms.name()
    except forms.FormError as error:
        flash(str(error))
        return redirect(url_for("pages.edit_form"))
    g.user.about = request.form["about"].strip()
    db.session.commit()
    profile_changed.send(this_app(), user_id=g.user.id)
    user_action.send(this_app(), action="edit profile", user_id=g.user.id)
    return redirect(url_for("pages.profile"))


@pages.get("/records")
def records() -> Answer:
    """Show what the handlers wrote."""
    counts = select(Count).order_by(Count.kind, Count.total.desc())
    return render_template(
        "records.html",
        activities=latest(Activity),
        changes=latest(Change),
        renders=latest(TemplateRender),
        counts=db.session.scalars(counts).all(),
        letters=latest_letters(),
    )


@pages.get("/error")
def fail() -> Answer:
    """Fail, always."""
    raise DeliberateError


@pages.app_errorhandler(HTTPException)
def show_error(error: HTTPException) -> tuple[str, int]:
    """Show what went wrong on a page that looks like the others."""
    return render_template("error.html", error=error), error.code or 500


@pages.app_context_processor
def for_all_templates() -> dict[str, object]:
    """Give every template the user, and the token that its forms carry."""
    return {"user": g.get("user"), "csrf_token": csrf.token()}


@pages.after_app_request
def harden(response: Response) -> Response:
    """Let browsers load only what comes from here."""
    response.headers["Content-Security-Policy"] = "default-src 'self'"
    return response


def latest_members() -> list[str]:
    """Return the names of the latest members."""
    names = select(User.name).order_by(User.id.desc()).limit(8)
    return list(db.session.scalars(names))


def latest_letters() -> list[str]:
    """Return the names of the latest letters, the newest first."""
    letters = outbox().glob("*.eml")
    newest_first = sorted(letters, key=lambda path: path.stat().st_mtime, reverse=True)
    return [letter.name for letter in newest_first[:_SHOWN]]


def latest(records: type[RecordT]) -> list[RecordT]:
    """Return the latest of *records*, the newest first."""
    newest_first = select(records).order_by(records.id.desc())
    return list(db.session.scalars(newest_first.limit(_SHOWN)))
