"""Flask's request, session and g, as a handler in a worker finds them."""

# ruff: noqa: PLW0108  # the proxies are for the worker to look into

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from operator import attrgetter
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from flask import (
    Blueprint,
    Flask,
    Request,
    appcontext_pushed,
    flash,
    g,
    get_flashed_messages,
    has_request_context,
    request,
    session,
    url_for,
)
from flask.ctx import _AppCtxGlobals
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from signal_tasks import (
    Bridge,
    ConfigurationError,
    EncodeError,
    NotSentError,
    ReadOnlySessionError,
    RestoredContextWarning,
    SignalTasks,
)
from tests.in_memory import broker_of, celery_settings, new_app
from tests.in_worker import Asked, run_worker, seen_in_worker, send_to

Look = Callable[[], Any]

SECRET = "4111-1111-1111-1111"
PAYLOAD = {"name": "Ada", "colours": ["red", "blue"]}
VISIT: dict[str, Any] = {
    "path": "/shelves/3?colour=red&colour=gr%C3%BCn&empty=",
    "method": "POST",
    "json": PAYLOAD,
    "base_url": "https://shop.example:8443/under",
    "headers": {
        "User-Agent": "Browser/1",
        "Referer": "https://a.example/",
        "Origin": "https://a.example",
        "Accept-Language": "de, en;q=0.5",
        "X-Forwarded-For": "10.0.0.1",
    },
    "environ_base": {"REMOTE_ADDR": "192.0.2.7", "REMOTE_USER": "ada"},
}


class Connection:
    """Something that no message carries."""


class Shelf:
    """What a converter makes of a part of a path."""

    def __init__(self, number: int) -> None:
        self.number = number


class ShelfConverter(BaseConverter):
    """Reads and writes shelves in paths."""

    def to_python(self, value: str) -> Shelf:
        """Find the shelf."""
        return Shelf(int(value))

    def to_url(self, value: Shelf) -> str:
        """Name the shelf."""
        return str(value.number)


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


def ask(app: Flask, look: Look, *keys: str, context: Asked = (), **request: Any) -> Any:
    """Return what *look* sees in a worker of a request that was made here."""
    request.setdefault("path", "/shelves/3")
    with app.test_request_context(**request):
        return seen_in_worker(app, look, context or {"request": keys})


def ask_session(app: Flask, look: Look, context: Asked = ("session",)) -> Any:
    """Return what *look* sees in a worker of a session with a name and a basket."""
    with app.test_request_context("/"):
        session.update(user_id=7, tags={"new"}, basket=["book"])
        return seen_in_worker(app, look, context)


def ask_g(app: Flask, look: Look, context: Asked = ("g",)) -> Any:
    """Return what *look* sees in a worker of a ``g`` with a user and a connection."""
    with app.app_context():
        g.user, g.db, g._token = "Ada", Connection(), SECRET
        return seen_in_worker(app, look, context)


@pytest.fixture
def app(app: Flask) -> Flask:
    """Return an app with some addresses."""
    shop = Blueprint("shop", __name__)
    shop.add_url_rule("/sale", endpoint="sale")
    app.register_blueprint(shop, url_prefix="/shop")
    app.url_map.converters["shelf"] = ShelfConverter
    app.add_url_rule("/shelves/<int:number>", endpoint="shelf", methods=["GET", "POST"])
    app.add_url_rule("/found/<shelf:found>", endpoint="found")
    app.add_url_rule("/bücher/<name>", endpoint="bücher")
    app.add_url_rule("/<lang>/about", endpoint="about")
    return app


@pytest.mark.parametrize(
    "name",
    [
        *(
            "path",
            "full_path",
            "url",
            "root_url",
            "script_root",
            "query_string",
            "args",
        ),
        *("method", "scheme", "is_secure", "host", "remote_addr", "remote_user"),
        *("endpoint", "blueprint", "blueprints", "url_rule.rule", "view_args"),
        *("is_json", "mimetype", "content_type", "content_length", "access_route"),
        *("user_agent.string", "referrer", "origin", "accept_languages.best"),
    ],
)
def test_request_reads_as_it_did(app: Flask, name: str) -> None:
    """What was asked, from where and for what, is the same in the worker."""
    look = lambda: attrgetter(name)(request)  # noqa: E731

    with app.test_request_context(**VISIT):
        here = look()

    assert ask(app, look, **VISIT) == here


