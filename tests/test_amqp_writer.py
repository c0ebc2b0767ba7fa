"""How messages for RabbitMQ are written, beside py-amqp's own way."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from amqp import Message, spec
from amqp.exceptions import FrameSyntaxError
from amqp.method_framing import frame_writer
from hypothesis import given
from hypothesis import strategies as st

from signal_tasks.publisher.amqp_writer import Writer

PUBLISH: Any = spec.Basic.Publish
DECLARE: Any = spec.Queue.Declare
ARGS = b"\x00\x00\x00\x05queue\x01"


@dataclass(slots=True)
class Wire:
    """Stands for a connection of py-amqp's and its socket, and keeps what is written."""

    frame_max: int = 131_072
    written: list[bytes] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    client_properties: dict[str, Any] = field(default_factory=dict)
    frame_writer: Any = None
    said: list[str] = field(default_factory=list)
    bytes_sent: int = 0

    @property
    def transport(self) -> Wire:
        """It is that as well."""
        return self

    def write(self, frames: bytes) -> None:
        """Keep *frames*."""
        self.written.append(bytes(frames))

    @contextmanager
    def having_timeout(self, seconds: float) -> Generator[None]:
        """Note how long a write may take."""
        self.timeouts.append(seconds)
        yield

    def drain_events(self, timeout: float) -> None:
        """Hear what the broker has said."""
        if not self.said:
            raise TimeoutError(timeout)
        self.said.pop()


def message(body: str | bytes = b"{}", **properties: Any) -> Any:
    """Return a message of py-amqp's."""
    return Message(body, **properties)


def theirs(content: Any, frame_max: int = 131_072) -> bytes:
    """Return how py-amqp writes *content*."""
    wire: Any = Wire(frame_max)
    frame_writer(wire, wire)(1, 7, PUBLISH, ARGS, content)
    return b"".join(wire.written)


def ours(content: Any, frame_max: int = 131_072) -> bytes:
    """Return how we write *content*."""
    wire: Any = Wire(frame_max)
    writer = Writer(wire)
    writer(1, 7, PUBLISH, ARGS, content)
    writer.flush(1)
    return b"".join(wire.written)


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({}, id="none"),
        pytest.param({"content_type": "text/plain", "priority": 3}, id="some"),
        pytest.param({"application_headers": {}}, id="no headers"),
        pytest.param(
            {
                "content_type": "application/json",
                "content_encoding": "utf-8",
                "application_headers": {
                    "task": "shop.bill",
                    "shadow": None,
                    "retries": 0,
                    "timelimit": [None, None, "x", ["y"]],
                    "stamps": {"a": [1, True]},
                    "ignore_result": True,
                    "one": 1,
                    "yes": True,
                    "share": 1.0,
                    "big": 1 << 40,
                    "price": Decimal("1.50"),
                    "at": datetime(2026, 1, 2, tzinfo=UTC),
                    "bytes": b"\x00\xff",
                    "tuple": ("a", 1),
                    "\u00e9": "\u00e9\ud800 \U0001f600",
                },
                "delivery_mode": 2,
                "priority": 0,
                "correlation_id": "the-task",
                "reply_to": "",
                "expiration": "1000",
                "message_id": "m",
                "timestamp": 1_800_000_000,
                "type": "t",
                "user_id": "guest",
                "app_id": "shop",
                "cluster_id": "c",
            },
            id="all",
        ),
    ],
)
def test_message_is_as_py_amqp_writes_it(properties: dict[str, Any]) -> None:
    """The frames of a message are py-amqp's, byte by byte, also at the second time."""
    content = message(**properties)

    assert ours(content) == theirs(content)
    assert ours(content) == theirs(content)


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text()


@given(
    headers=st.dictionaries(
        st.text(max_size=50),
        st.recursive(
            SCALARS | st.floats(),
            lambda inner: st.lists(inner) | st.dictionaries(st.just("key"), inner),
        ),
    ),
    body=st.binary(max_size=300),
)
def test_any_headers_are_as_py_amqp_writes_them(
    headers: dict[str, Any], body: bytes
) -> None:
    """Whatever the headers and the body are, py-amqp would write the same."""
    content = message(body, application_headers=headers)

    assert ours(content) == theirs(content)


@pytest.mark.parametrize("size", [0, 1, 91, 92, 93, 184, 500])
def test_large_body_is_in_several_frames(size: int) -> None:
    """No frame is larger than the broker takes."""
    content = message(b"x" * size)

    assert ours(content, 100) == theirs(content, 100)


def test_text_is_left_to_py_amqp() -> None:
    """What has yet to be encoded is written by py-amqp, and at once."""
    wire: Any = Wire()

    Writer(wire)(1, 7, PUBLISH, ARGS, message("text"))

    assert b"".join(wire.written) == theirs(message("text"))


def test_header_that_cannot_be_written_leaves_nothing() -> None:
    """A message that is no message of AMQP is an error, and not even begun."""
    wire: Any = Wire()
    writer = Writer(wire)

    with pytest.raises(FrameSyntaxError, match="b'tenant'"):
        writer(1, 7, PUBLISH, ARGS, message(application_headers={"tenant": object()}))
    writer.flush(1)

    assert wire.written == []


def test_messages_are_written_at_once() -> None:
    """Messages wait for the word, and leave together, in order."""
    wire: Any = Wire()
    writer = Writer(wire)
    writer(1, 7, PUBLISH, ARGS, message(b"first"))
    writer(1, 7, PUBLISH, ARGS, message(b"second"))
    before = list(wire.written)

    writer.flush(0.25)
    writer.flush(0.5)

    assert before == []
    assert wire.bytes_sent == 2
    assert wire.written == [theirs(message(b"first")) + theirs(message(b"second"))]
    assert wire.timeouts == [0.25]


def test_other_methods_wait_for_no_word() -> None:
    """What is no message is written at once, after the messages before it."""
    wire: Any = Wire()
    writer = Writer(wire)
    writer(1, 7, PUBLISH, ARGS, message())

    writer(1, 7, DECLARE, b"\x00", None)

    assert len(wire.written) == 2
    assert wire.written[0] == theirs(message())


def test_much_is_written_in_portions() -> None:
    """Large messages do not wait until all are there."""
    wire: Any = Wire()
    writer = Writer(wire)
    writer(1, 7, PUBLISH, ARGS, message())
    writer.make_room(1)
    few = len(wire.written)

    writer(1, 7, PUBLISH, ARGS, message(b"x" * 100_000))
    writer.make_room(1)

    assert (few, len(wire.written)) == (0, 1)


def test_py_amqp_looks_no_more_before_each_message() -> None:
    """The connection writes by us, and what it has told the broker stays otherwise."""
    told = {
        "product": "py-amqp",
        "capabilities": {"connection.blocked": True, "a": True},
    }
    wire: Any = Wire(client_properties=told)
    writer = Writer(wire)

    writer.take_over()

    assert wire.frame_writer is writer
    assert wire.client_properties == {
        "product": "py-amqp",
        "capabilities": {"connection.blocked": False, "a": True},
    }
    assert told["capabilities"] == {"connection.blocked": True, "a": True}


def test_silence_is_no_error() -> None:
    """Whoever reads what the broker says goes on when it says nothing."""
    wire: Any = Wire(said=["ack"])
    writer = Writer(wire)

    writer.read(0)
    writer.read(0)

    assert wire.said == []
