"""The wire forms of the built-in types, and what they refuse."""

import io
import struct
from contextlib import nullcontext
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import (
    Path,
    PosixPath,
    PurePosixPath,
    PureWindowsPath,
    WindowsPath,
)
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from signal_tasks.codec import Codec
from signal_tasks.exceptions import DecodeError, EncodeError
from tests.exactness import exactly, travel

PARIS = ZoneInfo("Europe/Paris")
IST = timezone(timedelta(hours=5, minutes=30), "IST")


class Sidereal(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1)


def zone_from_file(key: str | None) -> ZoneInfo:
    """Read the smallest zone file that there is: UTC, for ever."""
    head = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    return ZoneInfo.from_file(io.BytesIO(head + bytes(6) + b"UTC\0"), key=key)


@pytest.fixture
def codec() -> Codec:
    """Make a codec that knows the built-in types only."""
    return Codec()


WIRE_FORMS = {
    "bytes": (b"\x00\xff", {"~bytes": "AP8="}),
    "no bytes": (b"", {"~bytes": ""}),
    "decimal": (Decimal("-1.50"), {"~decimal": "-1.50"}),
    "decimal zero": (Decimal("-0E+3"), {"~decimal": "-0E+3"}),
    "large exponent": (Decimal("1E+999999"), {"~decimal": "1E+999999"}),
    "decimal infinity": (Decimal("-Infinity"), {"~decimal": "-Infinity"}),
    "decimal nan": (Decimal("NaN"), {"~decimal": "NaN"}),
    "signaling nan": (Decimal("-sNaN7"), {"~decimal": "-sNaN7"}),
    "uuid": (UUID(int=5), {"~uuid": "00000000-0000-0000-0000-000000000005"}),
    "date": (date(999, 1, 2), {"~date": "0999-01-02"}),
    "naive datetime": (
        datetime(2026, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001
        {"~datetime": "2026-01-02T03:04:05.000006"},
    ),
    "datetime in UTC": (
        datetime(2026, 1, 2, tzinfo=UTC),
        {"~datetime": "2026-01-02T00:00:00+00:00"},
    ),
    "datetime in a zone": (
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=PARIS),
        {
            "~datetime": {
                "local": "2026-10-25T02:30:00",
                "fold": 1,
                "tzinfo": {"~zoneinfo": "Europe/Paris"},
            }
        },
    ),
    "folded naive datetime": (
        datetime(2026, 1, 2, fold=1),  # noqa: DTZ001
        {"~datetime": {"local": "2026-01-02T00:00:00", "fold": 1, "tzinfo": None}},
    ),
    "time": (time(3, 4, 5, 6), {"~time": "03:04:05.000006"}),
    "time with an offset": (
        time(3, tzinfo=IST),
        {
            "~time": {
                "local": "03:00:00",
                "fold": 0,
                "tzinfo": {"~timezone": [19_800_000_000, "IST"]},
            }
        },
    ),
    "timedelta": (timedelta(days=-1, microseconds=1), {"~timedelta": -86399999999}),
    "longest timedelta": (
        timedelta.max,
        {"~timedelta": {"~int": f"{86_400 * 10**15 - 1:x}"}},
    ),
    "UTC": (UTC, {"~timezone": [0]}),
    "UTC by name": (timezone(timedelta(0), "UTC"), {"~timezone": [0, "UTC"]}),
    "tiny offset": (timezone(-timedelta(microseconds=5)), {"~timezone": [-5]}),
    "zone": (PARIS, {"~zoneinfo": "Europe/Paris"}),
    "posix path": (PurePosixPath("//a/ b"), {"~PurePosixPath": "//a/ b"}),
    "path of bytes": (PosixPath("/\udcff"), {"~PosixPath": {"~str": "L+2zvw=="}}),
    "windows path": (PureWindowsPath("C:/a"), {"~PureWindowsPath": "C:\\a"}),
}


@pytest.mark.parametrize(("value", "tree"), WIRE_FORMS.values(), ids=WIRE_FORMS.keys())
def test_built_in_types_have_a_form(codec: Codec, value: object, tree: object) -> None:
    """A value of a built-in type has one wire form, and comes back exactly."""
    assert codec.encode(value, path="value") == tree
    assert exactly(travel(codec, value)) == exactly(value)


def test_offsets_of_less_than_a_second_survive(codec: Codec) -> None:
    """An offset that ISO texts lose comes back with its datetime."""
    value = datetime(2026, 1, 2, tzinfo=timezone(-timedelta(microseconds=5)))

    assert exactly(travel(codec, value)) == exactly(value)


