"""Records of other libraries come back in the state that they were in, or do not leave."""

import functools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_tasks.codec import Codec
from signal_tasks.exceptions import DecodeError, EncodeError, RegistrationError
from tests.exactness import travel

T = TypeVar("T")


@attrs.define
class Address:
    street: Any
    _note: Any = None


@attrs.frozen
class Price:
    amount: Any
    currency: str = attrs.field(default="EUR", converter=str.upper)


@attrs.define(slots=False)
class Parcel:
    weight: Any
    label: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.label = f"parcel of {self.weight}"

    @functools.cached_property
    def postage(self) -> int:
        return 7


@attrs.define
class Box(Generic[T]):
    content: T


@attrs.define
class Heirloom(Address):
    age: int = 0


class PlainHeir(Address):
    """Has a ``__dict__``, which no attrs class above has."""


class Line(pydantic.BaseModel):
    sku: str
    count: int = 1
    sold_at: datetime | None = None


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", arbitrary_types_allowed=True)

    number: int
    lines: list[Line] = []
    price: Price | None = None

    _seen_by: list[str] = pydantic.PrivateAttr(default_factory=list)
    _never_set: int

    @functools.cached_property
    def total(self) -> int:
        return sum(line.count for line in self.lines)


class Receipt(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    number: int = pydantic.Field(alias="no")
    old_number: int = pydantic.Field(default=0, deprecated=True)

    @pydantic.field_validator("number")
    @classmethod
    def _is_positive(cls, number: int) -> int:
        assert number > 0
        return number


class Tags(pydantic.RootModel[list[str]]):
    """A model that is one value."""


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Slotted(pydantic.BaseModel):
    __slots__ = ("memo",)

    number: int = 0


class Stop(msgspec.Struct):
    name: Any
    minutes: Any = 0


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    stops: Any
    zone: str = "A"


class Journey(Stop, tag="journey", array_like=True):
    via: Any = None
    minutes: Any = 1


class Counted(msgspec.Struct):
    uses: int

    def __post_init__(self) -> None:
        self.uses += 1


class Picky(msgspec.Struct):
    uses: int

    def __post_init__(self) -> None:
        if self.uses > 1:
            raise ValueError("too many")


class Loose(msgspec.Struct, dict=True):
    name: str

    @functools.cached_property
    def shout(self) -> str:
        return self.name.upper()


RECORDS = (
    *(Address, Price, Parcel, Box, Heirloom, PlainHeir),
    *(Line, Order, Receipt, Tags, Page[Line], Slotted),
    *(Stop, Ticket, Journey, Counted, Picky, Loose),
)


def make_codec() -> Codec:
    """Return a codec that knows all records of this module."""
    codec = Codec()
    for cls in RECORDS:
        codec.register(cls)
    return codec


CODEC = make_codec()


def order() -> Order:
    """Return a model with something of all that a model can keep."""
    made = Order(number=1, lines=[Line(sku="a", count=2)], colour="red")
    made._seen_by.append("Ada")
    return made


VALUES = {
    "attrs": Address("Main Street", note="ring twice"),
    "frozen attrs, whose converter ran": Price(Decimal("1.10"), "eur"),
    "attrs with an attribute that __init__ does not take": Parcel(3),
    "generic attrs": Box(Box((1, 2))),
    "attrs that derive from attrs": Heirloom("Elm Road", age=90),
    "a plain class that derives from attrs": PlainHeir("Elm Road"),
    "pydantic": Line(sku="a", sold_at=datetime(2026, 1, 2, tzinfo=UTC)),
    "pydantic with pydantic, attrs, extras and private attributes": order(),
    "frozen pydantic with an alias": Receipt(no=1),
    "pydantic that no validator would accept": Receipt.model_construct(number=-1),
    "pydantic root model": Tags(["a", "b"]),
    "generic pydantic": Page[Line](items=[Line(sku="a")]),
    "pydantic with an empty slot": Slotted(number=3),
    "msgspec": Stop("Bank", minutes=4),
    "frozen msgspec with keywords only": Ticket(stops=(Stop("Bank"),), zone="B"),
    "msgspec that derives from msgspec": Journey("Bank", 3, "Monument"),
    "msgspec that changes itself": Counted(uses=1),
    "msgspec with a dict": Loose("bank"),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_records_come_back_as_they_were(value: object) -> None:
    """A registered record arrives with the same type and the same state."""
    arrived = travel(CODEC, value)

    assert type(arrived) is type(value)
    assert arrived == value
    assert arrived is not value


def test_pydantic_keeps_which_fields_were_set() -> None:
    """A field with its default value is told from one that was set to it."""
    arrived = travel(CODEC, [Line(sku="a"), Line(sku="a", count=1, sold_at=None)])

    assert [line.model_fields_set for line in arrived] == [
        {"sku"},
        {"sku", "count", "sold_at"},
    ]
    assert arrived[0].model_dump(exclude_unset=True) == {"sku": "a"}


def test_pydantic_keeps_extras_and_private_attributes() -> None:
    """What a model keeps beside its fields travels too, if it is Pydantic's to keep."""
    arrived = travel(CODEC, order())

    assert arrived.model_extra == {"colour": "red"}
    assert arrived._seen_by == ["Ada"]
    with pytest.raises(AttributeError):
        arrived._never_set  # noqa: B018  # that it raises is the point


def test_pydantic_wire_form_shows_fields_by_name() -> None:
    """Fields stand under their names, the rest under names that no field can have."""
    line = "~tests.test_records.Line"

    all_set = CODEC.encode(Line(sku="a", count=2, sold_at=None), path="line")
    some_set = CODEC.encode(Line(sku="a", count=2), path="line")
    rich = CODEC.encode(order(), path="order")

    assert all_set == {line: {"sku": "a", "count": 2, "sold_at": None}}
    assert some_set[line].pop("_set") == ["count", "sku"]
    assert some_set == all_set
    assert rich["~tests.test_records.Order"] == {
        "number": 1,
        "lines": [CODEC.encode(Line(sku="a", count=2), path="line")],
        "price": None,
        "_set": ["colour", "lines", "number"],
        "_extra": {"colour": "red"},
        "_private": {"_seen_by": ["Ada"]},
    }


def test_cached_properties_are_computed_anew() -> None:
    """What a cached property remembers does not travel, and is no reason not to."""
    parcel, order_, loose = Parcel(3), order(), Loose("bank")
    assert (parcel.postage, order_.total, loose.shout) == (7, 2, "BANK")

    arrived = travel(CODEC, [parcel, order_, loose])

    assert not any({"postage", "total", "shout"} & set(vars(one)) for one in arrived)
    assert [arrived[0].postage, arrived[1].total, arrived[2].shout] == [7, 2, "BANK"]


def with_stray(value: Any) -> Any:
    """Return *value* with an attribute that is no field."""
    vars(value)["stray"] = "s3cret"
    return value


def with_filled_slot() -> Slotted:
    """Return a model with a value in the slot that is no field."""
    slotted = Slotted()
    object.__setattr__(slotted, "memo", "s3cret")
    return slotted


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (with_stray(Parcel(3)), "stray"),
        (with_stray(PlainHeir("Elm Road")), "stray"),
        (with_stray(Loose("bank")), "stray"),
        (with_stray(Line(sku="a")), "stray"),
        (with_filled_slot(), "memo"),
    ],
    ids=["attrs", "heir of attrs", "msgspec", "pydantic", "slot of pydantic"],
)
def test_stray_attributes_keep_a_record_at_home(value: object, name: str) -> None:
    """A record with an attribute beside its fields is not sent, and the error says so."""
    with pytest.raises(
        EncodeError, match=f"its attribute '{name}' is no field"
    ) as caught:
        CODEC.encode([value], path="kwargs['it']")

    assert caught.value.path == "kwargs['it'][0]"
    assert "s3cret" not in str(caught.value)


