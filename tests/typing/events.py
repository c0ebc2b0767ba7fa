"""What a handler asks about its event. This file is checked and never run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import assert_type

from signal_tasks import Event, current_event

if current_event:
    assert_type(current_event.id, str)
    assert_type(current_event.signal, str)
    assert_type(current_event.sent_at, datetime)
    assert_type(current_event.attempt, int)
    assert_type(current_event.hops, int)
    assert_type(current_event.headers, Mapping[str, object])


def describe(event: Event) -> str:
    """Use an event that is no proxy."""
    assert_type(event.trail, tuple[str, ...])
    return f"{event.id} after {event.hops} hops"
