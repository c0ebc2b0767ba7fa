"""Handlers that evaluate the documentation's claims, each connected twice."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable, Sequence
from traceback import format_exception
from typing import Any, Final

import flask
import flask_babel
import flask_login
from flask import Flask, signals

from signal_tasks import async_receiver
from tests.integration.book import here, observe
from tests.integration.signals_app import pages
from tests.integration.signals_app.app import app
from tests.integration.signals_app.claims import CONTEXTS, SIGNALS, Claim

__all__ = ["app", "pages"]

EVERYTHING: Final = ("request", "session", "g")

_NAMES: Final = {
    **{name: getattr(flask, name) for name in ("current_app", "g", "request")},
    **{name: getattr(flask, name) for name in ("session", "url_for", "Response")},
    "format_exception": format_exception,
    "has_app_context": flask.has_app_context,
    "current_user": flask_login.current_user,
    "get_locale": flask_babel.get_locale,
    "get_timezone": flask_babel.get_timezone,
}
"""What expressions may use, besides the sender and the signal's arguments."""


def outcome(expression: str, arguments: dict[str, Any]) -> Sequence[str]:
    """Evaluate *expression*, and tell its value or its error."""
    try:
        value = eval(expression, dict(_NAMES), arguments)
    except Exception as error:  # noqa: BLE001  # any error is an outcome
        return ["raises", type(error).__name__]
    return ["is", repr(value)]


def handler_of(claim: Claim) -> Callable[..., None]:
    """Return a handler that looks at everything that *claim* speaks of."""

    def look(sender: Flask, **arguments: Any) -> None:
        """Evaluate the expressions."""
        named = {"sender": sender, **arguments}
        expressions = claim.expressions(here())
        observe(claim.name, {one: outcome(one, named) for one in expressions})

    return look


for claim in SIGNALS:
    look = handler_of(claim)
    signal = getattr(signals, claim.name)
    signal.connect(look, app, weak=False)
    async_receiver(signal, sender=app, name=claim.name, context=EVERYTHING)(look)

for context, claim in CONTEXTS.items():
    look = handler_of(claim)
    signals.request_finished.connect(look, app, weak=False)
    async_receiver(
        signals.request_finished,
        sender=app,
        name=claim.name,
        context=literal_eval(context),
    )(look)
