"""What the contenders send: events whose content anyone can tell from their key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

SENDER = "shop"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event, to be sent to some handlers."""

    handlers: int
    size: int
    """Bytes of its payload, as JSON."""

    serial: int

    @property
    def key(self) -> str:
        """What no other event of a contender has."""
        return f"{self.handlers}-{self.size}-{self.serial}"

    @cached_property
    def payload(self) -> dict[str, Any]:
        """The keyword arguments that the signal is sent with."""
        return payload_of(self.key)


def payload_of(key: str) -> dict[str, Any]:
    """Return the payload of the event that has *key*: what signals are mostly sent with.

    None of its values can change later, so buffered delivery may encode them later.
    """
    size = int(key.split("-")[1])
    payload = {
        "key": key,
        "customer_id": 4711,
        "email": "ada@example.org",
        "is_new": True,
        "total": 19.5,
    }
    room = size - len(json.dumps({**payload, "note": ""}))
    return {**payload, "note": "x" * room}


def is_intact(sender: object, arguments: Mapping[str, object]) -> bool:
    """Tell whether a handler has got just what was sent."""
    return sender == SENDER and arguments == payload_of(str(arguments["key"]))
