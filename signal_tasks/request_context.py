"""Flask's request, session and g: captured where a signal is sent, restored in a worker.

A request travels as the part of its WSGI environment that says what was asked, and is
pushed again from that, so that routing, ``url_for`` and the app's own request class work
as they did. Headers travel by an allow-list; bodies, cookies and credentials do not,
unless they are named.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from io import BytesIO
from typing import IO, Any, NoReturn

from flask import (
    Flask,
    Request,
    current_app,
    g,
    has_app_context,
    has_request_context,
    request,
    session,
)
from flask.ctx import RequestContext
from flask.globals import app_ctx
from flask.sessions import SessionMixin
from werkzeug.datastructures import EnvironHeaders, ImmutableMultiDict

from .codec import Codec
from .contexts import Context
from .exceptions import ConfigurationError, NotSentError, ReadOnlySessionError
from .portions import ChecksHeaders, ChecksKeys, Portion, check_was_sent, portion_of
from .typing import Keys, names_in

_logger = logging.getLogger(__name__)

#: Headers that travel with a request, where ``SIGNAL_TASKS_HEADERS`` names no others.
HEADERS = (
    *("Accept", "Accept-Language", "Content-Length", "Content-Type", "Host", "Origin"),
    *("Referer", "User-Agent", "X-Correlation-Id", "X-Forwarded-For", "X-Request-Id"),
    *("Traceparent", "Tracestate"),
)

#: What a WSGI environment says about what was asked. Of the headers these are the ones
#: without which a request is routed to another place, or seems to have no body.
_FACTS = (
    *("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI"),
    *("SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR", "REMOTE_USER"),
    *("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_HOST", "HTTP_TRANSFER_ENCODING"),
    "wsgi.url_scheme",
)

_session: ContextVar[_RestoredSession | None] = ContextVar(
    "signal_tasks_session", default=None
)


class RestoredContextWarning(UserWarning):
    """A handler wrote to ``g`` in a worker, where no request will read it."""


def config_of(app: Flask) -> Mapping[str, Any]:
    """Return the app's configuration, whose type says nothing about its values."""
    return app.config


def flask_contexts(codec: Codec) -> tuple[Context, Context, Context]:
    """Return the contexts that every Flask app has: session, request and g.

    Args:
        codec: Knows what of a session or of ``g`` travels.
    """
    return (
        Context(
            name="session",
            capture=lambda keys: _capture_session(keys, codec),
            restore=_restore_session,
            needs=("request",),
        ),
        Context(
            name="request",
            capture=lambda keys: _capture_request(keys, codec),
            restore=_restore_request,
        ),
        Context(
            name="g", capture=lambda keys: _capture_g(keys, codec), restore=_restore_g
        ),
    )


def allowed_headers(app: Flask) -> tuple[str, ...]:
    """Return the names of the headers that travel with every request of *app*.

    Raises:
        ConfigurationError: They are set to something else than names.
    """
    names = names_in(config_of(app).get("SIGNAL_TASKS_HEADERS", HEADERS))
    if names is None:
        raise ConfigurationError(
            "SIGNAL_TASKS_HEADERS is something else than a list of names. Set it to one, "
            "such as ['User-Agent', 'X-Shop'], or leave it out."
        )
    return names


def _capture_request(keys: Keys, codec: Codec) -> dict[str, object] | None:
    """Return what of the request travels; None outside a request.

    Args:
        keys: What travels besides: ``form``, and the names of further headers.
        codec: Knows what a converter may have made of a part of the path.
    """
    if not has_request_context():
        return None
    named = keys or ()
    headers = map(_environ_key, (*allowed_headers(current_app), *named))
    wanted = dict.fromkeys((*_FACTS, *headers))
    environ = {key: request.environ[key] for key in wanted if key in request.environ}
    captured: dict[str, object] = {
        "environ": environ,
        "headers_left_out": _headers_left_out(environ),
        "cookies_left_out": [] if "HTTP_COOKIE" in environ else _cookie_names(),
    }
    if request.view_args is not None:
        captured["view_args"] = portion_of(request.view_args, None, codec)
    if "form" in named:
        captured["form"] = list(request.form.items(multi=True))
    return captured


def _headers_left_out(environ: Collection[str]) -> list[str]:
    names = {name.lower() for name in request.headers.keys()}  # noqa: SIM118  # no dict
    left_out = {name for name in names if _environ_key(name) not in environ}
    if isinstance(request.headers, _RestoredHeaders):
        left_out.update(request.headers.left_out)
    return sorted(left_out)


def _cookie_names() -> list[str]:
    cookies = request.cookies
    here = cookies.left_out if isinstance(cookies, _RestoredCookies) else cookies
    return sorted(here)


def _environ_key(header: str) -> str:
    key = header.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


