"""Flask's session, as a handler in a worker finds it."""

# ruff: noqa: PLW0108  # the proxies are for the worker to look into

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, flash, get_flashed_messages, session
from flask.sessions import SessionInterface, SessionMixin

from signal_tasks import EncodeError, NotSentError, ReadOnlySessionError
from tests.in_worker import Asked, seen_in_worker

Look = Callable[[], Any]


class Connection:
    """Something that no message carries."""


class PlainSession(SessionMixin):
    """A session that is no dict, as those kept on a server may be."""

    def __init__(self) -> None:
        self._items: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._items[key] = value

    def __delitem__(self, key: str) -> None:
        del self._items[key]  # pragma: no cover  # a mapping has to have it

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)  # pragma: no cover  # this too


class PlainSessions(SessionInterface):
    """Opens sessions that are no dicts."""

    def open_session(self, *_: object) -> PlainSession:
        """Open a new one."""
        return PlainSession()


def ask_session(app: Flask, look: Look, context: Asked = ("session",)) -> Any:
    """Return what *look* sees in a worker of a session with a name and a basket."""
    with app.test_request_context("/"):
        session.update(user_id=7, tags={"new"}, basket=["book"])
        return seen_in_worker(app, look, context)


@pytest.mark.parametrize(
    "look",
    [
        lambda: session["user_id"],
        lambda: session.get("user_id"),
        lambda: next(session[key] for key in session),
        lambda: dict(session)["user_id"],
        lambda: next(iter(session.values())),
        lambda: {**session}["user_id"],
        lambda: session.copy()["user_id"],
    ],
    ids=["item", "get", "iter", "dict", "values", "unpacked", "copy"],
)
def test_session_is_read_as_a_dict(app: Flask, look: Look) -> None:
    """Every way to read the session gives what it held."""
    assert ask_session(app, look) == 7


def test_session_keeps_types(app: Flask) -> None:
    """What stands in the session comes back as it was, and what does not, does not."""
    assert ask_session(
        app,
        lambda: (
            *(session["tags"], len(session), "user_id" in session, "none" in session),
            *(session.get("none", 1), session.permanent, session.new, session.modified),
        ),
    ) == ({"new"}, 3, True, False, 1, False, False, False)


@pytest.mark.parametrize(
    "write",
    [
        lambda: session.update(user_id=8),
        lambda: session.__setitem__("user_id", 8),
        lambda: session.__delitem__("user_id"),
        lambda: session.__ior__({"user_id": 8}),
        lambda: session.pop("user_id"),
        lambda: session.pop("user_id", None),
        lambda: session.popitem(),
        lambda: session.clear(),
        lambda: session.setdefault("user_id", 8),
        lambda: setattr(session, "permanent", True),
        lambda: setattr(session, "modified", True),
        lambda: flash("hello"),
    ],
    ids=[
        *("update", "set", "delete", "or", "pop", "pop default", "popitem", "clear"),
        *("setdefault", "permanent", "modified", "flash"),
    ],
)
@pytest.mark.parametrize("context", ["session", "request"])
def test_session_is_not_written(app: Flask, write: Look, context: str) -> None:
    """Every way to write to the session is an error that says where to write."""
    with pytest.raises(ReadOnlySessionError, match="Write it in the request"):
        ask_session(app, write, (context,))


def test_session_may_be_of_any_class(app: Flask) -> None:
    """Sessions that are kept on a server, and are no dicts, travel too."""
    app.session_interface = PlainSessions()

    seen = ask_session(app, lambda: dict(session))

    assert seen == {"user_id": 7, "tags": {"new"}, "basket": ["book"]}


def test_session_of_an_app_without_a_key_is_empty(app: Flask) -> None:
    """The null session that Flask gives to an app without a key travels as it is."""
    app.secret_key = None

    with app.test_request_context():
        assert seen_in_worker(app, lambda: dict(session), ("session",)) == {}


def test_named_keys_of_the_session_travel_alone(app: Flask) -> None:
    """A receiver that names keys gets these, and hears of the others by name."""
    context = {"session": ("user_id", "none")}

    assert ask_session(app, lambda: dict(session), context) == {"user_id": 7}
    assert ask_session(app, lambda: session.get("none"), context) is None
    with pytest.raises(NotSentError, match="session had 'basket'"):
        ask_session(app, lambda: session.get("basket"), context)


def test_session_leaves_out_what_does_not_travel(app: Flask) -> None:
    """Without named keys, a value that cannot travel is left out by name."""

    def send(context: Asked, look: Look) -> object:
        app.session_interface = PlainSessions()
        with app.test_request_context():
            session["db"] = Connection()
            return seen_in_worker(app, look, context)

    assert send(("session",), lambda: dict(session)) == {}
    with pytest.raises(NotSentError, match="session had 'db'"):
        send(("session",), lambda: session["db"])
    with pytest.raises(EncodeError, match=r"context\['session'\]\['sent'\]\['db'\]"):
        send({"session": ("db",)}, lambda: None)  # pragma: no branch


@pytest.mark.parametrize(
    "look",
    [
        lambda: session["user_id"],
        lambda: session.get("user_id"),
        lambda: session.get("_user_id"),
        lambda: "user_id" in session,
        lambda: list(session),
        lambda: dict(session),
        lambda: session.items(),
        lambda: session.values(),
        lambda: session.copy(),
    ],
    ids=[
        *("item", "get", "underscore", "in", "iter", "dict", "items", "values", "copy"),
    ],
)
def test_session_that_was_not_asked_for_says_so(app: Flask, look: Look) -> None:
    """A request without its session does not pretend that it was empty."""
    with pytest.raises(
        NotSentError, match=r"session did not travel.*context=\('session"
    ):
        ask_session(app, look, ("request",))


def test_flask_itself_may_look_into_a_session_that_did_not_travel(app: Flask) -> None:
    """Rendering a template, which asks for flashed messages, still works."""
    look = lambda: (get_flashed_messages(), session.permanent)  # noqa: E731

    assert ask_session(app, look, ("request",)) == ([], False)
