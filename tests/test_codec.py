"""The walk over values, the registry's rules, and where errors say they came up."""

import dataclasses
import enum
import inspect
import math
import sys
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from signal_tasks.codec import Codec, plain_entries
from signal_tasks.exceptions import DecodeError, EncodeError, RegistrationError
from tests.exactness import exactly, travel


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)


class Tip(Money):
    """A subclass that is not registered."""


class Proxy:
    """Stands for another object, and claims to be of its class, as werkzeug's does."""

    def __init__(self, target: object) -> None:
        self.target = target

    @property
    def __class__(self) -> Any:
        return type(self.target)


@dataclasses.dataclass
class Order:
    number: int
    items: list[Any]


class Point(NamedTuple):
    x: Any
    y: Any


class Color(enum.Enum):
    RED = "r"


class Meters(int):
    pass


def cents_of(money: Money) -> object:
    """Encode."""
    return money.cents


def of_cents(cents: Any) -> Money:
    """Decode."""
    return Money(cents)


def fail(value: object) -> Any:
    """Raise an error whose text nobody else may see."""
    raise KeyError("a secret")


@pytest.fixture
def codec() -> Codec:
    """Make a codec that knows the built-in types only."""
    return Codec()


JSON_VALUES = {
    "none": None,
    "true": True,
    "zero": 0,
    "smallest 64 bit int": -(2**63),
    "largest 64 bit int": 2**63 - 1,
    "float": 0.1,
    "negative zero": -0.0,
    "tiny float": 5e-324,
    "text": "plain",
    "text beyond ascii": "Grüße \U0001f600 \x00 \u2028",
    "empty list": [],
    "nested list": [1, [2, [3]]],
    "empty dict": {},
    "dict": {"b": 1, "a": {"": 2}},
    "kombu's look-alike": {"__type__": "datetime", "__value__": "2026-01-02"},
}

WIRE_FORMS = {
    "int over 64 bits": (2**63, {"~int": "8000000000000000"}),
    "int under 64 bits": (-(2**63) - 1, {"~int": "-8000000000000001"}),
    "infinity": (math.inf, {"~float": "inf"}),
    "minus infinity": (-math.inf, {"~float": "-inf"}),
    "not a number": (math.nan, {"~float": "nan"}),
    "lone surrogate": ("a\ud800", {"~str": "Ye2ggA=="}),
    "surrogates side by side": ("\ud83d\ude00", {"~str": "7aC97biA"}),
    "tuple": ((1, (2,)), {"~tuple": [1, {"~tuple": [2]}]}),
    "empty tuple": ((), {"~tuple": []}),
    "set": ({1}, {"~set": [1]}),
    "frozenset": (frozenset({"a"}), {"~frozenset": ["a"]}),
    "dict with int keys": ({1: "a"}, {"~dict": [[1, "a"]]}),
    "dict with None as key": ({None: 1}, {"~dict": [[None, 1]]}),
    "dict with tuple keys": ({(1, 2): 3}, {"~dict": [[{"~tuple": [1, 2]}, 3]]}),
    "dict with a tilde key": ({"~set": [1]}, {"~dict": [["~set", [1]]]}),
    "dict with mixed keys": ({"a": 1, 2: 3}, {"~dict": [["a", 1], [2, 3]]}),
    "dict with a broken key": ({"\ud800": 1}, {"~dict": [[{"~str": "7aCA"}, 1]]}),
    "dict with a key beyond ascii": ({"ü": 1}, {"ü": 1}),
}


@pytest.mark.parametrize("value", JSON_VALUES.values(), ids=JSON_VALUES.keys())
def test_what_json_can_say_travels_as_it_is(codec: Codec, value: Any) -> None:
    """A value that JSON has a form for needs no tag, and comes back the same."""
    tree = codec.encode(value, path="value")

    assert exactly(tree) == exactly(value)
    assert exactly(travel(codec, value)) == exactly(value)


@pytest.mark.parametrize(("value", "tree"), WIRE_FORMS.values(), ids=WIRE_FORMS.keys())
def test_what_json_would_change_gets_a_tag(
    codec: Codec, value: object, tree: object
) -> None:
    """A value that JSON would change or lose travels in a form of ours, and back."""
    assert codec.encode(value, path="value") == tree
    assert exactly(travel(codec, value)) == exactly(value)


def test_ints_have_no_limit_of_digits(codec: Codec) -> None:
    """An int that Python refuses to print in decimal digits travels."""
    value = -(1 << 40_000)

    assert travel(codec, value) == value


