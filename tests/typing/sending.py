"""Signals as coroutines send them. This file is checked and never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

from blinker import Signal

from signal_tasks import in_thread

user_registered = Signal()


def receive(sender: str, user: int) -> bytes:
    """Return something."""
    return bytes(user)


async def send() -> None:
    """Send to plain receivers, and call one."""
    await user_registered.send_async("kiosk", _sync_wrapper=in_thread, user=7)
    assert_type(await in_thread(receive)("kiosk", user=7), bytes)
    await in_thread(receive)("kiosk")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


wrapper: Callable[[Callable[..., object]], Callable[..., object]] = in_thread
