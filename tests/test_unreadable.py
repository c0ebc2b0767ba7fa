"""What is kept of messages that nobody can read."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from signal_tasks.tasks.unreadable import UNREADABLE, name_in, text_in


def message(payload: object, **facts: Any) -> Any:
    """Return a message with that payload."""
    plain: dict[str, Any] = {
        "body": b"raw\xff",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {},
        "properties": {},
        "delivery_info": {},
    }
    return SimpleNamespace(**{**plain, **facts}, payload=payload)


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"task": "bill"}, "bill"),
        ({"task": ""}, UNREADABLE),
        ({"task": [1]}, UNREADABLE),
        ({}, UNREADABLE),
        (None, UNREADABLE),
        (["task"], UNREADABLE),
    ],
)
def test_message_is_kept_under_its_tasks_name(headers: object, name: str) -> None:
    """Where a message names its task, so does its dead letter."""
    assert name_in(message(None, headers=headers)) == name


def test_envelope_is_kept_alone() -> None:
    """Where the envelope can be read, the letter can be replayed."""
    assert text_in(message([['{"v":1}'], {}, {}])) == '{"v":1}'


@pytest.mark.parametrize(
    "payload", [[["text"], {}, {}], [['{"v":1}'], {"a": 1}, {}], 17, [1]], ids=str
)
def test_anything_else_is_kept_whole(payload: object) -> None:
    """All that came with a message is in its letter."""
    text = text_in(message(payload, headers={"a": b"b"}))

    assert json.loads(text) == {
        "body": "raw\\xff",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {"a": "b'b'"},
        "properties": {},
        "delivery_info": {},
    }


def test_what_json_cannot_hold_is_kept_by_its_body() -> None:
    """Headers that cannot be written down do not keep the body from being kept."""
    strange = message(None, headers={(1, 2): 3}, body="text")

    assert text_in(strange) == "'text'"
