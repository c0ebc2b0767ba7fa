"""Flask-Login's user and Flask-Babel's locale, as a handler in a worker finds them."""

# ruff: noqa: PLW0108  # the proxies are for the worker to look into

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, g, render_template_string, session
from flask_babel import Babel, format_datetime, get_locale, get_timezone
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    fresh_login_required,
    login_fresh,
    login_user,
)
from pytz import FixedOffset

from signal_tasks import Bridge, EncodeError, NotSentError
from tests.in_memory import new_app
from tests.in_worker import Asked, seen_in_worker

Look = Callable[[], Any]


class User(UserMixin):
    """Somebody who can log in."""

    def __init__(self, id: str) -> None:  # noqa: A002  # Flask-Login's name for it
        self.id = id


def ask(
    app: Flask,
    look: Look,
    context: Asked = ("user",),
    *,
    before: Look = dict,
    cookie: str = "theme=dark",
) -> Any:
    """Return what *look* sees in a worker of a request in which *before* was called."""
    with app.test_request_context("/", headers={"Cookie": cookie}):
        before()
        return seen_in_worker(app, look, context)


def log_in(**options: Any) -> None:
    """Log Ada in."""
    login_user(User("ada"), **options)


@pytest.fixture
def users() -> dict[str, User]:
    """Return the users that there are."""
    return {"ada": User("ada")}


@pytest.fixture
def app(app: Flask, users: dict[str, User]) -> Flask:
    """Return an app that people log in to."""
    LoginManager(app).user_loader(users.get)
    return app


@pytest.fixture
def babel_app(flask_bridge: Bridge, app: Flask) -> Flask:
    """Return an app that speaks the language and lives in the zone that g names."""
    Babel(
        app,
        locale_selector=lambda: g.get("locale"),
        timezone_selector=lambda: g.get("timezone"),
    )
    return app


def test_user_is_the_one_who_was_logged_in(app: Flask, users: dict[str, User]) -> None:
    """The worker loads the user by the loader of the app."""
    found = ask(app, lambda: current_user._get_current_object(), before=log_in)

    assert found is users["ada"]


def test_user_comes_beside_the_session(app: Flask) -> None:
    """With a part of the session asked for, there are both."""

    def fill() -> None:
        log_in()
        session.update(basket=["book"], theme="dark")

    look = lambda: (current_user.get_id(), session["basket"])  # noqa: E731
    context = {"session": ("basket",), "user": True}

    assert ask(app, look, context, before=fill) == ("ada", ["book"])
    with pytest.raises(NotSentError, match="session had 'theme'"):
        ask(app, lambda: session["theme"], context, before=fill)


def test_session_brings_the_user_too(app: Flask) -> None:
    """The session as a whole holds what Flask-Login finds the user by."""
    assert ask(app, lambda: current_user.id, ("session",), before=log_in) == "ada"


def test_user_does_not_bring_the_session(app: Flask) -> None:
    """Asked for alone, the user is all that is known of the session."""

    def fill() -> None:
        log_in()
        session["basket"] = ["book"]

    with pytest.raises(NotSentError, match="session did not travel"):
        ask(app, lambda: session["basket"], before=fill)


@pytest.mark.parametrize("is_fresh", [True, False])
def test_login_is_as_fresh_as_it_was(app: Flask, is_fresh: bool) -> None:
    """Whether the user logged in just now is known in the worker."""
    fresh = fresh_login_required(lambda: True)

    assert ask(app, lambda: login_fresh(), before=lambda: log_in(fresh=is_fresh)) == (
        is_fresh
    )
    assert ask(app, lambda: fresh(), before=log_in) is True


@pytest.mark.parametrize("fill", [dict, lambda: session.update(basket=[])])
@pytest.mark.parametrize("context", [("user",), ("session", "user"), ("user", "g")])
def test_anonymous_visitor_is_anonymous(
    app: Flask, fill: Look, context: tuple[str, ...]
) -> None:
    """Nobody who logged in is nobody in the worker, whatever cookies there are."""
    assert ask(app, lambda: current_user.is_anonymous, context, before=fill) is True


def test_user_who_is_gone_is_anonymous(app: Flask, users: dict[str, User]) -> None:
    """A user whom the loader does not find any more is nobody, as in a request."""

    def look() -> object:
        users.clear()
        return current_user.is_authenticated

    assert ask(app, look, before=log_in) is False


