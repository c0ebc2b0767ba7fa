"""What py-amqp writes messages with: all of a send at once, and quickly encoded.

py-amqp writes each message on its own, looks before it whether the broker has something
to say, and takes for its headers longer than for all else. Here is how AMQP 0-9-1 has a
message; what is no message is left to py-amqp.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from struct import pack
from typing import Any, Final

from amqp import Connection, spec
from amqp.method_framing import frame_writer
from amqp.serialization import dumps

_PUBLISH: Final[Any] = spec.Basic.Publish

#: Kinds of frames, and what ends each.
_METHOD, _HEADER, _BODY = 1, 2, 3
_END: Final = b"\xce"

#: What is gathered takes memory once more, so there is never much of it.
_GATHERED_AT_MOST: Final = 1 << 16

#: Whose values are equal only if they are written in the same way.
_KEPT: Final = frozenset({str, int, bool, type(None)})


class Writer:
    """Writes frames for a connection, and those of messages when it is told to.

    Args:
        connection: Of py-amqp, and connected.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection: Any = connection
        self._gathered: list[bytes] = []
        self._size = 0
        self._write_own: Any = frame_writer(connection, connection.transport)

    def take_over(self) -> None:
        """Let the connection write with it."""
        self._connection.frame_writer = self
        # Else py-amqp would try to read before each message, and not after them all.
        properties = self._connection.client_properties
        capabilities = {
            **properties.get("capabilities", {}),
            "connection.blocked": False,
        }
        self._connection.client_properties = {
            **properties,
            "capabilities": capabilities,
        }

    def read(self, seconds: float) -> None:
        """Read the next thing that the broker says, if it does so within *seconds*.

        Raises:
            Exception: It says that something is wrong, or the connection is lost.
        """
        with suppress(TimeoutError):
            self._connection.drain_events(timeout=seconds)

    def __call__(
        self, kind: int, channel: int, method: Any, args: Any, content: Any
    ) -> None:
        """Write the frames of a method, or gather those of a message."""
        if method == _PUBLISH and isinstance(content.body, bytes):
            size = self._connection.frame_max - 8
            frames = _frames(channel, method, args, content, size)
            self._gathered.append(frames)
            self._size += len(frames)
        else:
            self._write()  # first what came first
            self._write_own(kind, channel, method, args, content)

    def make_room(self, seconds: float) -> None:
        """Write what was gathered if that is much; it may take *seconds*."""
        if self._size > _GATHERED_AT_MOST:
            self.flush(seconds)

    def flush(self, seconds: float) -> None:
        """Write what was gathered; it may take *seconds*."""
        if self._gathered:
            with self._connection.transport.having_timeout(seconds):
                self._write()

    def _write(self) -> None:
        frames, self._gathered, self._size = self._gathered, [], 0
        if frames:
            self._connection.transport.write(b"".join(frames))
            self._connection.bytes_sent += len(frames)  # by which heartbeats are timed


def _frames(
    channel: int, method: tuple[int, int], args: bytes, content: Any, size: int
) -> bytes:
    """Return a message in frames, each of which holds *size* bytes at most."""
    body, properties = content.body, _properties(content)
    method_size, header_size = 4 + len(args), 12 + len(properties)
    parts = [
        pack(">BHIHH", _METHOD, channel, method_size, *method),
        args,
        _END,
        pack(">BHIHHQ", _HEADER, channel, header_size, method[0], 0, len(body)),
        properties,
        _END,
    ]
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        parts += (pack(">BHI", _BODY, channel, len(piece)), piece, _END)
    return b"".join(parts)


def _properties(content: Any) -> bytes:
    """Return which properties there are, and then those."""
    flags, parts, values = 0, [b""], content.properties
    for place, (name, kind) in enumerate(content.PROPERTIES):
        if name in values and values[name] is not None:
            flags |= 1 << (15 - place)
            encode = _table if kind == "F" else _property
            parts.append(encode(kind, values[name]))
    parts[0] = pack(">H", flags)
    return b"".join(parts)


@lru_cache(maxsize=256, typed=True)
def _property(kind: str, value: Any) -> bytes:
    return dumps(kind, (value,))


def _table(_kind: str, values: Mapping[str, object]) -> bytes:
    entries = [
        _kept_entry(name, value) if type(value) in _KEPT else _entry(name, value)
        for name, value in values.items()
    ]
    return _sized(b"".join(entries))


def _entry(name: str, value: Any) -> bytes:
    """Return what stands in a table for *value*."""
    if value is None or type(value) in (str, list):
        return _short_text(name) + _value(value)
    return dumps("F", ({name: value},))[4:]


_kept_entry = lru_cache(maxsize=1024, typed=True)(_entry)


def _value(value: Any) -> bytes:
    """Return *value* after its kind, as it stands in tables and arrays."""
    kind = value.__class__
    if kind is str:
        return b"S" + _sized(value.encode("utf-8", "surrogatepass"))
    if value is None:
        return b"V"
    if kind is list:
        return b"A" + _sized(b"".join(map(_value, value)))
    return dumps("A", ([value],))[4:]


def _sized(content: bytes) -> bytes:
    return pack(">I", len(content)) + content


def _short_text(text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return pack("B", len(content)) + content
