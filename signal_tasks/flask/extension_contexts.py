"""Contexts of other Flask extensions: Flask-Login's user, Flask-Babel's locale.

They are there to ask for in every app; only an app that has the extension can capture
them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from flask import current_app, g, has_app_context, has_request_context, session

from ..contexts import Context, as_a_whole
from ..exceptions import ConfigurationError
from .session_context import session_with

#: Where Flask-Login keeps in the session who is logged in, and how.
_LOGIN_KEYS = ("_user_id", "_fresh", "_id", "_remember")


def extension_contexts() -> tuple[Context, Context]:
    """Return the contexts of the extensions that we know: user and locale."""
    return (
        Context(
            name="user",
            capture=as_a_whole(_capture_user),
            restore=_restore_user,
            needs=("request",),
        ),
        Context(
            name="locale",
            capture=as_a_whole(_capture_locale),
            restore=_restore_locale,
        ),
    )


def _capture_user() -> dict[str, object] | None:
    """Return what Flask-Login finds the user by: a reference, loaded where it is read."""
    if not has_request_context():
        return None
    current_user = _extension("flask_login", "login_manager").current_user
    if current_user.is_authenticated and "_user_id" not in session:
        raise ConfigurationError(
            "the user was not logged in by the session (but by a request loader, say), "
            "so a worker cannot load them again. Pick what you need with extract=."
        )
    return {key: session[key] for key in _LOGIN_KEYS if key in session}


@contextmanager
def _restore_user(captured: Mapping[str, Any] | None) -> Generator[None]:
    if captured is None:
        yield
        return
    with session_with(captured, _LOGIN_KEYS):
        yield


def _capture_locale() -> dict[str, str] | None:
    if not has_app_context():
        return None
    babel = _extension("flask_babel", "babel")
    timezone = str(babel.get_timezone())
    _zone(timezone)  # One without a name, such as an offset, raises here.
    return {"locale": str(babel.get_locale()), "timezone": timezone}


@contextmanager
def _restore_locale(captured: Mapping[str, str] | None) -> Generator[None]:
    if captured is None:
        yield
        return
    babel = _extension("flask_babel", "babel")
    with babel.force_locale(captured["locale"]):
        # Flask-Babel can force a locale but no time zone, so this writes where it keeps
        # the one that it has found; a test notices when that moves.
        babel.get_timezone()
        g._flask_babel.babel_tzinfo = _zone(captured["timezone"])  # noqa: SLF001
        yield


def _zone(name: str) -> object:
    """Return one of the time zones that Flask-Babel itself works with."""
    pytz: Any = import_module("pytz")
    return pytz.timezone(name)


def _extension(module: str, attribute: str) -> Any:
    """Import an extension that the app has; it is nobody's dependency but the app's."""
    if attribute in current_app.extensions or hasattr(current_app, attribute):
        return import_module(module)
    raise ConfigurationError(
        f"the app has no {module}. Set it up, or do not ask for its context."
    )