def test_addresses_are_made_as_they_were(app: Flask) -> None:
    """url_for leads to the host and under the root that were asked."""
    seen = ask(
        app,
        lambda: (
            url_for("shelf", number=4),
            url_for("shelf", number=4, _external=True),
        ),
        **VISIT,
    )

    assert seen == (
        "/under/shelves/4",
        "https://shop.example:8443/under/shelves/4",
    )


def test_paths_may_hold_any_text(app: Flask) -> None:
    """Paths and arguments beyond ASCII come back as they were."""
    assert ask(
        app,
        lambda: (request.path, request.view_args, request.endpoint, request.args["q"]),
        path="/bücher/größe?q=ß%F0%9F%93%9A",
    ) == ("/bücher/größe", {"name": "größe"}, "bücher", "ß📚")


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"path": "/nowhere"}, NotFound),
        ({"path": "/shop/sale", "method": "DELETE"}, MethodNotAllowed),
    ],
    ids=["404", "405"],
)
def test_request_that_was_not_routed_is_not_in_the_worker(
    app: Flask, asked: dict[str, Any], error: type[Exception]
) -> None:
    """A request without a rule has none in the worker either, and knows why."""
    found = ask(
        app,
        lambda: (
            *(request.endpoint, request.url_rule, request.view_args, request.path),
            type(request.routing_exception),
        ),
        **asked,
    )

    assert found == (None, None, None, asked["path"], error)


def test_blueprint_of_the_request_is_known(app: Flask) -> None:
    """Relative endpoints lead to the blueprint that was asked."""
    assert ask(
        app, lambda: (request.blueprint, url_for(".sale")), path="/shop/sale"
    ) == ("shop", "/shop/sale")


def test_converter_makes_its_objects_again(app: Flask) -> None:
    """A view argument that cannot travel is made of the path once more."""
    found = ask(
        app,
        lambda: url_for("found", found=request.view_args["found"]),
        path="/found/12",
    )

    assert found == "/found/12"


def test_view_arguments_are_as_a_preprocessor_left_them(app: Flask) -> None:
    """What was taken out of them stays out, and what was changed stays changed."""
    with app.test_request_context("/de/about"):
        request.view_args.pop("lang")
        request.view_args["page"] = 2

        found = seen_in_worker(app, lambda: dict(request.view_args), ("request",))

    assert found == {"page": 2}


def test_view_argument_that_cannot_be_made_again_is_an_error(app: Flask) -> None:
    """What is not in the path and does not travel is left out by name."""
    with app.test_request_context("/shelves/3"):
        request.view_args["db"] = Connection()

        with pytest.raises(NotSentError, match=r"request\.view_args had 'db'"):
            seen_in_worker(app, lambda: request.view_args["db"], ("request",))


@pytest.mark.parametrize("matching", ["host", "subdomain"])
def test_host_decides_as_it_did(flask_bridge: Bridge, matching: str) -> None:
    """Rules for hosts and subdomains find the same endpoint, whatever headers travel."""
    is_by_host = matching == "host"
    app = Flask(
        "shop",
        static_folder=None,
        host_matching=is_by_host,
        subdomain_matching=not is_by_host,
    )
    app.config.from_mapping(
        TESTING=True,
        SERVER_NAME="shop.example",
        SIGNAL_TASKS_HEADERS=[],
        CELERY=celery_settings(),
    )
    where = {"host": "api.shop.example"} if is_by_host else {"subdomain": "api"}
    app.add_url_rule("/", endpoint="api", **where)
    SignalTasks(app, bridge=flask_bridge)

    found = ask(
        app,
        lambda: (request.endpoint, request.url),
        path="/",
        base_url="http://api.shop.example",
    )

    assert found == ("api", "http://api.shop.example/")