def test_dicts_keep_the_order_of_their_keys(codec: Codec) -> None:
    """Dicts of both wire forms come back in the order in which they were filled."""
    plain, odd = {"b": 1, "a": 2}, {2: "b", 1: "a"}

    assert list(travel(codec, [plain, odd])[0]) == ["b", "a"]
    assert list(travel(codec, [plain, odd])[1]) == [2, 1]


def test_what_is_shared_is_copied(codec: Codec) -> None:
    """An object that stands in two places, without a circle, arrives twice."""
    shared = [1]

    first, second = travel(codec, [shared, shared])

    assert first == second == [1]
    assert first is not second


def test_nans_stay_different_keys(codec: Codec) -> None:
    """Two NaN in a set, which are unequal, do not become one."""
    value = {float("nan"), float("nan")}

    assert len(travel(codec, value)) == 2


def test_registered_functions_carry_a_type(codec: Codec) -> None:
    """A class with an encode and a decode function travels by them."""
    codec.register(Money, cents_of, of_cents)

    assert codec.encode(Money(5), path="value") == {f"~{__name__}.Money": 5}
    assert travel(codec, {"price": Money(5)}) == {"price": Money(5)}


def test_what_encode_gives_is_encoded_in_turn(codec: Codec) -> None:
    """An encode function may give anything that travels, decode gets just that."""
    seen = []
    codec.register(Money, lambda money: {1: (money.cents, Color.RED)}, seen.append)
    codec.register(Color)

    travel(codec, Money(5))

    assert exactly(seen) == exactly([{1: (5, Color.RED)}])


def test_the_tag_can_be_chosen(codec: Codec) -> None:
    """An explicit tag is the name on the wire."""
    codec.register(Money, cents_of, of_cents, tag="my money")

    assert codec.encode(Money(5), path="value") == {"~my money": 5}
    assert travel(codec, Money(5)) == Money(5)


@pytest.mark.parametrize(
    "value",
    [Meters(5), OrderedDict(a=1), Counter("a"), defaultdict(int), Point(1, 2)],
    ids=lambda value: type(value).__name__,
)
def test_subclasses_of_built_ins_do_not_travel_as_their_base(
    codec: Codec, value: object
) -> None:
    """A subclass nobody registered raises, for it would come back as its base."""
    with pytest.raises(EncodeError, match="register_type") as caught:
        codec.encode([value], path="value")

    assert caught.value.path == "value[0]"
    assert caught.value.type_name.endswith(type(value).__name__)


def test_subclasses_of_registered_types_do_not_travel(codec: Codec) -> None:
    """Registering a class says nothing about the classes that derive from it."""
    codec.register(Money, cents_of, of_cents)

    with pytest.raises(EncodeError, match=r"only .*\.Money itself travels"):
        codec.encode(Tip(5), path="value")


def test_subclasses_travel_when_asked_for(codec: Codec) -> None:
    """With subclasses=True a subclass goes by the tag of its base, each time."""
    codec.register(Money, cents_of, of_cents, subclasses=True)

    assert [travel(codec, Tip(5)) for _ in range(2)] == [Money(5), Money(5)]


def test_a_tag_of_ones_own_goes_before_the_bases(codec: Codec) -> None:
    """A subclass that is registered later travels by its own tag from then on."""
    codec.register(Money, cents_of, of_cents, subclasses=True)
    codec.encode(Tip(5), path="value")

    codec.register(Tip, cents_of, Tip, tag="tip")

    assert codec.encode(Tip(5), path="value") == {"~tip": 5}


def test_proxies_travel_as_what_they_stand_for(codec: Codec) -> None:
    """A proxy type is known by its true type and replaced before encoding."""
    codec.unwrap(Proxy, lambda proxy: proxy.target)
    value = {"user": Proxy({Proxy("a"): 1})}

    arrived = travel(codec, value)

    assert isinstance(value["user"], dict)
    assert arrived == {"user": {"a": 1}}


def test_proxies_go_before_tags_that_cover_everything(codec: Codec) -> None:
    """A tag for all subclasses of object does not catch a proxy."""
    codec.register(object, lambda value: "anything", lambda text: text, subclasses=True)
    codec.unwrap(Proxy, lambda proxy: proxy.target)

    assert travel(codec, [Proxy(5), Money(1)]) == [5, "anything"]