@contextmanager
def _restore_request(captured: Mapping[str, Any] | None) -> Generator[None]:
    if captured is None:
        yield
        return
    app = app_ctx.app
    environ = {
        **captured["environ"],
        "wsgi.input": BytesIO(),
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    restored_class = type("RestoredRequest", (_RestoredRequest, app.request_class), {})
    restored = restored_class(environ)
    restored.json_module = app.json
    restored.headers = _RestoredHeaders(environ, captured["headers_left_out"])
    restored.cookies_left_out = frozenset(captured["cookies_left_out"])
    restored.sent_form = captured.get("form")
    # Flask documents app.request_context() for this, which takes no session, and
    # opening one from the request would need its cookie.
    context = RequestContext(
        app, environ, request=restored, session=_restored_session()
    )
    with _pushed(context):
        if "view_args" in captured:
            matched = restored.view_args or {}
            restored.view_args = _view_args(captured["view_args"], matched)
        yield


@contextmanager
def _pushed(context: RequestContext) -> Generator[None]:
    """Push *context* while the block runs; log what the app's teardown raises.

    The handler has done its work by then, and raising would have it run again.
    """
    context.push()
    raised: BaseException | None = None
    try:
        yield
    except BaseException as error:
        raised = error
        raise
    finally:
        try:
            context.pop(raised)
        except Exception:
            _logger.exception(
                "a teardown function of the app failed after a handler, in the request "
                "that was restored for it"
            )


def _view_args(portion: Mapping[str, Any], matched: Mapping[str, Any]) -> Portion:
    """Return the view's arguments as they were, for URL preprocessors may change them.

    What a converter made and cannot travel, matching the path has made again.
    """
    names = portion["left_out"]
    made_again = {name: matched[name] for name in names if name in matched}
    left_out = [name for name in names if name not in matched]
    sent = {**made_again, **portion["sent"]}
    return Portion({"sent": sent, "left_out": left_out}, what="request.view_args")


class _RestoredRequest(Request):
    """A request without its body, unless the form was sent along."""

    sent_form: list[tuple[str, str]] | None = None
    cookies_left_out: frozenset[str] = frozenset()

    @property
    def stream(self) -> IO[bytes]:
        self._check_body()
        return BytesIO()

    @property
    def form(self) -> ImmutableMultiDict[str, str]:
        if self.sent_form is None:
            self._check_body()
        return ImmutableMultiDict(self.sent_form or ())

    @property
    def cookies(self) -> ImmutableMultiDict[str, str]:
        if "HTTP_COOKIE" in self.environ:
            return super().cookies
        return _RestoredCookies(self.cookies_left_out)

    def _check_body(self) -> None:
        if self.content_length or "HTTP_TRANSFER_ENCODING" in self.environ:
            raise NotSentError(
                "the body of the request did not travel. Ask for its form with "
                "context={'request': ('form',)}, or pick what you need of it with "
                "extract=."
            )


class _RestoredHeaders(ChecksHeaders, EnvironHeaders):  # type: ignore[misc]  # theirs
    """The headers of the request that travelled."""

    def __init__(self, environ: dict[str, Any], left_out: list[str]) -> None:
        super().__init__(environ)
        self.left_out = frozenset(left_out)

    def _check(self, key: object) -> None:
        # As in the environment, where both spellings are one.
        super()._check(key.replace("_", "-") if isinstance(key, str) else key)


class _RestoredCookies(ChecksKeys, ImmutableMultiDict[str, str]):  # type: ignore[misc]
    """What there is instead of cookies: the names of those that did not travel."""

    what = "the cookies"

    def __init__(self, left_out: frozenset[str]) -> None:
        super().__init__()
        self.left_out = left_out


def _capture_session(keys: Keys, codec: Codec) -> dict[str, object] | None:
    if not has_request_context() or isinstance(session, _NoSession):
        return None
    return portion_of(session, keys, codec)


@contextmanager
def _restore_session(captured: Mapping[str, Any] | None) -> Generator[None]:
    """Keep the session for the request context, which is the one to hold it."""
    restored = None if captured is None else _RestoredSession(captured, what="session")
    token = _session.set(restored)
    try:
        yield
    finally:
        _session.reset(token)


@contextmanager
def session_with(items: Mapping[str, Any], keys: Collection[str]) -> Generator[None]:
    """Add *items* to the session that the next request context will hold.

    Args:
        items: What was there under *keys*.
        keys: If one is not among *items*, then it was not in the session either.
    """
    token = _session.set(_restored_session().with_items(items, keys))
    try:
        yield
    finally:
        _session.reset(token)


def _refuse_to_write(*_: object, **__: object) -> NoReturn:
    raise ReadOnlySessionError(
        "the session in a worker is a copy, and what is written to it would reach no "
        "browser. Write it in the request; keep what a handler finds out in a database."
    )


class _RestoredSession(Portion, SessionMixin):
    """A session to read from."""

    # Told of by those who changed something inside a value.
    modified = property(lambda _: False, _refuse_to_write)

    def with_items(
        self, items: Mapping[str, Any], keys: Collection[str]
    ) -> _RestoredSession:
        """Return a session that has *items* as well, and nothing else under *keys*."""
        sent = {**self, **items}
        left_out = self.left_out.difference(keys)
        return type(self)({"sent": sent, "left_out": left_out}, what=self.what)

    __setitem__ = __delitem__ = _refuse_to_write
    clear = pop = popitem = setdefault = update = _refuse_to_write
    __ior__ = _refuse_to_write


def _refuse_to_go_through(*_: object, **__: object) -> NoReturn:
    raise _not_sent("its keys were asked for")


def _not_sent(what_happened: str) -> NotSentError:
    return NotSentError(
        f"the session did not travel, and {what_happened}. Ask for it: "
        "async_receiver(..., context=('session',)), or 'user' for Flask-Login's user."
    )


class _NoSession(_RestoredSession):
    """Stands where the session was not asked for; says so to whoever reads it."""

    # Flask itself looks for these, whatever a handler does.
    known: frozenset[str] = frozenset(("_permanent", "_flashes"))
    """Keys that may be read, for what would be there is there."""

    def with_items(self, items: Mapping[str, Any], keys: Collection[str]) -> _NoSession:
        """Return a session that has *items*, and nothing else under *keys*."""
        copy = _NoSession({"sent": items, "left_out": ()}, what=self.what)
        copy.known = self.known.union(keys)
        return copy

    __iter__ = keys = values = items = copy = _refuse_to_go_through

    def _check(self, key: object) -> None:
        if key not in self.known:
            raise _not_sent(f"{key!r} was read from it")


def _restored_session() -> _RestoredSession:
    """Return the session that the next request context will hold."""
    session = _session.get()
    if session is not None:
        return session
    return _NoSession({"sent": {}, "left_out": ()}, what="session")


def _capture_g(keys: Keys, codec: Codec) -> dict[str, object] | None:
    if not has_app_context():
        return None
    # A leading underscore marks what extensions keep there for themselves.
    items = {
        name: g.get(name)
        for name in g
        if name in (keys or ()) or not name.startswith("_")
    }
    if isinstance(g, _RestoredG):
        left_out = _left_out_of(g) - items.keys()
        return portion_of(
            Portion({"sent": items, "left_out": left_out}, what="g"), keys, codec
        )
    return portion_of(items, keys, codec)


@contextmanager
def _restore_g(captured: Mapping[str, Any] | None) -> Generator[None]:
    """Put the sent part of ``g`` into the app context, where it stays until that ends.

    Functions that run when the context is popped look there for what to close.
    """
    if captured is not None:
        here = app_ctx.g
        restored_class = type("RestoredG", (_RestoredG, type(here)), {})
        app_ctx.g = restored_class(here, captured)
    yield


class _RestoredG:
    """Mixed into the app's class for ``g``: holds what was sent, warns of writing."""

    def __init__(self, here: object, portion: Mapping[str, Any]) -> None:
        left_out = frozenset(portion["left_out"])
        self.__dict__.update(vars(here), **portion["sent"], _left_out=left_out)

    def __getattr__(self, name: str) -> Any:
        self._check(name)
        raise AttributeError(name)

    def __setattr__(self, name: str, value: object) -> None:
        _warn_of_writing(name)
        self.__dict__[name] = value

    def get(self, name: str, default: object = None) -> object:
        self._check(name)
        return self.__dict__.get(name, default)

    def setdefault(self, name: str, default: object = None) -> object:
        if name not in self.__dict__:
            _warn_of_writing(name)
        return self.__dict__.setdefault(name, default)

    # Here and in pop(), which closes things when the context ends, what was left out is
    # simply not there: `if "db" not in g: g.db = connect()` is how Flask's docs make one.
    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.__dict__ if name != "_left_out")

    def _check(self, name: str) -> None:
        if name not in self.__dict__:
            check_was_sent(name, _left_out_of(self), what="g")


def _left_out_of(restored: _RestoredG) -> frozenset[str]:
    """Return the names of what was in ``g`` and did not travel."""
    left_out: frozenset[str] = vars(restored)["_left_out"]
    return left_out


def _warn_of_writing(name: str) -> None:
    if not name.startswith("_"):
        warnings.warn(
            f"a handler in a worker set g.{name}, which the rest of the request will not "
            "see. A handler that prepares something for the request belongs into the "
            "request: connect it with signal.connect.",
            RestoredContextWarning,
            stacklevel=3,
        )
