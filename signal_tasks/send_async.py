"""What blinker asks for where a coroutine sends a signal: a way to call plain receivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_thread(receiver: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a coroutine function of *receiver* that runs it in a thread.

    Async receivers are plain functions to blinker, and the broker may take a while to
    answer. Sent so, a signal reaches them without holding up the event loop::

        await user_registered.send_async(app, _sync_wrapper=in_thread, user=user)

    The receiver sees the context variables of the coroutine, so Flask's contexts and
    :data:`current_event`; those that it sets itself are gone afterwards.

    Args:
        receiver: Any function that is connected to a signal.

    .. versionadded:: 0.1
    """

    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(receiver, *args, **kwargs)

    return run
