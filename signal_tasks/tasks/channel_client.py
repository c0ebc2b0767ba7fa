"""The client that a channel of kombu's talks to Redis with: one, and not one for each command.

kombu makes a client twice for each message, to note that the worker has it and to
acknowledge it. To make one takes longer than what it is then used for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def keep_client(channel: Any) -> None:
    """Let *channel* make the client that it settles messages with once."""
    channel.Client = _KeptClient(channel, channel.Client)


class _KeptClient:
    """Stands for the class of a channel's clients.

    Args:
        channel: Gives each client a pool of connections.
        make: Makes one.
    """

    def __init__(self, channel: Any, make: Callable[..., Any]) -> None:
        self._channel = channel
        self._make = make
        self._kept: Any = None

    def __call__(self, *, connection_pool: Any, **options: Any) -> Any:
        # Those that wait for messages have a connection of their own each.
        if connection_pool is not self._channel.pool:
            return self._make(connection_pool=connection_pool, **options)
        # With its connections lost, a channel gets another pool.
        if self._kept is None or self._kept.connection_pool is not connection_pool:
            self._kept = self._make(connection_pool=connection_pool, **options)
        return self._kept
