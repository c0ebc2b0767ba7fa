"""Properties of the codec that hold whatever is sent, and whatever arrives."""

import contextlib
import dataclasses
import enum
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from pathlib import PosixPath, PurePosixPath, PureWindowsPath
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_tasks.codec import Codec
from signal_tasks.exceptions import DecodeError, EncodeError
from signal_tasks.tags import BUILT_IN_TAGS
from tests.exactness import exactly, travel

SECRET = "s3cret & private"


class Suit(enum.Enum):
    HEARTS = "h"
    SPADES = "s"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Tone(enum.StrEnum):
    WARM = "warm"


class Right(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Mode(enum.IntFlag):
    FAST = 1
    LOUD = 8


class Point(NamedTuple):
    x: object
    y: object = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    label: object
    at: object


@dataclasses.dataclass
class Note:
    text: object
    more: object = None


class Unknown:
    """A type that nobody registered."""


def make_codec() -> Codec:
    """Make a codec that knows the types above."""
    codec = Codec()
    for cls in (Suit, Level, Tone, Right, Mode, Point, Pin, Note):
        codec.register(cls)
    return codec


CODEC = make_codec()

any_text = st.text(st.characters())
zones = st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata"])
offsets = st.timedeltas(
    timedelta(hours=-24, microseconds=1), timedelta(hours=24, microseconds=-1)
)
time_zones = st.one_of(
    st.just(UTC),
    zones.map(ZoneInfo),
    offsets.map(timezone),
    st.builds(timezone, offsets, any_text),
)
folds = st.sampled_from([0, 1])
moments = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
    st.datetimes() | st.times(),
    st.none() | time_zones,
    folds,
)
members = st.one_of(
    st.sampled_from(Suit),
    st.sampled_from(Level),
    st.sampled_from(Tone),
    st.builds(Right, st.integers(0, 7)),
    st.builds(Mode, st.integers(0, 2**80)),
)
paths = st.one_of(
    any_text.map(PurePosixPath),
    any_text.map(PosixPath),
    any_text.map(PureWindowsPath).filter(
        lambda path: PureWindowsPath(str(path)).parts == path.parts
    ),
)
hashable_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    any_text,
    st.binary(),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.uuids(),
    st.dates(),
    st.timedeltas(),
    moments,
    time_zones,
    members,
    paths,
)
hashables = st.recursive(
    hashable_leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Pin, label=inner, at=inner),
    ),
    max_leaves=5,
)
values = st.recursive(
    hashables | st.just(Decimal("sNaN12")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(any_text, inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.builds(Point, inner, inner),
        st.builds(Note, inner, inner),
    ),
    max_leaves=15,
)

labels = st.sampled_from(
    [
        *(f"~{tag.name}" for tag in BUILT_IN_TAGS),
        *("~tuple", "~set", "~frozenset", "~dict", "~", "~~", "~nothing"),
        *(f"~{__name__}.{cls.__name__}" for cls in (Suit, Right, Mode, Point, Note)),
        *("__type__", "__value__"),
    ]
)
likely_keys = labels | st.sampled_from(["x", "y", "local", "fold", "tzinfo"])


def trees_of(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Make JSON trees, many of them full of things that look like tags."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(labels, inner, min_size=1, max_size=1),
            st.dictionaries(likely_keys | any_text, inner, max_size=3),
        ),
        max_leaves=12,
    )


json_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    any_text,
    st.sampled_from(["HEARTS", "UTC", "2026-01-02", "../UTC", "1e999", "nan", "AA=="]),
)


@given(values)
def test_what_goes_in_comes_out(value: object) -> None:
    """Any nesting of types that travel comes back as the same types and values."""
    assert exactly(travel(CODEC, value)) == exactly(value)


@given(trees_of(json_leaves))
def test_look_alikes_of_tags_come_out_as_they_are(tree: object) -> None:
    """Data that looks like our tags or kombu's is still the user's own data."""
    assert exactly(travel(CODEC, tree)) == exactly(tree)


@given(trees_of(json_leaves))
def test_any_tree_decodes_or_is_refused(tree: object) -> None:
    """A tree from anywhere is decoded, or refused by DecodeError and nothing else."""
    with contextlib.suppress(DecodeError):
        decoded = CODEC.decode(tree, path="kwargs")

        assert exactly(travel(CODEC, decoded)) == exactly(decoded)


@given(st.data())
def test_encode_errors_keep_the_data_to_themselves(data: st.DataObject) -> None:
    """Whatever stands around a value that cannot travel, no error shows any of it."""
    unknown = Unknown()
    secrets = st.just(SECRET) | st.just(SECRET.encode())
    trees = st.recursive(
        secrets,
        lambda inner: st.one_of(
            st.lists(inner, max_size=2),
            st.tuples(inner, inner),
            st.dictionaries(secrets, inner, max_size=2),
            st.builds(Note, inner, inner),
        ),
        max_leaves=6,
    )
    value: object = unknown
    for wrap in data.draw(st.lists(st.sampled_from(range(4)), max_size=4)):
        around = data.draw(trees)
        value = [[around, value], (value,), {SECRET: value}, Note(around, value)][wrap]

    with pytest.raises(EncodeError) as caught:
        CODEC.encode(value, path="kwargs")

    assert SECRET not in str(caught.value)
    assert caught.value.type_name == f"{__name__}.Unknown"


@given(trees_of(st.just(SECRET)), labels)
def test_decode_errors_keep_the_data_to_themselves(tree: object, label: str) -> None:
    """Whatever a message holds that cannot be decoded, no error shows any of it."""
    hidden = {SECRET: [tree, {label: {SECRET: tree}}, {f"~{SECRET}": tree}]}

    with pytest.raises(DecodeError) as caught:
        CODEC.decode(hidden, path="kwargs")

    assert SECRET not in str(caught.value)
