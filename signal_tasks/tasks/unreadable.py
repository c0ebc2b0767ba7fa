"""What is kept of a message that nobody can read."""

from __future__ import annotations

import json
from typing import Any, Final

from ..typing import named_items

UNREADABLE: Final = "(unreadable)"
"""The receiver's name in a dead letter of a message that names none."""


def name_in(message: Any) -> str:
    """Return the name of the task that *message* is for, where it has one."""
    name = (named_items(message.headers) or {}).get("task")
    return name if isinstance(name, str) and name else UNREADABLE


def text_in(message: Any) -> str:
    """Return the envelope in *message*, so that it can be replayed; else all of it."""
    try:
        args, kwargs, *_ = message.payload
    except Exception:  # noqa: BLE001  # of a body that anybody may have written
        return _whole(message)
    match args:
        case [str(text)] if not kwargs and text.startswith('{"v":'):
            return text
        case _:
            return _whole(message)


def _whole(message: Any) -> str:
    body = message.body
    facts = {
        "body": body.decode(errors="backslashreplace")
        if isinstance(body, bytes)
        else body,
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "headers": message.headers,
        "properties": message.properties,
        "delivery_info": message.delivery_info,
    }
    try:
        return json.dumps(facts, default=repr)
    except Exception:  # noqa: BLE001  # keys and depths that JSON does not have
        return repr(body)
