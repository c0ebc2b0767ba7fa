"""What travels to the handlers: plain values, picked while the request is still there.

A worker has no request, no session and no response. So each ``extract=`` function
here runs on the request path, as ``extract(sender, **what_was_sent)``, and returns the
keyword arguments of the handler. Keep them quick: the visitor waits for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from time import perf_counter
from typing import Final

from flask import Flask, Response, g, request, session
from jinja2 import Template

from .models import User

_QUIET_ENDPOINTS: Final = frozenset({"static", "live.feed"})
_FLASKS_OWN: Final = frozenset({"g", "request", "session"})


def is_page(_sender: Flask, **_sent: object) -> bool:
    """Leave out the live page's polling and the style sheet (a ``condition=``)."""
    return request.endpoint not in _QUIET_ENDPOINTS


def recipient(_sender: Flask, *, user: User, **_sent: object) -> dict[str, object]:
    """Pick from a user what a letter to them needs."""
    return {"user_id": user.id, "name": user.name, "email": user.email}


def visit(_sender: Flask, *, response: Response, **_sent: object) -> dict[str, object]:
    """Pick who asked for what, what they got, and how long they waited."""
    return {
        "user_id": session.get("user_id"),
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "milliseconds": round(1000 * (perf_counter() - g.started), 1),
    }


def page(_sender: Flask, **_sent: object) -> dict[str, object]:
    """Pick the name under which a page view is counted."""
    return {"kind": "page", "name": request.endpoint or "not found"}


def action(_sender: Flask, *, action: str, **_sent: object) -> dict[str, object]:
    """Pick the name under which an action is counted."""
    return {"kind": "action", "name": action}


def failure(
    _sender: Flask, *, exception: BaseException, **_sent: object
) -> dict[str, object]:
    """Pick what failed where, but not the message, which may quote a visitor."""
    return {
        "user_id": session.get("user_id"),
        "path": request.path,
        "error": type(exception).__name__,
    }


def rendering(
    _sender: Flask,
    *,
    template: Template,
    context: Mapping[str, object],
    **_sent: object,
) -> dict[str, object]:
    """Pick the template's name, and describe what it was given."""
    return {
        "template": template.name or "(a string)",
        "context": {
            name: describe(value)
            for name, value in context.items()
            if name not in _FLASKS_OWN
        },
    }


def describe(value: object) -> str:
    """Say of what type and size *value* is, never what it holds."""
    kind = type(value).__name__
    return f"{kind} of {len(value)}" if isinstance(value, Sized) else kind
