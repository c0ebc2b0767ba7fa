"""Flask's request: captured where a signal is sent, restored in a worker.

A request travels as the part of its WSGI environment that says what was asked, and is
pushed again from that, so that routing, ``url_for`` and the app's own request class work
as they did. Headers travel by an allow-list; bodies, cookies and credentials do not,
unless they are named.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import IO, Any

from flask import (
    Flask,
    Request,
    current_app,
    has_request_context,
    request,
)
from flask.ctx import RequestContext
from flask.globals import app_ctx
from werkzeug.datastructures import EnvironHeaders, ImmutableMultiDict

from ..codec import Codec
from ..contexts import Context
from ..exceptions import ConfigurationError, NotSentError
from ..portions import PICK_IT, ChecksHeaders, ChecksKeys, Portion, portion_of
from ..typing import Keys, names_in
from .session_context import restored_session

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


def config_of(app: Flask) -> Mapping[str, Any]:
    """Return the app's configuration, whose type says nothing about its values."""
    return app.config


def request_context(codec: Codec) -> Context:
    """Return the context of Flask's request, which holds the session that is restored.

    Args:
        codec: Knows what a converter may have made of a part of the path.
    """
    return Context(
        name="request",
        capture=lambda keys: _capture_request(keys, codec),
        restore=_restore_request,
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
    context = RequestContext(app, environ, request=restored, session=restored_session())
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


def _view_args(captured: Mapping[str, Any], matched: Mapping[str, Any]) -> Portion:
    """Return the view's arguments as they were, for URL preprocessors may change them.

    What a converter made and cannot travel, matching the path has made again.
    """
    names = captured["left_out"]
    made_again = {name: matched[name] for name in names if name in matched}
    left_out = [name for name in names if name not in matched]
    sent = {**made_again, **captured["sent"]}
    portion = {"sent": sent, "left_out": left_out}
    return Portion(portion, what="request.view_args", mend=PICK_IT)


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
    mend = (
        "Ask for all of them with context={'request': ('Cookie',)}, or pick what you need "
        "of them with extract=."
    )

    def __init__(self, left_out: frozenset[str]) -> None:
        super().__init__()
        self.left_out = left_out
