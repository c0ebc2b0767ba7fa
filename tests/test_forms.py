"""How enums, named tuples and dataclasses travel once they are registered."""

import dataclasses
import enum
import functools
from collections import namedtuple
from typing import Any, Generic, NamedTuple, TypeVar

import pytest

from signal_tasks.codec import Codec
from signal_tasks.exceptions import DecodeError, EncodeError, RegistrationError
from tests.exactness import exactly, travel

T = TypeVar("T")


class Color(enum.Enum):
    RED = "r"
    CRIMSON = "r"  # noqa: PIE796 - an alias
    BLUE = ("b", 1)

    @classmethod
    def _missing_(cls, value: object) -> Any:
        stray = object.__new__(cls)
        stray._name_, stray._value_ = "STRAY", value
        return stray


class Level(enum.IntEnum):
    LOW = 1


class Tone(enum.StrEnum):
    WARM = "warm"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Known(enum.Flag, boundary=enum.CONFORM):
    READ = 1


class Mode(enum.IntFlag):
    FAST = 1


OldPoint = namedtuple("OldPoint", "x y")  # noqa: PYI024 - both kinds travel


class Point(NamedTuple):
    x: int
    y: Any = 0


class PointWithNotes(namedtuple("PointWithNotes", "x y")):  # noqa: PYI024, SLOT002
    """A named tuple that has room for attributes."""


