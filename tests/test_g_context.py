"""Flask's g, as a handler in a worker finds it."""

# the proxies are for the worker to look into

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, appcontext_pushed, g
from flask.ctx import _AppCtxGlobals

from signal_tasks import EncodeError, NotSentError, RestoredContextWarning
from tests.in_worker import Asked, seen_in_worker

Look = Callable[[], Any]

SECRET = "4111-1111-1111-1111"


class Connection:
    """Something that no message carries."""


def ask_g(app: Flask, look: Look, context: Asked = ("g",)) -> Any:
    """Return what *look* sees in a worker of a ``g`` with a user and a connection."""
    with app.app_context():
        g.user, g.db, g._token = "Ada", Connection(), SECRET
        return seen_in_worker(app, look, context)


@pytest.mark.parametrize(
    "look",
    [
        lambda: g.user,
        lambda: g.get("user"),
        lambda: getattr(g, "user", None),
        lambda: g.pop("user"),
        lambda: g.setdefault("user", "Bob"),
        lambda: next(vars(g)[name] for name in g),
    ],
    ids=["attribute", "get", "getattr", "pop", "setdefault", "iter"],
)
def test_g_is_read_as_usual(app: Flask, look: Look) -> None:
    """Every way to read g gives what it held."""
    assert ask_g(app, look) == "Ada"


def test_g_knows_what_it_has(app: Flask) -> None:
    """Names that were never set are absent, and iterating gives what travelled."""
    assert ask_g(
        app,
        lambda: (
            *("user" in g, "none" in g, hasattr(g, "none"), g.get("none", 1)),
            *(list(g), g.pop("none", 2), hasattr(g, "_none")),
        ),
    ) == (True, False, False, 1, ["user"], 2, False)


@pytest.mark.parametrize(
    "look",
    [
        lambda: g.db,
        lambda: g.get("db"),
        lambda: g.get("db", 1),
        lambda: getattr(g, "db", None),
        lambda: hasattr(g, "db"),
    ],
    ids=["attribute", "get", "default", "getattr", "hasattr"],
)
def test_what_g_leaves_out_is_not_simply_absent(app: Flask, look: Look) -> None:
    """Asking g for what could not travel is an error that says so."""
    with pytest.raises(NotSentError, match="g had 'db'"):
        ask_g(app, look)


def test_g_is_filled_anew_as_flask_documents_it(app: Flask) -> None:
    """What cannot travel is made anew in the worker, and closed when that is done."""
    closed: list[object] = []

    def get_db() -> object:
        if "db" not in g:
            g.db = Connection()
        return g.db

    @app.teardown_appcontext
    def close_db(_: object) -> None:
        closed.append(g.pop("db", None))

    with pytest.warns(RestoredContextWarning, match=r"g\.db"):
        made = ask_g(app, lambda: (get_db(), get_db(), g.get("db")))

    in_worker, *_, here = closed
    assert made == (in_worker, in_worker, in_worker)
    assert in_worker is not here


def test_named_keys_of_g_travel_alone(app: Flask) -> None:
    """A receiver that names keys gets these, with an underscore too."""
    context = {"g": ("_token", "user")}

    assert ask_g(app, lambda: (g._token, g.user), context) == (SECRET, "Ada")
    with pytest.raises(EncodeError, match=r"context\['g'\]\['sent'\]\['db'\]"):
        ask_g(app, lambda: None, {"g": ("db",)})  # pragma: no branch


def test_names_with_an_underscore_are_the_extensions_own(app: Flask) -> None:
    """What extensions keep in g stays behind, and they do not find it missing."""
    assert ask_g(app, lambda: (g.get("_token"), getattr(g, "_token", 1))) == (None, 1)


def set_attribute() -> int:
    """Write to g, and return the line."""
    line = set_attribute.__code__.co_firstlineno + 3
    g.user = "Bob"
    return line


def set_default() -> int:
    """Write to g by another way, and return the line."""
    line = set_default.__code__.co_firstlineno + 3
    g.setdefault("seen", "now")
    return line


@pytest.mark.parametrize("write", [set_attribute, set_default])
def test_writing_to_g_warns(app: Flask, write: Callable[[], int]) -> None:
    """The warning names what was set and points at the line that did it."""
    with pytest.warns(RestoredContextWarning, match="signal.connect") as caught:
        line = ask_g(app, write)

    [warning] = caught
    assert (warning.filename, warning.lineno) == (__file__, line)


def test_written_g_is_read_again(app: Flask) -> None:
    """A handler that writes to g all the same finds what it wrote."""

    def write() -> object:
        g.user = "Bob"
        del g.user
        g.user = g._own = "Carl"
        return g.user, g.get("_own")

    with pytest.warns(RestoredContextWarning):
        assert ask_g(app, write) == ("Carl", "Carl")


def test_g_that_was_not_asked_for_is_free(app: Flask) -> None:
    """Without the context, g is the worker's own, to read and to write."""

    def write() -> object:
        before = g.get("user")
        g.user = "Bob"
        return before, g.user

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ask_g(app, write, ()) == (None, "Bob")


def test_g_keeps_what_the_worker_put_there(app: Flask) -> None:
    """What the app's class and its receivers put into a new g is not thrown away."""

    class Globals(_AppCtxGlobals):
        def __init__(self) -> None:
            self.trace = []

        def note(self) -> int:
            self.trace.append("noted")
            return len(self.trace)

    def fill(_: object) -> None:
        g._pool = "open"

    app.app_ctx_globals_class = Globals
    with appcontext_pushed.connected_to(fill, app):
        seen = ask_g(app, lambda: (g.note(), g._pool, g.user, isinstance(g, Globals)))

    assert seen == (1, "open", "Ada", True)


def test_what_a_handler_made_anew_is_handed_on(app: Flask) -> None:
    """What a handler puts into g takes the place of what was left out."""

    def fill_and_send() -> object:
        g.db = "shop.db"
        return seen_in_worker(app, lambda: g.db, ("g",))

    with pytest.warns(RestoredContextWarning):
        assert ask_g(app, fill_and_send) == "shop.db"
