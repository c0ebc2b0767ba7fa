"""Types travel because a handler's annotations name them."""

# ruff: noqa: D103  # these handlers are nothing but their annotations

from __future__ import annotations

import enum
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from blinker import Signal
from hypothesis import given
from hypothesis import strategies as st

from signal_tasks import Bridge
from signal_tasks.exceptions import EncodeError, RegistrationError
from signal_tasks.typing import Handler
from tests.exactness import travel
from tests.in_memory import Broker

T = TypeVar("T")


class Size(enum.Enum):
    SMALL = "s"


@dataclass
class Shelf:
    row: Any


class Point(NamedTuple):
    x: Any


@attrs.define
class Price:
    cents: Any


class Line(pydantic.BaseModel):
    sku: str


class Stop(msgspec.Struct):
    name: Any


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Unnamed:
    x: int


class Money:
    """A class that cannot travel without functions."""


VALUES = (
    *(Size.SMALL, Shelf(1), Point(2), Price(3)),
    *(Line(sku="a"), Stop("Bank"), Box(4)),
)


def plain(sender: object, value: Shelf) -> None: ...
def optional(sender: object, value: Shelf | None = None) -> None: ...
def old_optional(sender: object, value: Optional[Shelf]) -> None: ...  # noqa: UP045
def in_list(sender: object, values: list[Shelf]) -> None: ...
def nested(sender: object, values: dict[str, tuple[int | Shelf, ...]]) -> None: ...
def annotated(sender: object, value: Annotated[Shelf, "any", open]) -> None: ...
def extra(sender: object, **extra: Shelf) -> None: ...
def as_class(sender: type[Shelf]) -> None: ...
def parametrised(sender: object, value: Box[Shelf]) -> None: ...
async def coroutine(sender: object, value: Shelf) -> None: ...


@functools.wraps(plain)
def wrapper(*args: object, **kwargs: object) -> None: ...


class Desk:
    def method(self, sender: object, value: Shelf) -> None: ...
    def __call__(self, sender: object, value: Shelf) -> None: ...

    @classmethod
    def class_method(cls, sender: object, value: Shelf) -> None: ...


def names_all(
    sender: object,
    *,
    size: Size,
    shelf: Shelf,
    point: Point,
    price: Price,
    line: Line,
    stop: Stop,
    box: Box[int],
) -> None: ...


def names_nothing_that_travels(
    sender: object,
    *,
    money: Money,
    text: Literal["a", "b"],
    function: Callable[[int], str],
    anything: Any,
    nothing: None,
) -> Unnamed: ...


def listen(bridge: Bridge, handler: Handler) -> None:
    """Make *handler* a receiver of *bridge*."""
    bridge.async_receiver(Signal(), name="handler")(handler)


@pytest.fixture
def scratch() -> Iterator[ModuleType]:
    """Return a module for a test to fill."""
    module = ModuleType("scratch")
    sys.modules["scratch"] = module
    yield module
    del sys.modules["scratch"]


def define(module: ModuleType, source: str) -> None:
    """Run *source* as the code of *module*."""
    exec(compile(source, module.__name__, "exec", dont_inherit=True), vars(module))