def test_proxy_is_seen_through(app: Flask) -> None:
    """What a proxy said about the client, and ProxyFix believed, is what comes back."""
    seen: list[object] = []
    look = lambda: (  # noqa: E731
        *(request.remote_addr, request.scheme, request.host, request.script_root),
        url_for("shelf", number=1, _external=True),
    )

    @app.before_request
    def send() -> str:
        seen.append(look())
        seen.append(seen_in_worker(app, look, ("request",)))
        return ""

    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_prefix=1)
    app.test_client().get(
        "/shelves/3",
        headers={
            "X-Forwarded-For": "198.51.100.4",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "shop.example",
            "X-Forwarded-Prefix": "/v2",
        },
    )

    here, there = seen
    assert here == there
    assert there == (
        *("198.51.100.4", "https", "shop.example", "/v2"),
        "https://shop.example/v2/shelves/1",
    )


def test_request_is_one_of_the_apps_class(app: Flask) -> None:
    """An app's own request class brings its properties to the worker."""

    class ShopRequest(Request):
        @property
        def shelf(self) -> int:
            return int(self.path.rpartition("/")[2])

    app.request_class = ShopRequest

    assert ask(app, lambda: (isinstance(request, ShopRequest), request.shelf)) == (
        True,
        3,
    )


@pytest.mark.parametrize(
    "look",
    [
        lambda: request.json,
        lambda: request.get_json(silent=True),
        lambda: request.get_data(),
        lambda: request.data,
        lambda: request.form,
        lambda: request.form.get("name"),
        lambda: request.values,
        lambda: request.files,
        lambda: request.stream.read(),
    ],
    ids=lambda look: "_".join(look.__code__.co_names[1:]),
)
@pytest.mark.parametrize(
    "body",
    [
        {"json": PAYLOAD},
        {
            "content_type": "application/json",
            "input_stream": BytesIO(b"{}"),
            "environ_overrides": {"HTTP_TRANSFER_ENCODING": "chunked"},
        },
    ],
    ids=["json", "chunked"],
)
def test_body_stays_behind(app: Flask, look: Look, body: dict[str, Any]) -> None:
    """Asking for the body is an error that names the ways to have it."""
    with pytest.raises(NotSentError, match=r"body of the request .* extract="):
        ask(app, look, method="POST", **body)


def test_request_without_a_body_has_an_empty_one(app: Flask) -> None:
    """Where there was no body, there is nothing to miss."""
    assert ask(
        app,
        lambda: (
            *(request.get_data(), request.stream.read(), request.is_json),
            *(dict(request.form), dict(request.files), request.get_json(silent=True)),
        ),
    ) == (b"", b"", False, {}, {}, None)


def test_form_travels_where_it_is_asked_for(app: Flask) -> None:
    """The fields of a form come back in order, each with all its values."""
    seen = ask(
        app,
        lambda: (
            *(list(request.form.items(multi=True)), request.form.getlist("colours")),
            request.values["name"],
        ),
        "form",
        method="POST",
        data=PAYLOAD,
    )

    fields = [("name", "Ada"), ("colours", "red"), ("colours", "blue")]
    assert seen == (fields, ["red", "blue"], "Ada")


def test_files_never_travel(app: Flask) -> None:
    """The files of a form that was asked for are missed by name of the body."""
    data = {"name": "Ada", "photo": (BytesIO(b"..."), "ada.png")}

    with pytest.raises(NotSentError, match="body of the request"):
        ask(app, lambda: request.files, "form", method="POST", data=data)


def test_request_is_still_read_where_it_was_made(app: Flask) -> None:
    """Sending the form takes nothing of it from the view."""
    with app.test_request_context(method="POST", data=PAYLOAD):
        seen_in_worker(app, lambda: None, {"request": ("form",)})

        assert request.form["name"] == "Ada"


HEADERS = {
    "Authorization": "Basic YWRhOnB3",
    "Cookie": "theme=dark; token=secret",
    "X-Shop": "north",
}