def test_a_proxy_without_target_is_an_encode_error(codec: Codec) -> None:
    """What unwrapping raises is told by its type, and chained."""
    codec.unwrap(Proxy, fail)

    with pytest.raises(EncodeError, match="KeyError") as caught:
        codec.encode({"user": Proxy(None)}, path="kwargs")

    assert caught.value.path == "kwargs['user']"
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)


def test_encode_functions_that_raise_are_encode_errors(codec: Codec) -> None:
    """What an encode function raises is told by its type, not by its text."""
    codec.register(Money, fail, of_cents)

    with pytest.raises(EncodeError, match="KeyError") as caught:
        codec.encode([Money(5)], path="kwargs")

    assert (caught.value.path, caught.value.type_name) == (
        "kwargs[0]",
        f"{__name__}.Money",
    )
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)


def test_decode_functions_that_raise_are_decode_errors(codec: Codec) -> None:
    """What a decode function raises is told by its type, not by its text."""
    codec.register(Money, cents_of, fail, tag="money")
    tree = codec.encode({"price": Money(5)}, path="kwargs")

    with pytest.raises(DecodeError, match="KeyError") as caught:
        codec.decode(tree, path="kwargs")

    assert (caught.value.path, caught.value.tag) == ("kwargs['price']", "money")
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)


PLACES = {
    "dict": ({"order": {"line-2": Tip(1)}}, "kwargs['order']['line-2']"),
    "key that is data": ({"a": 1, "ann@example.org": Tip(1)}, "kwargs[<key 1>]"),
    "long key": ({"k" * 41: Tip(1)}, "kwargs[<key 0>]"),
    "tuple as key": ({(1, 2): Tip(1)}, "kwargs[<key 0>]"),
    "a key itself": ({1: 1, Tip(1): 1}, "kwargs[<key 1>]"),
    "inside a key": ({1: 1, (2, Tip(1)): 1}, "kwargs[<key 1>][1]"),
    "list": ([1, [2, Tip(1)]], "kwargs[1][1]"),
    "tuple": ((1, Tip(1)), "kwargs[1]"),
    "set": ({Tip(1)}, "kwargs[0]"),
    "dataclass": (Order(1, [1, 2, Tip(1)]), "kwargs.items[2]"),
    "named tuple": ({"at": Point(1, Tip(1))}, "kwargs['at'].y"),
    "what encode gave": (Money(5), "kwargs['cents']"),
}


@pytest.mark.parametrize(("value", "path"), PLACES.values(), ids=PLACES.keys())
def test_encode_errors_say_where(codec: Codec, value: object, path: str) -> None:
    """An encode error's path leads to the value, by fields, names and positions."""
    codec.register(Order)
    codec.register(Point)
    codec.register(Money, lambda money: {"cents": Tip(money.cents)}, of_cents)

    with pytest.raises(EncodeError) as caught:
        codec.encode(value, path="kwargs")

    assert caught.value.path == path
    assert caught.value.type_name == f"{__name__}.Tip"
    assert str(caught.value).startswith(f"cannot encode {path} ({__name__}.Tip): ")


STRAY = {"~stray": 1}
DECODE_PLACES = {
    "dict": ({"order": {"lines": STRAY}}, "kwargs['order']['lines']"),
    "key that is data": ({"a": 1, "ann@example.org": STRAY}, "kwargs[<key 1>]"),
    "list": ([1, [2, STRAY]], "kwargs[1][1]"),
    "group": ({"~set": [1, STRAY]}, "kwargs[1]"),
    "pairs": ({"~dict": [[1, 1], ["b", STRAY]]}, "kwargs['b']"),
    "pairs with an odd key": ({"~dict": [[1, 1], [[2], STRAY]]}, "kwargs[<key 1>]"),
    "a key": ({"~dict": [[1, 1], [STRAY, 1]]}, "kwargs[<key 1>]"),
    "dataclass": ({"~order": {"number": 1, "items": [STRAY]}}, "kwargs.items[0]"),
    "field that is data": ({"~order": {"an n": STRAY}}, "kwargs.<field 0>"),
}


@pytest.mark.parametrize(
    ("tree", "path"), DECODE_PLACES.values(), ids=DECODE_PLACES.keys()
)
def test_decode_errors_say_where(codec: Codec, tree: Any, path: str) -> None:
    """A decode error's path leads to what cannot be decoded, and names the tag."""
    codec.register(Order, tag="order")

    with pytest.raises(DecodeError, match="in the worker too") as caught:
        codec.decode(tree, path="kwargs")

    assert (caught.value.path, caught.value.tag) == (path, "stray")