def unfinished_struct() -> Stop:
    """Return a struct that lost a field."""
    stop = Stop("Bank")
    del stop.minutes
    return stop


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Parcel.__new__(Parcel), "weight"),
        (Line.model_construct(count=1), "sku"),
        (unfinished_struct(), "minutes"),
    ],
    ids=["attrs", "pydantic", "msgspec"],
)
def test_fields_without_a_value_are_named(value: object, name: str) -> None:
    """A record of which a field has no value is not sent, and the error names the field."""
    with pytest.raises(EncodeError, match=f"its field '{name}' has no value"):
        CODEC.encode(value, path="it")


def test_places_inside_records_read_as_attributes() -> None:
    """The path to what cannot travel goes through fields by their names."""
    stop = Stop(Address(order().model_copy(update={"price": open})))

    with pytest.raises(EncodeError) as caught:
        CODEC.encode(stop, path="kwargs['stop']")

    assert caught.value.path == "kwargs['stop'].name.street.price"


@pytest.mark.parametrize(
    ("label", "content", "fault"),
    [
        ("Stop", {"name": "Bank"}, "the field 'minutes' is missing"),
        (
            "Stop",
            {"name": "Bank", "minutes": 1, "hat": 2},
            "the field 'hat' is unknown",
        ),
        ("Address", {"street": "Elm Road"}, "the field '_note' is missing"),
        ("Line", {"sku": "a", "count": 1}, "the field 'sold_at' is missing"),
        ("Tags", {"root": [], "_extras": 1}, "the field '_extras' is unknown"),
    ],
)
def test_records_of_another_version_are_refused(
    label: str, content: Any, fault: str
) -> None:
    """Fields have to be the same in sender and worker, and the error names the odd one."""
    with pytest.raises(DecodeError, match=fault):
        CODEC.decode({f"~tests.test_records.{label}": content}, path="it")