@pytest.mark.parametrize(
    "look",
    [
        lambda: request.headers["Authorization"],
        lambda: request.headers["AUTHORIZATION"],
        lambda: request.headers.get("authorization"),
        lambda: request.headers.get("x_shop"),
        lambda: request.headers.get("X-Shop", "south"),
        lambda: request.headers.get("X-Shop", type=int),
        lambda: request.headers.getlist("X-Shop"),
        lambda: request.headers.get_all("X-Shop"),
        lambda: "X-Shop" in request.headers,
        lambda: request.authorization,
        lambda: request.headers.get("Cookie"),
    ],
    ids=[
        *("item", "upper case", "get", "underscore", "default", "type", "getlist"),
        *("get_all", "in", "request.authorization", "cookie"),
    ],
)
def test_header_that_was_withheld_is_not_simply_absent(app: Flask, look: Look) -> None:
    """Every way to ask for one that was there is an error that says so."""
    with pytest.raises(NotSentError, match="the headers had '"):
        ask(app, look, headers=HEADERS)


def test_nothing_withheld_is_in_the_message(app: Flask) -> None:
    """Credentials and cookies do not reach the broker."""
    with app.test_request_context(headers=HEADERS):
        send_to(app, print, ("request",))

    [message] = broker_of(app).take()
    text = (
        bytes(message.body).decode()
        if isinstance(message.body, bytes)
        else message.body
    )
    assert "YWRhOnB3" not in text
    assert "dark" not in text
    assert "secret" not in text


def test_headers_that_travelled_are_there(app: Flask) -> None:
    """The rest of the headers reads as usual, and what never was there is absent."""
    assert ask(
        app,
        lambda: (
            *(request.headers["User-Agent"], "Accept" in request.headers),
            *(request.headers.get("X-None"), dict(request.headers)),
        ),
        headers={**HEADERS, "User-Agent": "Browser/1"},
    ) == (
        *("Browser/1", False, None),
        {"Host": "localhost", "User-Agent": "Browser/1"},
    )


@pytest.mark.parametrize("how", ["named", "configured"])
def test_headers_travel_where_they_are_named(app: Flask, how: str) -> None:
    """A receiver names headers for itself, the configuration for all."""
    names = ("authorization", "Cookie", "X-Shop")
    if how == "configured":
        app.config["SIGNAL_TASKS_HEADERS"] = names

    seen = ask(
        app,
        lambda: (
            *(request.authorization.username, request.cookies["theme"]),
            *(request.cookies.get("none"), request.headers["X-Shop"]),
        ),
        *(names if how == "named" else ()),
        headers=HEADERS,
    )

    assert seen == ("ada", "dark", None, "north")


def test_headers_are_a_list_of_names(flask_bridge: Bridge) -> None:
    """A configuration that is one text ends the start of the app."""
    with pytest.raises(ConfigurationError, match="SIGNAL_TASKS_HEADERS"):
        new_app(flask_bridge, SIGNAL_TASKS_HEADERS="X-Shop")


@pytest.mark.parametrize(
    "look",
    [
        lambda: request.cookies["theme"],
        lambda: request.cookies.get("theme"),
        lambda: request.cookies.getlist("theme"),
        lambda: "theme" in request.cookies,
    ],
    ids=["item", "get", "getlist", "in"],
)
def test_cookie_that_was_withheld_is_not_simply_absent(app: Flask, look: Look) -> None:
    """Asking for a cookie that was there is an error that says so."""
    with pytest.raises(NotSentError, match="the cookies had 'theme'"):
        ask(app, look, headers=HEADERS)


def test_cookie_that_was_not_there_is_absent(app: Flask) -> None:
    """Which cookies there were is known, so that the others are missing as usual."""
    look = lambda: ("none" in request.cookies, request.cookies.get("none"))  # noqa: E731

    assert ask(app, look, headers=HEADERS) == (False, None)


def test_request_is_restored_around_the_handler_alone(app: Flask) -> None:
    """The request ends after the handler, before the app's context does."""
    seen: list[object] = []
    app.teardown_request(lambda _: seen.append("request ended"))
    app.teardown_appcontext(lambda _: seen.append(has_request_context()))
    with app.test_request_context("/shelves/3"):
        send_to(app, lambda _: seen.append(has_request_context()), ("request",))
    seen.clear()

    run_worker(app)

    assert seen[:3] == [True, "request ended", False]


