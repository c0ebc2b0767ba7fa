"""When a registration renews a tag, and when it is refused."""

import enum
from typing import Any

import pytest

from signal_tasks.codec import Codec
from signal_tasks.exceptions import EncodeError, RegistrationError


class Color(enum.Enum):
    RED = 1


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


class Coin:
    """Another class."""


def cents_of(money: Any) -> object:
    """Encode."""
    return money.cents


def of_cents(cents: Any) -> Any:
    """Decode."""
    return Money(cents)


def class_named_money() -> Any:
    """Make the class anew, as reloading its module does."""
    return type("Money", (), {"__module__": __name__, "cents": 1})


@pytest.fixture
def codec() -> Codec:
    """Make a codec that knows Money by a tag of that name."""
    codec = Codec()
    codec.register(Money, cents_of, of_cents, "money")
    return codec


def test_registering_the_same_again_is_harmless(codec: Codec) -> None:
    """A type may be registered twice in the same way."""
    codec.register(Money, cents_of, of_cents, "money")
    codec.register(Color)
    codec.register(Color)

    tree = codec.encode([Money(5), Color.RED], path="value")

    assert tree == [{"~money": 5}, {f"~{__name__}.Color": "RED"}]


def test_an_application_factory_may_run_twice() -> None:
    """Functions made by the same lines count as the same; the latest one is used."""
    codec = Codec()

    def create_app(factor: int) -> None:
        codec.register(Money, lambda money: money.cents * factor, of_cents)

    create_app(1)
    create_app(10)

    assert codec.encode(Money(5), path="value") == {f"~{__name__}.Money": 50}


def test_built_in_functions_can_be_compared_too(codec: Codec) -> None:
    """Functions without code of their own are the same when they are equal."""
    codec.register(Coin, str, int)
    codec.register(Coin, str, int)

    with pytest.raises(RegistrationError, match="travels already"):
        codec.register(Coin, repr, int)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((Money, cents_of, of_cents), {}),
        ((Money, cents_of, of_cents, "cash"), {}),
        ((Money, repr, of_cents, "money"), {}),
        ((Money, cents_of, repr, "money"), {}),
        ((Money, cents_of, of_cents, "money"), {"subclasses": True}),
    ],
    ids=["no tag", "another tag", "another encode", "another decode", "subclasses"],
)
def test_registering_a_type_differently_is_refused(
    codec: Codec, arguments: Any, options: Any
) -> None:
    """A type that travels already keeps its way; the error names its tag."""
    with pytest.raises(RegistrationError, match=r"Money: it travels .* tag 'money'"):
        codec.register(*arguments, **options)

    assert codec.encode(Money(5), path="value") == {"~money": 5}
    assert codec.decode({"~money": 5}, path="value").cents == 5


def test_a_tag_belongs_to_one_type(codec: Codec) -> None:
    """A tag that another type has is refused, and the error names that type."""
    with pytest.raises(RegistrationError, match=r"tag 'money': .*\.Money has it"):
        codec.register(Coin, cents_of, of_cents, "money")


def test_a_reloaded_class_takes_the_place_of_the_old_one(codec: Codec) -> None:
    """A new class of the same name is what travels, and what arrives, from then on."""
    reloaded = class_named_money()

    codec.register(reloaded, lambda money: 7, lambda content: reloaded(), "money")

    assert codec.encode(reloaded(), path="value") == {"~money": 7}
    assert type(codec.decode({"~money": 7}, path="value")) is reloaded
    with pytest.raises(EncodeError):
        codec.encode(Money(5), path="value")


def is_shiny(cls: type[object]) -> bool:
    """Tell whether the class says of itself that it shines."""
    return getattr(cls, "shines", False)


class Gold:
    shines = True


class Glass:
    shines = True


def test_family_covers_types_without_a_common_base() -> None:
    """Types that a predicate picks travel by one tag."""
    codec = Codec()

    codec.register_family("shiny", is_shiny, lambda one: type(one).__name__, str)

    assert codec.encode([Gold(), Glass()], path="it") == [
        {"~shiny": "Gold"},
        {"~shiny": "Glass"},
    ]
    assert codec.decode({"~shiny": "Gold"}, path="it") == "Gold"


def test_family_is_asked_last_and_once() -> None:
    """A tag of the type itself wins, and what the predicate said is remembered."""
    codec = Codec()
    asked = []

    def covers(cls: type[object]) -> bool:
        asked.append(cls)
        return True

    codec.register_family("any", covers, lambda one: None, str)
    codec.register(Gold, lambda gold: "gold", lambda text: Gold())

    assert codec.encode([Gold(), Glass(), Glass()], path="it") == [
        {"~tests.test_tag_table.Gold": "gold"},
        {"~any": None},
        {"~any": None},
    ]
    assert asked == [Glass]


def test_dict_of_a_family_is_taken_for_attributes() -> None:
    """Paths show what a family's types are made of as attributes."""
    codec = Codec()
    codec.register_family("shiny", is_shiny, lambda one: {"karat": open}, str)

    with pytest.raises(EncodeError) as caught:
        codec.encode(Gold(), path="it")

    assert caught.value.path == "it.karat"


def test_family_needs_a_free_tag() -> None:
    """The name of a family is nobody else's."""
    codec = Codec()
    codec.register_family("shiny", is_shiny, repr, str)

    with pytest.raises(RegistrationError, match="it is taken"):
        codec.register_family("shiny", is_shiny, repr, str)
    with pytest.raises(RegistrationError, match="Choose another one with tag="):
        codec.register(Glass, repr, str, "shiny")


def test_unknown_type_or_tag_calls_for_registration() -> None:
    """Who registers late is called when something is unknown, and in no other case."""
    codec = Codec()
    calls = []

    def register() -> None:
        calls.append(None)
        codec.register(Gold, lambda gold: 1, lambda one: Gold())

    codec.when_unknown(register)
    codec.encode([1, {"a": (2,)}], path="it")
    assert calls == []

    assert codec.encode(Gold(), path="it") == {"~tests.test_tag_table.Gold": 1}
    assert len(calls) == 1
    with pytest.raises(EncodeError):
        codec.encode(Glass(), path="it")
    assert len(calls) == 2


def test_unknown_tag_calls_for_registration() -> None:
    """A worker that decodes an unknown tag lets it be registered first."""
    codec = Codec()
    codec.when_unknown(lambda: codec.register(Gold, repr, lambda one: Gold(), "gold"))

    assert type(codec.decode({"~gold": 1}, path="it")) is Gold
