"""Reads posted forms, and says to the visitor what is wrong with them."""

from __future__ import annotations

import re
from typing import Final

from flask import request

_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_SHORTEST_PASSWORD: Final = 8


class FormError(ValueError):
    """A form that cannot be accepted; its message is for the visitor."""


def name() -> str:
    """Return the posted name, on one line."""
    given = " ".join(request.form["name"].split())
    if not given:
        raise FormError("Please tell us your name.")
    return given


def email() -> str:
    """Return the posted address, if it looks like one."""
    given = request.form["email"].strip().lower()
    if not _EMAIL.fullmatch(given):
        raise FormError("This does not look like an e-mail address.")
    return given


def new_password() -> str:
    """Return the posted password, if it is long enough."""
    given = request.form["password"]
    if len(given) < _SHORTEST_PASSWORD:
        raise FormError(f"A password has at least {_SHORTEST_PASSWORD} characters.")
    return given
