"""Flask's request, as a handler in a worker finds it."""

# ruff: noqa: PLW0108  # the proxies are for the worker to look into

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from operator import attrgetter
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from flask import (
    Blueprint,
    Flask,
    Request,
    g,
    has_request_context,
    request,
    session,
    url_for,
)
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from signal_tasks import (
    Bridge,
    ConfigurationError,
    EncodeError,
    NotSentError,
    SignalTasks,
)
from tests.in_memory import broker_of, celery_settings, new_app
from tests.in_worker import Asked, run_worker, seen_in_worker, send_to

Look = Callable[[], Any]

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


def ask(app: Flask, look: Look, *keys: str, context: Asked = (), **request: Any) -> Any:
    """Return what *look* sees in a worker of a request that was made here."""
    request.setdefault("path", "/shelves/3")
    with app.test_request_context(**request):
        return seen_in_worker(app, look, context or {"request": keys})


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
    with pytest.raises(NotSentError, match=r"the cookies had 'theme'.*\('Cookie',\)"):
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
