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