def test_struct_that_refuses_its_state_is_refused() -> None:
    """A struct's ``__post_init__`` runs in the worker, and what it raises is an error."""
    picky = Picky(uses=1)
    picky.uses = 2
    tree = CODEC.encode(picky, path="it")

    with pytest.raises(DecodeError, match="raised ValueError"):
        CODEC.decode(tree, path="it")


def test_pydantic_dataclass_travels_as_a_dataclass() -> None:
    """A dataclass of Pydantic is a dataclass, fields and all."""
    codec = Codec()
    cls = pydantic.dataclasses.dataclass(PlainPoint)
    codec.register(cls)

    assert travel(codec, cls(x=1)) == cls(x=1)


class PlainPoint:
    x: int


def test_attrs_exceptions_need_functions() -> None:
    """An attrs class that derives from a built-in type keeps state that no field shows."""

    @attrs.define
    class RefusedError(Exception):
        why: str

    with pytest.raises(RegistrationError, match="attrs classes of no built-in type"):
        Codec().register(RefusedError)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_unregistered_records_say_how_to_register_them(value: object) -> None:
    """A record of a type that nobody registered is not sent, and the error says how."""
    with pytest.raises(EncodeError, match=r"Add register_type\("):
        Codec().encode(value, path="it")


class Pair(NamedTuple):
    left: Any
    right: Any


CODEC.register(Pair)

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(),
    st.binary(),
    st.decimals("0", "9"),
)
lines = st.builds(
    Line, sku=st.text(), count=st.integers(), sold_at=st.none() | st.datetimes()
)
records = st.recursive(
    leaves | lines,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.builds(Address, inner, inner),
        st.builds(Price, inner, st.text()),
        st.builds(Parcel, inner),
        st.builds(Heirloom, inner, inner, st.integers()),
        st.builds(Stop, inner, inner),
        st.builds(Journey, inner, inner, inner),
        st.builds(lambda stops: Ticket(stops=stops), inner),
        st.builds(Pair, inner, inner),
        st.builds(
            lambda number, more, items: Order(number=number, more=more, lines=items),
            st.integers(),
            inner,
            st.lists(lines, max_size=2),
        ),
    ),
    max_leaves=10,
)


@given(records)
def test_any_record_comes_back_as_it_was(value: object) -> None:
    """Whatever records hold, each other included, arrives with the same types and values."""
    arrived = travel(CODEC, value)

    assert arrived == value
    assert repr(arrived) == repr(value)