HANDLERS = {
    "plain": plain,
    "union with None": optional,
    "typing.Optional": old_optional,
    "list": in_list,
    "nested generics": nested,
    "Annotated": annotated,
    "extra keywords": extra,
    "type[...]": as_class,
    "argument of a generic": parametrised,
    "coroutine": coroutine,
    "wrapper": wrapper,
    "bound method": Desk().method,
    "class method": Desk.class_method,
    "object that can be called": Desk(),
    "partial": functools.partial(plain),
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
def test_annotated_type_travels(handler: Handler) -> None:
    """A type that a parameter of a handler names, however deep, needs no registration."""
    bridge = Bridge()

    listen(bridge, handler)

    assert travel(bridge.codec, Shelf(1)) == Shelf(1)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_all_that_needs_no_functions_travels(value: object) -> None:
    """Enums and records of every kind are registered by an annotation."""
    bridge = Bridge()

    listen(bridge, names_all)

    assert travel(bridge.codec, value) == value


def test_worker_registers_by_annotation_too() -> None:
    """A worker that was sent nothing yet knows the types that its handlers name."""
    sender, worker = Bridge(), Bridge()
    listen(sender, plain)
    listen(worker, plain)
    tree = sender.codec.encode(Shelf(1), path="it")

    assert worker.codec.decode(tree, path="it") == Shelf(1)


@pytest.mark.parametrize("value", [Unnamed(1), Money()], ids=["returned", "class"])
def test_other_annotations_are_ignored(value: object) -> None:
    """What a handler returns is not registered, nor is a type that needs functions."""
    bridge = Bridge()
    listen(bridge, names_nothing_that_travels)

    with pytest.raises(EncodeError, match="no tag is registered"):
        bridge.codec.encode(value, path="it")


def test_registration_with_functions_wins_in_any_order() -> None:
    """A type that is registered after the handler, with functions, travels by these."""
    bridge = Bridge()
    listen(bridge, plain)

    bridge.register_type(Shelf, lambda shelf: [shelf.row], lambda rows: Shelf(rows[0]))

    assert travel(bridge.codec, [Shelf(1), Size.SMALL.value]) == [Shelf(1), "s"]
    assert "row" not in str(bridge.codec.encode(Shelf(1), path="it"))


def test_registration_with_functions_survives_an_unknown_type() -> None:
    """Looking at annotations does not touch what was registered by hand before."""
    bridge = Bridge()
    bridge.register_type(Shelf, lambda shelf: [shelf.row], lambda rows: Shelf(rows[0]))
    listen(bridge, names_all)

    assert travel(bridge.codec, [Point(1), Shelf(1)]) == [Point(1), Shelf(1)]
    assert "row" not in str(bridge.codec.encode(Shelf(1), path="it"))


def test_type_travels_by_annotation_before_registration_by_hand_is_refused() -> None:
    """Once values travel by what an annotation says, other functions come too late."""
    bridge = Bridge()
    listen(bridge, plain)
    bridge.codec.encode(Shelf(1), path="it")

    with pytest.raises(RegistrationError, match="Register it once"):
        bridge.register_type(Shelf, vars, lambda fields: Shelf(**fields))


def test_name_that_is_defined_later_is_found(scratch: ModuleType) -> None:
    """A handler may name a class that its module defines below it."""
    bridge = Bridge()
    define(scratch, "def handle(sender, early: 'Early', late: 'Late'): ...")
    listen(bridge, scratch.handle)

    scratch.Early, scratch.Late = Shelf, Point

    assert travel(bridge.codec, [Shelf(1), Point(2)]) == [Shelf(1), Point(2)]


def test_unknown_name_leaves_the_other_parameters_alone(scratch: ModuleType) -> None:
    """A name that only type checkers see is ignored, and the rest is registered."""
    bridge = Bridge()
    define(
        scratch,
        "def handle(sender, hidden: 'Hidden', odd: '1 / 0', deep: 'list[Hidden]',"
        " known: 'Known'): ...",
    )
    scratch.Known = Shelf
    listen(bridge, scratch.handle)

    assert travel(bridge.codec, Shelf(1)) == Shelf(1)


def test_unknown_name_is_tried_again_after_an_import(
    scratch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is looked up again once another module has been imported."""
    bridge = Bridge()
    define(scratch, "def handle(sender, late: 'Late'): ...")
    listen(bridge, scratch.handle)
    with pytest.raises(EncodeError):
        bridge.codec.encode(Shelf(1), path="it")
    scratch.Late = Shelf
    with pytest.raises(EncodeError):
        bridge.codec.encode(Shelf(1), path="it")

    monkeypatch.setitem(sys.modules, "scratch_of_shelves", ModuleType("shelves"))

    assert travel(bridge.codec, Shelf(1)) == Shelf(1)


def test_second_handler_is_looked_at_too() -> None:
    """A handler that is declared after something was unknown is looked at as well."""
    bridge = Bridge()
    listen(bridge, names_nothing_that_travels)
    with pytest.raises(EncodeError):
        bridge.codec.encode(Shelf(1), path="it")

    bridge.async_receiver(Signal(), name="second")(plain)

    assert travel(bridge.codec, Shelf(1)) == Shelf(1)


def test_builtin_handler_has_no_annotations() -> None:
    """A handler written in C is no obstacle."""
    bridge = Bridge()
    listen(bridge, print)
    listen_too = bridge.async_receiver(Signal(), name="second")
    listen_too(plain)

    assert travel(bridge.codec, Shelf(1)) == Shelf(1)


def test_handler_gets_what_its_annotation_names(
    bridge: Bridge, signal: Signal, broker: Broker
) -> None:
    """A record goes from a send to the handler without anybody having registered it."""
    received = []

    @bridge.async_receiver(signal, name="keep")
    def keep(sender: object, shelf: Shelf) -> None:
        received.append(shelf)

    signal.send(None, shelf=Shelf([Shelf(1)]))
    broker.run()

    assert received == [Shelf([Shelf(1)])]


LISTENING = Bridge()
listen(LISTENING, names_all)

values = st.recursive(
    st.sampled_from(Size) | st.integers() | st.text() | st.builds(Line, sku=st.text()),
    lambda inner: st.one_of(
        *(st.builds(kind, inner) for kind in (Shelf, Point, Price, Stop, Box)),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@given(values)
def test_any_annotated_record_comes_back_as_it_was(value: object) -> None:
    """Whatever annotated types hold, each other included, arrives as it was."""
    arrived = travel(LISTENING.codec, value)

    assert arrived == value
    assert repr(arrived) == repr(value)
