"""Entries of a queue in Redis: those that are no message are taken out before kombu reads them.

kombu takes an entry off its list and then reads it, so what it cannot read is gone, and
the error ends the worker: https://github.com/celery/celery/issues/7975
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kombu.utils.json import loads

from ..exceptions import UnreadableMessageError

_logger = logging.getLogger(__name__)

KeepEntry = Callable[[str, Exception], bool]
"""Called with an entry and what is wrong with it; false if it could not be kept."""

SUFFIX = ".unreadable"
"""Ends the name of the list in Redis where an entry is put that no store took."""


class Entries:
    """What a channel of kombu's gets from Redis.

    Args:
        channel: Of a worker's consumer.
        keep: Keeps what is no message.
    """

    def __init__(self, channel: Any, keep: KeepEntry) -> None:
        self._channel = channel
        self._keep = keep

    def sift(self) -> None:
        """Let only messages through from now on."""
        # A documented hook of redis-py; kombu asks its client for no more than answers.
        self._channel.client.set_response_callback("BRPOP", self._on_answer)

    def _on_answer(self, answer: Any, **_: object) -> tuple[Any, Any] | None:
        """Return list and entry as redis-py does; None as for a list that is empty."""
        if not answer:
            return None
        queue, entry = answer
        try:
            self._check(entry)
        except Exception as error:  # noqa: BLE001  # each of them would end the worker
            self._put_aside(queue, entry, error)
            return None
        return queue, entry

    def _check(self, entry: Any) -> None:
        """Do with *entry* what kombu does to make a message of it, or raise.

        Raises:
            Exception: It is none.
        """
        payload = loads(_text(entry))
        properties = payload["properties"]
        delivery = properties["delivery_info"]
        headers = payload.get("headers")
        named = (delivery["exchange"], delivery["routing_key"])
        if not all(isinstance(one, str) for one in named):
            raise UnreadableMessageError("it names no queue.")
        if not isinstance(properties["delivery_tag"], str | int):
            raise UnreadableMessageError("it has no delivery tag.")
        if headers is not None and not isinstance(headers, dict):
            raise UnreadableMessageError("its headers are none.")
        # Without its headers, for what is compressed need not be unpacked twice.
        self._channel.Message({**payload, "headers": None}, channel=self._channel)

    def _put_aside(self, queue: Any, entry: Any, error: Exception) -> None:
        if self._keep(_text(entry), error):
            return
        name = _text(queue) + SUFFIX
        with self._channel.conn_or_acquire() as client:
            client.lpush(name, entry)
        _logger.error("what could not be read is in the list %s in Redis.", name)


def _text(data: Any) -> str:
    return data.decode(errors="backslashreplace") if isinstance(data, bytes) else data