@dataclasses.dataclass
class Order:
    number: int
    lines: list[Any] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def total(self) -> int:
        return sum(self.lines)

    def send(self) -> None:
        """Do nothing; that it is a method matters."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    label: str
    at: Any = None


@dataclasses.dataclass
class Account:
    """Everything that dataclasses can do to fields."""

    password: dataclasses.InitVar[str]
    name: str
    digest: str = dataclasses.field(init=False)
    visits: int = dataclasses.field(default=3, init=False)

    def __post_init__(self, password: str) -> None:
        self.digest = password[::-1]


@dataclasses.dataclass
class Strict:
    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("never below zero")


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


class Slotted:
    __slots__ = ("__hidden", "seen")

    def hide(self, value: object) -> None:
        self.__hidden = value


@dataclasses.dataclass
class Child(Slotted):
    __slots__ = ("name",)
    name: str


@dataclasses.dataclass
class Rows(list):
    title: str = ""


@dataclasses.dataclass
class OrderError(Exception):
    number: int


@dataclasses.dataclass
class Named(str):
    __slots__ = ()


@pytest.fixture
def codec() -> Codec:
    """Make a codec that knows the types above."""
    codec = Codec()
    for cls in (Color, Level, Tone, Right, Known, Mode, OldPoint, Point):
        codec.register(cls)
    for cls in (PointWithNotes, Order, Pin, Account, Strict, Box, Child):
        codec.register(cls)
    return codec


WIRE_FORMS = {
    "enum": (Color.BLUE, "Color", "BLUE"),
    "alias": (Color.CRIMSON, "Color", "RED"),
    "int enum": (Level.LOW, "Level", "LOW"),
    "str enum": (Tone.WARM, "Tone", "WARM"),
    "flag": (Right.WRITE, "Right", 2),
    "flags": (Right.READ | Right.WRITE, "Right", 3),
    "no flag": (Right(0), "Right", 0),
    "int flag": (Mode.FAST, "Mode", 1),
    "unknown bits": (Mode(9), "Mode", 9),
    "many bits": (Mode(2**64), "Mode", {"~int": "10000000000000000"}),
    "named tuple": (OldPoint(1, 2), "OldPoint", {"x": 1, "y": 2}),
    "typed named tuple": (Point(1), "Point", {"x": 1, "y": 0}),
    "derived named tuple": (PointWithNotes(1, 2), "PointWithNotes", {"x": 1, "y": 2}),
    "dataclass": (Order(1, [2]), "Order", {"number": 1, "lines": [2]}),
    "frozen and slotted": (Pin(label="a"), "Pin", {"label": "a", "at": None}),
    "init-only": (
        Account("abc", "Ann"),
        "Account",
        {"name": "Ann", "digest": "cba", "visits": 3},
    ),
    "generic": (Box[int](1), "Box", {"content": 1}),
    "slots of a base": (Child("a"), "Child", {"name": "a"}),
}


@pytest.mark.parametrize(
    ("value", "name", "content"), WIRE_FORMS.values(), ids=WIRE_FORMS.keys()
)
def test_registered_types_have_a_form(
    codec: Codec, value: object, name: str, content: object
) -> None:
    """Enums go by name, flags by bits, records by their fields, and all come back."""
    assert codec.encode(value, path="value") == {f"~{__name__}.{name}": content}
    assert exactly(travel(codec, value)) == exactly(value)


def test_records_can_stand_in_each_other(codec: Codec) -> None:
    """Dataclasses, named tuples and enums travel at any depth, as keys too."""
    value = {
        Pin(label="a", at=Point(1, Right.READ)): Order(1, [Order(2), (Level.LOW,)])
    }

    assert exactly(travel(codec, value)) == exactly(value)


def test_dataclasses_come_back_as_they_were(codec: Codec) -> None:
    """No __init__ or __post_init__ runs, so even an impossible state arrives."""
    value = Strict(1)
    value.count = -1

    arrived = travel(codec, value)

    assert arrived.count == -1
    with pytest.raises(ValueError, match="below zero"):
        dataclasses.replace(arrived)


def test_cached_properties_are_left_behind(codec: Codec) -> None:
    """What a cached property remembers does not travel, and is computed anew."""
    order = Order(1, [1, 2])
    assert order.total == 3

    arrived = travel(codec, order)

    assert vars(arrived) == {"number": 1, "lines": [1, 2]}
    assert arrived.total == 3


def with_attribute(value: Any, name: str) -> object:
    """Give *value* an attribute."""
    setattr(value, name, "somebody's data")
    return value


def with_hidden(child: Child) -> Child:
    """Give *child* what only its base class knows of."""
    child.hide("somebody's data")
    return child


EXTRAS = {
    "attribute": (with_attribute(Order(1), "note"), "attribute 'note'"),
    "method": (with_attribute(Order(1), "send"), "attribute 'send'"),
    "odd name": (with_attribute(Order(1), "a b"), "an unusual name"),
    "slot": (with_attribute(Child("a"), "seen"), "attribute 'seen'"),
    "private slot": (with_hidden(Child("a")), "attribute '_Slotted__hidden'"),
    "named tuple": (with_attribute(PointWithNotes(1, 2), "note"), "attribute 'note'"),
}


@pytest.mark.parametrize(("value", "told"), EXTRAS.values(), ids=EXTRAS.keys())
def test_attributes_outside_the_fields_are_refused(
    codec: Codec, value: object, told: str
) -> None:
    """An attribute that would be lost is an EncodeError that names it."""
    with pytest.raises(EncodeError, match=told) as caught:
        codec.encode({"order": value}, path="kwargs")

    assert caught.value.path == "kwargs['order']"
    assert "somebody" not in str(caught.value)


def test_fields_without_a_value_are_refused(codec: Codec) -> None:
    """A field that was never set is an EncodeError that names it."""
    account = Account("abc", "Ann")
    del account.digest

    with pytest.raises(EncodeError, match="field 'digest' has no value"):
        codec.encode(account, path="value")


def test_members_that_are_not_listed_are_refused(codec: Codec) -> None:
    """A member that _missing_ made up could not be found by its name."""
    with pytest.raises(EncodeError, match="not one of the members"):
        codec.encode(Color("other"), path="value")


WRONG_FIELDS = {
    "missing": ({"number": 1}, "field 'lines' is missing"),
    "unknown": ({"number": 1, "lines": [], "vat": 2}, "field 'vat' is unknown here"),
    "odd name": ({"number": 1, "lines": [], "a b": 2}, "an unusual name"),
}


@pytest.mark.parametrize(
    ("content", "told"), WRONG_FIELDS.values(), ids=WRONG_FIELDS.keys()
)
def test_other_fields_than_expected_are_refused(
    codec: Codec, content: Any, told: str
) -> None:
    """A record from another version of the class is refused, naming the field."""
    with pytest.raises(DecodeError, match=told) as caught:
        codec.decode([{f"~{__name__}.Order": content}], path="value")

    assert caught.value.path == "value[0]"
    assert caught.value.tag == f"{__name__}.Order"


DAMAGED = {
    "unknown member": ("Color", "GREEN"),
    "member by its value": ("Color", "r"),
    "member that is no text": ("Color", ["RED"]),
    "unknown bits": ("Right", 4),
    "bits that would be dropped": ("Known", 3),
    "bits that are no number": ("Right", "READ"),
    "bits that are a bool": ("Right", True),
    "named tuple without fields": ("Point", [1, 2]),
    "named tuple with other fields": ("Point", {"x": 1}),
    "dataclass without fields": ("Order", "number"),
}


@pytest.mark.parametrize(("name", "content"), DAMAGED.values(), ids=DAMAGED.keys())
def test_content_that_does_not_fit_is_refused(
    codec: Codec, name: str, content: Any
) -> None:
    """Content that the type does not give is a DecodeError that names the tag."""
    with pytest.raises(DecodeError) as caught:
        codec.decode({f"~{__name__}.{name}": content}, path="value")

    assert caught.value.tag == f"{__name__}.{name}"


@pytest.mark.parametrize("cls", [Rows, Named])
def test_dataclasses_of_built_in_types_need_functions(codec: Codec, cls: Any) -> None:
    """A dataclass that is a container or text too has more than fields."""
    with pytest.raises(RegistrationError, match="attrs classes of no built-in type"):
        codec.register(cls)


def test_functions_go_before_the_fields(codec: Codec) -> None:
    """A dataclass of a built-in type travels by the functions it is given."""
    codec.register(OrderError, lambda error: error.number, OrderError)

    assert travel(codec, OrderError(5)).number == 5


@pytest.mark.parametrize("value", [Color.RED, Point(1), Order(1)], ids=repr)
def test_the_mend_for_records_is_one_call(value: object) -> None:
    """The error for an unregistered record shows the call that needs no functions."""
    with pytest.raises(EncodeError) as caught:
        Codec().encode(value, path="value")

    assert f"register_type({type(value).__name__}) where" in caught.value.reason


def test_the_mend_for_other_objects_is_two_ways() -> None:
    """The error for any other object shows both how to register and how to avoid it."""
    with pytest.raises(EncodeError) as caught:
        Codec().encode(Slotted(), path="value")

    assert "register_type(Slotted, encode, decode)" in caught.value.reason
    assert "extract=" in caught.value.reason


class PaymentRefusedError(Exception):
    """An error as people write them: its constructor does not take its args."""

    def __init__(self, order: str, *, code: int) -> None:
        super().__init__(f"order {order} was refused")
        self.code = code


def raised(error: Exception) -> Exception:
    """Return *error* with a traceback and a cause."""
    try:
        raise error from KeyError("the cause")  # noqa: TRY301
    except Exception as caught:  # noqa: BLE001
        return caught


def test_exception_comes_back_as_it_was(codec: Codec) -> None:
    """A registered exception has its class, arguments and attributes again."""
    codec.register(PaymentRefusedError)

    error = travel(codec, PaymentRefusedError("A-1", code=7))

    assert type(error) is PaymentRefusedError
    assert str(error) == "order A-1 was refused"
    assert error.code == 7


def test_exception_brings_its_traceback_as_text(codec: Codec) -> None:
    """Where and why an exception was raised can be read in the worker."""
    codec.register(PaymentRefusedError)

    error: Any = travel(codec, raised(PaymentRefusedError("A-1", code=7)))

    assert "in raised" in error.traceback_text
    assert "KeyError: 'the cause'" in error.traceback_text


def test_exception_keeps_the_text_of_its_first_traceback(codec: Codec) -> None:
    """One that is sent on by a handler still tells where it was raised first."""
    codec.register(PaymentRefusedError)
    error: Any = travel(codec, raised(PaymentRefusedError("A-1", code=7)))

    again: Any = travel(codec, error)

    assert again.traceback_text == error.traceback_text


def test_dataclass_exception_keeps_its_fields(codec: Codec) -> None:
    """The fields of an exception that is a dataclass too are its attributes."""
    codec.register(OrderError)

    error: Any = travel(codec, OrderError(7))

    assert type(error) is OrderError
    assert error.number == 7


def test_exception_with_hidden_state_is_refused(codec: Codec) -> None:
    """An exception that keeps more than args and attributes is not sent by halves."""
    codec.register(UnicodeDecodeError)
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")

    with pytest.raises(EncodeError, match="keeps more than its args"):
        codec.encode(error, path="exc")
