"""The demo's own signals: what can happen here, and what each one tells.

They live in a namespace, so that no other package's ``user-registered`` is meant.
"""

from __future__ import annotations

from typing import Any

from blinker import Namespace
from flask import Flask, current_app

_namespace = Namespace()

user_registered = _namespace.signal(
    "user-registered",
    doc="Somebody registered. Sender: the app. Arguments: user, a stored User.",
)
user_action = _namespace.signal(
    "user-action",
    doc="A visitor did something. Sender: the app. Arguments: action, user_id.",
)
profile_changed = _namespace.signal(
    "profile-changed",
    doc="A user saved a changed profile. Sender: the app. Arguments: user_id.",
)
data_changed = _namespace.signal(
    "data-changed",
    doc=(
        "A row was changed and committed. Sender: the table's name. "
        "Arguments: row_id, actor_id, columns (name -> (old, new))."
    ),
)


def this_app() -> Flask:
    """Return the running app itself, the sender that receivers can be bound to.

    Blinker tells senders apart by identity, and ``current_app`` is a proxy.
    """
    proxy: Any = current_app
    app: Flask = proxy._get_current_object()  # noqa: SLF001  # documented by Flask
    return app