def test_teardown_that_fails_does_not_run_the_handler_again(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """What a teardown function misses in the worker is logged; the handler is done."""

    @app.teardown_request
    def note_time(_: object) -> None:
        if "started" not in g:
            raise ZeroDivisionError

    with app.test_request_context("/"):
        g.started = True
        send_to(app, lambda _: request.path, ("request",))

    assert run_worker(app) == ["/"]
    [record] = [one for one in caplog.records if one.exc_info]
    assert "a teardown function of the app failed" in record.message
    assert record.exc_info[0] is ZeroDivisionError


def test_teardown_hears_how_the_handler_ended(app: Flask) -> None:
    """The app's teardown functions get the handler's error, which goes on."""
    heard: list[object] = []
    app.teardown_request(heard.append)

    def fail(_: object) -> None:
        raise error

    error = ZeroDivisionError()
    with app.test_request_context("/"):
        send_to(app, fail, ("request",))
    heard.clear()

    [outcome] = run_worker(app)

    assert heard == [error]
    assert isinstance(outcome, ExceptionInfo)


@pytest.mark.parametrize("name", ["request", "session", "g"])
def test_handler_runs_without_a_context_that_was_not_there(
    app: Flask, name: str
) -> None:
    """A signal that is sent outside any request or app context has none to restore."""
    assert seen_in_worker(app, has_request_context, (name,)) is False


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


def resend(app: Flask, context: Asked, again: Asked, look: Look) -> Any:
    """Return what *look* sees in the handler of a signal that a handler sent."""
    with app.test_request_context("/shelves/3?q=1", headers=HEADERS, json=PAYLOAD):
        session.update(user_id=7, basket=["book"])
        g.user, g.db = "Ada", Connection()
        return seen_in_worker(app, lambda: seen_in_worker(app, look, again), context)


ALL = ("request", "session", "g")


def test_handler_hands_on_what_was_restored(app: Flask) -> None:
    """A signal sent by a handler brings the same request to the next."""
    seen = resend(
        app,
        *(ALL, ALL),
        lambda: (
            *(request.path, request.args["q"], request.endpoint, request.view_args),
            *(request.method, session["user_id"], g.user, request.headers.get("None")),
        ),
    )

    assert seen == ("/shelves/3", "1", "shelf", {"number": 3}, "GET", 7, "Ada", None)


@pytest.mark.parametrize(
    "look",
    [
        lambda: request.headers.get("X-Shop"),
        lambda: request.authorization,
        lambda: request.cookies.get("theme"),
        lambda: request.json,
        lambda: session.get("basket"),
        lambda: g.get("db"),
    ],
    ids=["header", "authorization", "cookie", "body", "session", "g"],
)
def test_what_was_left_out_before_is_known_to_the_next(app: Flask, look: Look) -> None:
    """What did not reach the first handler is not simply absent in the second."""
    context = {"request": True, "session": ("user_id",), "g": True}

    with pytest.raises(NotSentError):
        resend(app, context, ALL, look)


def test_session_that_did_not_travel_is_not_handed_on(app: Flask) -> None:
    """A handler without the session cannot give the next one an empty one."""
    with pytest.raises(NotSentError, match="session did not travel"):
        resend(app, ("request",), ALL, lambda: session.get("user_id"))


def test_key_that_did_not_arrive_cannot_be_named_again(app: Flask) -> None:
    """Sending on is refused where a receiver names what is not here any more."""
    context = {"session": ("user_id",)}

    with pytest.raises(EncodeError, match="session had 'basket'"):
        resend(app, context, {"session": ("basket",)}, bool)


def test_what_a_handler_made_anew_is_handed_on(app: Flask) -> None:
    """What a handler puts into g takes the place of what was left out."""

    def fill_and_send() -> object:
        g.db = "shop.db"
        return seen_in_worker(app, lambda: g.db, ("g",))

    with pytest.warns(RestoredContextWarning):
        assert ask_g(app, fill_and_send) == "shop.db"
