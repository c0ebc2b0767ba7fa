"""Protection against forms that another site posts in a visitor's name."""

from __future__ import annotations

import secrets

from flask import abort, request, session


def token() -> str:
    """Return the visitor's token, which every form that posts has to carry."""
    known: str = session.setdefault("csrf", secrets.token_urlsafe(16))
    return known


def check() -> None:
    """Refuse a post without the token; runs before every request."""
    if request.method == "POST" and not secrets.compare_digest(
        request.form.get("csrf", "").encode(), token().encode()
    ):
        abort(400, "The form is too old, or was not ours. Go back and try again.")
