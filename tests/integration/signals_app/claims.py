"""What the documentation says that handlers find in a worker, as Python expressions.

Handlers evaluate them in the request and in the worker, and the tests compare. The
tables of the page are made from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.integration.book import Where

_BODY = "a body stays where it is; a stream would be used up"
_COOKIES = "cookies are credentials"
_FRAMES = "frames hold live objects"
_NOT_REGISTERED = "unless its class is registered, it is an `ExceptionSnapshot`"
_TEMPLATE = "templates are code"
_STANDARD = "Flask's own objects do not travel in a template's context"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What of one thing is the same in a worker, and what is not."""

    name: str
    """A signal's name, or that of what ``context=`` restores."""

    same: Sequence[str]
    """Expressions whose values are equal, whatever the request."""

    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    """Expressions that raise an error in the worker, and why."""

    untried: Mapping[str, str] = field(default_factory=dict[str, str])
    """The like, but in the request nobody tries them, for they would use up a stream."""

    other: Mapping[str, str] = field(default_factory=dict[str, str])
    """Expressions that have another value in the worker, and why."""

    def expressions(self, where: Where) -> Sequence[str]:
        """Return those to evaluate in the request, or in the worker."""
        untried = self.untried if where == "worker" else ()
        return [*self.same, *self.refused, *untried, *self.other]


SIGNALS: Final[Sequence[Claim]] = (
    Claim(
        name="request_started",
        same=("sender.name", "request.endpoint", "session.get('user_id')"),
    ),
    Claim(
        name="request_finished",
        same=(
            "response.status_code",
            "response.status",
            "response.content_length",
            "response.mimetype",
            "response.headers['Content-Type']",
            "response.headers.get('Content-Disposition')",
            "response.location",
            "response.is_streamed",
            "g.start_time",
        ),
        refused={
            "response.get_json()": _BODY,
            "response.headers.get('Set-Cookie')": _COOKIES,
        },
        untried={
            "response.get_data()": _BODY,
            "response.response": _BODY,
        },
        other={
            "str(response)": "it is a `ResponseSnapshot`",
            "isinstance(response, Response)": "it is a `ResponseSnapshot`",
        },
    ),
    Claim(
        name="got_request_exception",
        same=(
            "str(exception)",
            "isinstance(exception, Exception)",
            "request.endpoint",
            "g.start_time",
        ),
        refused={"exception.__cause__.args": _FRAMES},
        other={
            "type(exception).__name__": _NOT_REGISTERED,
            "isinstance(exception, RuntimeError)": _NOT_REGISTERED,
            "exception.__traceback__ is None": _FRAMES,
            "''.join(format_exception(exception))": "the traceback is a note of it",
        },
    ),
    Claim(
        name="request_tearing_down",
        same=("str(exc)", "exc is None", "request.endpoint", "g.start_time"),
        other={"type(exc).__name__": _NOT_REGISTERED},
    ),
    Claim(
        name="appcontext_tearing_down",
        same=("str(exc)", "exc is None", "g.get('start_time')"),
        other={"type(exc).__name__": _NOT_REGISTERED},
    ),
    Claim(name="appcontext_pushed", same=("sender.name", "'start_time' in g")),
    Claim(
        name="appcontext_popped",
        same=("sender.name",),
        other={"has_app_context()": "a worker always has an app context"},
    ),
    Claim(
        name="template_rendered",
        same=(
            "template.name or 'a string'",
            "template.filename",
            "context['title']",
            "context.get('price')",
            "'title' in context",
            "request.endpoint",
        ),
        refused={
            "template.render": _TEMPLATE,
            "template.module": _TEMPLATE,
            "context['request'].path": _STANDARD,
            "'request' in context": _STANDARD,
            "context.get('g')": _STANDARD,
        },
        other={
            "sorted(context)": "only what travels is listed",
            "str(context)": "only what travels is listed",
        },
    ),
    Claim(
        name="before_render_template",
        same=("template.name or 'a string'", "context['title']", "request.endpoint"),
        refused={"template.render": _TEMPLATE, "context['request'].path": _STANDARD},
    ),
    Claim(
        name="message_flashed",
        same=("message", "category", "request.endpoint", "session.get('user_id')"),
    ),
)