def test_user_who_was_not_asked_for_is_not_anonymous(app: Flask) -> None:
    """Without the context, asking who it was is an error that names the mend."""
    with pytest.raises(NotSentError, match="or 'user' for Flask-Login"):
        ask(app, lambda: current_user.is_authenticated, ("request",), before=log_in)


def test_template_with_a_user_is_rendered(app: Flask) -> None:
    """Flask-Login gives the user to templates in the worker too."""
    look = lambda: render_template_string("Dear {{ current_user.id }}")  # noqa: E731

    assert ask(app, look, before=log_in) == "Dear ada"


def test_user_is_handed_on(app: Flask) -> None:
    """A signal that a handler sends brings the user to the next handler."""
    look = lambda: seen_in_worker(app, lambda: current_user.id, ("user",))  # noqa: E731

    assert ask(app, look, before=log_in) == "ada"


def test_user_of_a_request_alone_cannot_be_loaded_again(app: Flask) -> None:
    """A user found by a header, say, is an error that says what to do instead."""
    app.login_manager.request_loader(lambda _: User("token"))

    with pytest.raises(EncodeError, match="request loader") as caught:
        ask(app, dict)

    assert caught.value.path == "context['user']"


def test_without_a_request_there_is_no_user(app: Flask) -> None:
    """Outside a request the handler runs, and nobody is there, as in a script."""
    assert seen_in_worker(app, lambda: bool(current_user), ("user",)) is False


@pytest.mark.parametrize(("name", "module"), [("user", "login"), ("locale", "babel")])
def test_extension_has_to_be_there(
    flask_bridge: Bridge, name: str, module: str
) -> None:
    """An app without the extension hears so where the signal is sent."""
    with pytest.raises(EncodeError, match=f"has no flask_{module}. Set it up"):
        ask(new_app(flask_bridge), dict, (name,))


def speak(locale: str, timezone: Any) -> Look:
    """Return what makes the request's locale and time zone these."""
    return lambda: g.__dict__.update(locale=locale, timezone=timezone)


@pytest.mark.parametrize(
    ("locale", "timezone", "text"),
    [
        ("de_AT", "Europe/Vienna", "02.01.2026, 13:00:00"),
        ("en_US", "America/New_York", "Jan 2, 2026, 7:00:00\u202fAM"),
        ("zh_Hans_CN", "UTC", "2026年1月2日 12:00:00"),
    ],
)
def test_locale_and_time_zone_are_as_they_were(
    babel_app: Flask, locale: str, timezone: str, text: str
) -> None:
    """The worker writes dates and numbers as the request did."""
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    look = lambda: (  # noqa: E731
        *(str(get_locale()), str(get_timezone())),
        format_datetime(noon),
    )

    seen = ask(babel_app, look, ("locale",), before=speak(locale, timezone))

    assert seen == (locale, timezone, text)


def test_time_zone_without_a_name_is_an_error(babel_app: Flask) -> None:
    """A mere offset is refused where the signal is sent."""
    with pytest.raises(EncodeError, match="raised UnknownTimeZoneError"):
        ask(babel_app, dict, ("locale",), before=speak("de", FixedOffset(90)))


def test_locale_comes_beside_g(babel_app: Flask) -> None:
    """Restoring g does not take the locale away, in whichever order they are named."""
    look = lambda: (g.locale, str(get_locale()))  # noqa: E731
    speak_german = speak("de", "UTC")

    seen = [
        ask(babel_app, look, context, before=speak_german)
        for context in (("g", "locale"), ("locale", "g"))
    ]

    assert seen == [("de", "de"), ("de", "de")]


def test_locale_is_known_outside_a_request(babel_app: Flask) -> None:
    """An app context is enough: a command may send signals in some language."""
    with babel_app.app_context():
        speak("fr", "Europe/Paris")()

        seen = seen_in_worker(babel_app, lambda: str(get_locale()), ("locale",))

    assert seen == "fr"


def test_without_an_app_context_there_is_no_locale(babel_app: Flask) -> None:
    """Outside any context the handler runs, with the app's own locale."""
    assert seen_in_worker(babel_app, lambda: str(get_locale()), ("locale",)) == "en"


def test_locale_that_was_not_asked_for_is_the_apps_own(babel_app: Flask) -> None:
    """Without the context the app's selectors decide, which know no request."""
    look = lambda: str(get_locale())  # noqa: E731

    assert ask(babel_app, look, (), before=speak("fr", "UTC")) == "en"