def test_paths_come_back_as_the_paths_of_this_system(codec: Codec) -> None:
    """What Path() makes travels as what it is here."""
    value = Path("a") / "b"

    assert exactly(travel(codec, value)) == exactly(value)


def test_zones_outside_the_cache_travel_too(codec: Codec) -> None:
    """A zone that was made past the cache has a name all the same."""
    value = ZoneInfo.no_cache("Europe/Paris")

    assert travel(codec, value).key == "Europe/Paris"


def test_time_zones_can_be_registered(codec: Codec) -> None:
    """A datetime travels in a time zone of one's own, once that is registered."""
    codec.register(Sidereal, lambda zone: None, lambda content: Sidereal())

    arrived = travel(codec, datetime(2026, 1, 2, tzinfo=Sidereal()))

    assert type(arrived.tzinfo) is Sidereal
    assert arrived.utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize("key", [None, "Europe/Paris"])
def test_zones_from_files_do_not_travel(codec: Codec, key: str | None) -> None:
    """A zone read from a file has rules that its name would not lead to elsewhere."""
    with pytest.raises(EncodeError, match=r"Use zoneinfo\.ZoneInfo") as caught:
        codec.encode([zone_from_file(key)], path="value")

    assert caught.value.path == "value[0]"


def test_other_time_zones_do_not_travel(codec: Codec) -> None:
    """A time zone of another type is refused at its place, with the ones to use."""
    value = {"at": datetime(2026, 1, 2, tzinfo=Sidereal())}

    with pytest.raises(EncodeError, match=r"zoneinfo\.ZoneInfo travel") as caught:
        codec.encode(value, path="kwargs")

    assert caught.value.path == "kwargs['at'].tzinfo"
    assert caught.value.type_name == f"{__name__}.Sidereal"


def test_paths_never_come_back_as_others(codec: Codec) -> None:
    """A file name with a colon comes back, or is refused if its text reads as a drive."""
    value = PureWindowsPath("./c:a")
    refused = pytest.raises(EncodeError, match="reads as another path")

    # pathlib's text keeps the "./" from Python 3.12 on.
    with refused if str(value) == "c:a" else nullcontext():
        assert exactly(travel(codec, value)) == exactly(value)


def test_paths_of_another_system_are_refused(codec: Codec) -> None:
    """A path type that cannot be made on this system is a DecodeError."""
    foreign = WindowsPath if isinstance(Path(), PosixPath) else PosixPath

    with pytest.raises(DecodeError) as caught:
        codec.decode({f"~{foreign.__name__}": "a"}, path="value")

    assert caught.value.tag == foreign.__name__


DAMAGED = {
    "bytes that are no text": {"~bytes": 5},
    "bytes outside the alphabet": {"~bytes": "&&&&"},
    "number for a text": {"~str": 5},
    "half a character": {"~str": "4g=="},
    "number for a float": {"~float": 1.5},
    "no float": {"~float": "one"},
    "number for a decimal": {"~decimal": 1.5},
    "no decimal": {"~decimal": "one"},
    "number for a uuid": {"~uuid": 5},
    "no date": {"~date": "2026-02-30"},
    "number for a date": {"~date": 5},
    "no datetime": {"~datetime": "2026-02-30"},
    "number for a datetime": {"~datetime": 5},
    "fields missing": {"~datetime": {"local": "2026-01-02"}},
    "text for a zone": {
        "~datetime": {"local": "2026-01-02", "fold": 0, "tzinfo": "UTC"}
    },
    "fold out of range": {
        "~datetime": {"local": "2026-01-02", "fold": 2, "tzinfo": None}
    },
    "fraction for a timedelta": {"~timedelta": 1.5},
    "timedelta out of range": {"~timedelta": 10**18 * 100},
    "offset out of range": {"~timezone": [86_400_000_000]},
    "no offset": {"~timezone": []},
    "unknown zone": {"~zoneinfo": "Europe/Atlantis"},
    "zone outside the folder": {"~zoneinfo": "../../etc/passwd"},
    "zone that names a module": {"~zoneinfo": "Europe.Paris"},
    "number for a zone": {"~zoneinfo": 5},
    "number for a path": {"~PurePosixPath": 5},
    "too many digits in hex": {"~int": "0xg"},
}


@pytest.mark.parametrize("tree", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_forms_are_refused(codec: Codec, tree: Any) -> None:
    """Content that a tag did not write is a DecodeError that names the tag."""
    with pytest.raises(DecodeError) as caught:
        codec.decode(tree, path="value")

    assert f"~{caught.value.tag}" in tree