CONTEXTS: Final[Mapping[str, Claim]] = {
    "('request',)": Claim(
        name="request",
        same=(
            "request.method",
            "request.path",
            "request.url",
            "request.endpoint",
            "str(request.url_rule)",
            "request.view_args",
            "request.args.getlist('size')",
            "request.remote_addr",
            "request.headers['User-Agent']",
            "str(request.accept_languages)",
            "request.mimetype",
            "request.content_length",
            "url_for('item', number=1)",
            "url_for('item', number=1, _external=True)",
        ),
        refused={
            "request.form.get('what')": _BODY,
            "request.get_data()": _BODY,
            "request.get_json(silent=True)": _BODY,
            "request.files.get('what')": _BODY,
            "request.cookies.get('session')": _COOKIES,
            "request.authorization": "credentials travel only when they are named",
            "session.get('user_id')": "it was not asked for",
            "current_user.is_authenticated": "ask for `user`",
        },
        other={"dict(request.headers)": "only what travelled is listed"},
    ),
    "{'request': ('form', 'Authorization', 'Cookie')}": Claim(
        name="request, with what is named",
        same=(
            "request.form.get('what')",
            "request.form.to_dict()",
            "request.authorization",
            "request.cookies.get('session')",
        ),
    ),
    "('session',)": Claim(
        name="session",
        same=(
            "session.get('user_id', 'anonymous')",
            "'user_id' in session",
            "request.path",
        ),
        refused={"session.update(seen=True)": "no browser would get it"},
    ),
    "{'session': ('user_id',)}": Claim(
        name="session, one key",
        same=("session.get('user_id', 'anonymous')",),
        refused={"session.get('secret')": "it was not named"},
    ),
    "('g',)": Claim(
        name="g",
        same=("g.start_time", "hasattr(g, 'start_time')", "g.get('no_such')"),
        refused={"g.connection": "its type does not travel"},
    ),
    "('user',)": Claim(
        name="user",
        same=("current_user.is_authenticated", "getattr(current_user, 'name', None)"),
    ),
    "('locale',)": Claim(
        name="locale",
        same=("str(get_locale())", "str(get_timezone())"),
    ),
    "()": Claim(
        name="nothing",
        same=("current_app.name",),
        refused={
            "request.path": "it was not asked for",
            "session.get('user_id')": "it was not asked for",
            "g.start_time": "it was not asked for",
        },
        other={
            "str(get_locale())": "the worker's own",
            "str(get_timezone())": "the worker's own",
        },
    ),
}
"""What each ``context=`` restores, shown on ``request_finished``."""


def table(first: str, claims: Mapping[str, Claim]) -> str:
    """Return *claims* as a table in Markdown, with a column called *first*."""
    lines = [
        f"| {first} | the same in the worker | not there, or another value |",
        "|---|---|---|",
    ]
    for name, claim in claims.items():
        same = ", ".join(f"`{expression}`" for expression in claim.same)
        lines.append(f"| `{name}` | {same} | {_reasons(claim)} |")
    return "\n".join(lines)


def tables() -> tuple[str, str]:
    """Return the tables of the documentation."""
    by_signal = {claim.name: claim for claim in SIGNALS}
    return table("signal", by_signal), table("`context=`", CONTEXTS)


def _reasons(claim: Claim) -> str:
    """Name what differs, with each reason once."""
    expressions: dict[str, list[str]] = {}
    different = {**claim.untried, **claim.refused, **claim.other}
    for expression, reason in different.items():
        expressions.setdefault(reason, []).append(f"`{expression}`")
    return "; ".join(
        f"{', '.join(names)}: {reason}" for reason, names in expressions.items()
    )