DAMAGED = {
    "two keys, one a tag": ({"~set": [], "a": 1}, None),
    "two tags": ({"~set": [], "~tuple": []}, None),
    "group that is no list": ({"~set": {}}, "set"),
    "pairs that are no list": ({"~dict": "ab"}, "dict"),
    "pair that is no list": ({"~dict": ["ab"]}, "dict"),
    "pair of three": ({"~dict": [[1, 2, 3]]}, "dict"),
    "unhashable in a set": ({"~set": [[1]]}, "set"),
    "unhashable key": ({"~dict": [[[1], 2]]}, "dict"),
    "the same twice in a set": ({"~set": [1, 1.0]}, "set"),
    "the same key twice": ({"~dict": [[1, 2], [True, 3]]}, "dict"),
    "wrong content": ({"~uuid": "nothing"}, "uuid"),
    "wrong type of content": ({"~int": 5}, "int"),
    "tag in the place of fields": ({"~order": {"~set": []}}, "order"),
}


@pytest.mark.parametrize(("tree", "tag"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_trees_are_refused(codec: Codec, tree: Any, tag: str | None) -> None:
    """A tree that no codec writes is refused, not guessed at."""
    codec.register(Order, tag="order")

    with pytest.raises(DecodeError) as caught:
        codec.decode([tree], path="kwargs")

    assert (caught.value.path, caught.value.tag) == ("kwargs[0]", tag)


def test_unknown_tags_with_strange_names_are_not_shown(codec: Codec) -> None:
    """A tag that is no name may be somebody's data, and stays out of the error."""
    with pytest.raises(DecodeError) as caught:
        codec.decode({"~ann's secret": 1}, path="kwargs")

    assert "secret" not in str(caught.value)


def nested(depth: int) -> list[Any]:
    """Put *depth* lists into each other."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: [inner],
        lambda inner: (inner,),
        lambda inner: frozenset([inner]),
        lambda inner: {"a": inner},
        lambda inner: {1: inner},
        lambda inner: Point(inner, 1),
    ],
    ids=["list", "tuple", "frozenset", "dict", "dict of pairs", "named tuple"],
)
def test_the_same_depth_is_allowed_on_both_sides(wrap: Any) -> None:
    """Three levels of anything pass a limit of three both ways, four do not."""
    codec = Codec(max_depth=3)
    codec.register(Point)
    higher = Codec(max_depth=4)
    higher.register(Point)
    three = wrap(wrap(wrap(1)))

    assert travel(codec, three) == three
    with pytest.raises(EncodeError, match="too deep"):
        codec.encode(wrap(three), path="value")
    with pytest.raises(DecodeError, match="too deep"):
        codec.decode(higher.encode(wrap(three), path="value"), path="value")


def test_sixty_four_levels_are_allowed(codec: Codec) -> None:
    """The limit is 64 unless another one is asked for."""
    assert travel(codec, nested(64)) == nested(64)
    with pytest.raises(EncodeError, match="too deep"):
        codec.encode(nested(65), path="value")


def test_long_paths_are_shortened(codec: Codec) -> None:
    """A path of many steps shows its two ends."""
    with pytest.raises(EncodeError) as caught:
        codec.encode(nested(65), path="value")

    assert caught.value.path == "value" + "[0]" * 8 + "..." + "[0]" * 8


def test_a_full_call_stack_is_an_encode_error() -> None:
    """However high the limit is set, no RecursionError gets out of encoding."""
    codec = Codec(max_depth=10**9)

    with pytest.raises(EncodeError, match="call stack"):
        codec.encode(nested(100_000), path="value")


def test_a_full_call_stack_is_a_decode_error() -> None:
    """However high the limit is set, no RecursionError gets out of decoding."""
    codec = Codec(max_depth=10**9)

    with pytest.raises(DecodeError, match="call stack"):
        codec.decode(nested(100_000), path="value")


def with_room(room: int, act: Callable[[], object]) -> object:
    """Call *act* when only *room* more calls fit on the stack."""

    def after(calls: int) -> object:
        return after(calls - 1) if calls else act()

    return after(sys.getrecursionlimit() - len(inspect.stack(0)) - room)


@pytest.mark.parametrize("room", range(30, 60, 5))
def test_a_call_stack_that_was_nearly_full_is_told_too(codec: Codec, room: int) -> None:
    """A value well within the limit is refused where the stack has no room for it."""

    def encode_and_decode() -> None:
        with pytest.raises(EncodeError, match="call stack"):
            codec.encode(nested(60), path="value")
        with pytest.raises(DecodeError, match="call stack"):
            codec.decode(nested(60), path="value")

    with_room(room, encode_and_decode)


def test_one_value_that_finds_no_room_is_told_too(codec: Codec) -> None:
    """Even a value without parts is refused where the stack ends on the way to it."""

    def encode_at_the_end() -> object:
        try:
            return encode_at_the_end()
        except RecursionError:
            return codec.encode(Decimal(1), path="value")

    with pytest.raises(EncodeError, match="call stack"):
        encode_at_the_end()


def test_hostile_depth_is_refused_early(codec: Codec) -> None:
    """A tree far deeper than the limit is refused without being walked."""
    with pytest.raises(DecodeError, match="too deep"):
        codec.decode(nested(100_000), path="value")


def circle_of_lists() -> object:
    """Make a list that is an item of its own item."""
    value: list[Any] = [1]
    value.append([value])
    return value


def circle_of_orders() -> object:
    """Make an object that is in a dict in a list in one of its fields."""
    order = Order(1, [])
    order.items.append({"order": order})
    return order


def circle_behind_a_head() -> object:
    """Make a circle that begins at the third object only."""
    return {"head": [circle_of_orders()]}


CIRCLES = {
    "lists": (circle_of_lists, "kwargs", "list", "[1][0]"),
    "dataclass": (circle_of_orders, "kwargs", "Order", ".items[0]['order']"),
    "further down": (
        circle_behind_a_head,
        "kwargs['head'][0]",
        "Order",
        ".items[0]['order']",
    ),
}


@pytest.mark.parametrize(
    ("make", "path", "type_name", "where"), CIRCLES.values(), ids=CIRCLES.keys()
)
def test_circles_are_named(
    codec: Codec, make: Any, path: str, type_name: str, where: str
) -> None:
    """A value that contains itself is refused, and the error shows the way round."""
    codec.register(Order)

    with pytest.raises(EncodeError, match="contains itself") as caught:
        codec.encode(make(), path="kwargs")

    assert caught.value.path == path
    assert caught.value.type_name.endswith(type_name)
    assert f"itself, at {where}. " in caught.value.reason


def test_circles_are_named_when_the_stack_is_full() -> None:
    """With a limit out of reach, a circle is still told from mere depth."""
    codec = Codec(max_depth=10**9)

    with pytest.raises(EncodeError, match="contains itself"):
        codec.encode(circle_of_lists(), path="kwargs")


def test_encode_functions_that_give_the_value_back_are_circles(codec: Codec) -> None:
    """A value that encodes to itself is a circle without a way round."""
    codec.register(Money, lambda money: money, of_cents)

    with pytest.raises(EncodeError, match=r"contains itself\. "):
        codec.encode(Money(1), path="kwargs")


def test_a_dict_that_changes_meanwhile_is_an_encode_error(codec: Codec) -> None:
    """A dict that gets a new key while it is encoded raises an EncodeError."""
    changing: dict[Any, Any] = {"first": Money(1), "second": 2}
    codec.register(Money, lambda money: changing.update(third=3), of_cents)

    with pytest.raises(EncodeError, match="was changed") as caught:
        codec.encode({"stock": changing}, path="kwargs")

    assert (caught.value.path, caught.value.type_name) == ("kwargs['stock']", "dict")


def test_a_set_that_changes_meanwhile_is_an_encode_error(codec: Codec) -> None:
    """A set that gets a new item while it is encoded raises an EncodeError."""
    changing: set[Any] = {Money(1)}
    codec.register(Money, lambda money: changing.update(range(9)), of_cents)

    with pytest.raises(EncodeError, match="was changed") as caught:
        codec.encode([changing], path="kwargs")

    assert (caught.value.path, caught.value.type_name) == ("kwargs[0]", "set")


def test_registering_while_others_encode_is_safe(codec: Codec) -> None:
    """Types can be registered while other threads encode and decode."""
    codec.register(Money, cents_of, of_cents)
    is_done = threading.Event()

    def keep_encoding() -> None:
        while not is_done.is_set():
            travel(codec, [Money(1), (Money(2),)])

    with ThreadPoolExecutor() as threads:
        encoding = [threads.submit(keep_encoding) for _ in range(3)]
        for number in range(300):
            codec.register(type(f"T{number}", (), {}), cents_of, of_cents)
        is_done.set()

    assert [future.exception() for future in encoding] == [None] * 3


def test_no_module_is_imported_for_a_message(codec: Codec) -> None:
    """A tag that names an importable class leads to an error, not to an import."""
    sys.modules.pop("this", None)

    with pytest.raises(DecodeError, match="no type is registered"):
        codec.decode({"~this.d": {}}, path="kwargs")

    assert "this" not in sys.modules


NOT_REGISTRABLE = {
    "an instance": ((Money(1),), {}, "is not a class"),
    "no functions": ((Money,), {}, "Pass both encode and decode"),
    "one function": ((Money, cents_of), {}, "Pass both encode and decode"),
    "one function for an enum": ((Color, None, Color), {}, "Pass both"),
    "an empty tag": ((Color,), {"tag": ""}, "empty"),
    "a broken tag": ((Color,), {"tag": "\ud800"}, "empty or no proper text"),
    "a tag that is no text": ((Color,), {"tag": 5}, "empty or no proper text"),
    "a built-in tag": ((Color,), {"tag": "uuid"}, "uuid.UUID has it"),
    "a container's tag": ((Color,), {"tag": "tuple"}, "the codec's own"),
    "a built-in type": ((str, str, str), {}, "travels already"),
    "a container": ((dict, list, dict), {}, "the codec's own"),
    "None's type": ((type(None), str, bool), {}, "the codec's own"),
    "an enum with subclasses": ((Color,), {"subclasses": True}, "would be lost"),
}


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    NOT_REGISTRABLE.values(),
    ids=NOT_REGISTRABLE.keys(),
)
def test_wrong_registrations_are_refused(
    codec: Codec, arguments: Any, options: Any, reason: str
) -> None:
    """What cannot travel as asked is refused when it is registered."""
    with pytest.raises(RegistrationError, match=reason):
        codec.register(*arguments, **options)


def test_unwrapping_again_in_the_same_way_is_harmless(codec: Codec) -> None:
    """Two extensions in one process may both unwrap the same proxy type."""

    def set_up() -> None:
        codec.unwrap(Proxy, lambda proxy: proxy.target)

    set_up()
    set_up()

    assert travel(codec, Proxy(5)) == 5


def test_a_type_is_either_unwrapped_or_tagged(codec: Codec) -> None:
    """A type cannot both be replaced by what it stands for and have a tag."""
    codec.unwrap(Proxy, lambda proxy: proxy.target)
    codec.register(Money, cents_of, of_cents)

    with pytest.raises(RegistrationError, match="unwrapped already"):
        codec.register(Proxy, fail, fail)
    with pytest.raises(RegistrationError, match="registered already"):
        codec.unwrap(Money, cents_of)
    with pytest.raises(RegistrationError, match="registered already"):
        codec.unwrap(Proxy, fail)
    with pytest.raises(RegistrationError, match="the codec's own"):
        codec.unwrap(list, fail)


def test_codecs_know_nothing_of_each_other(codec: Codec) -> None:
    """What one codec learns stays with it."""
    codec.register(Color)

    with pytest.raises(EncodeError, match=r"register_type\(Color\)"):
        Codec().encode(Color.RED, path="value")


@pytest.mark.parametrize(
    "value",
    [None, True, False, 0, -(2**63), 2**63 - 1, 1.5, -0.0, "", 'text \\ " ~ \x00'],
    ids=repr,
)
def test_what_is_its_own_tree_is_plain(codec: Codec, value: object) -> None:
    """Such arguments need no codec, which would give the same."""
    entries = {"some_name": value}

    assert plain_entries(entries) is entries
    assert codec.encode(entries, path="kwargs") == entries


class Name(str):
    """A string of somebody's own."""

    __slots__ = ()


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param({"a": "\u00e9"}, id="other text"),
        pytest.param({"a": Name("b")}, id="derived text"),
        pytest.param({"a": 2**63}, id="large integer"),
        pytest.param({"a": math.inf}, id="infinity"),
        pytest.param({"a": 1, "b": [1]}, id="list"),
        pytest.param({"~tuple": 1}, id="like a tag"),
        pytest.param({"\u00e9": 1}, id="other name"),
        pytest.param({Name("a"): 1}, id="derived name"),
        pytest.param(OrderedDict(a=1), id="derived dict"),
    ],
)
def test_what_the_codec_has_to_look_at_is_not_plain(entries: Any) -> None:
    """What may not be its own tree is left to the codec, whatever that does."""
    assert plain_entries(entries) is None
