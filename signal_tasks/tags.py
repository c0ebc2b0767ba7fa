"""What a tag is, and the tags of the built-in types.

A tag turns a value of its type into something simpler, which the codec walks on,
and the simpler thing back into the value. It knows its one type only; where the
value stands, and what it is made of, is the codec's business.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import (
    PosixPath,
    PurePath,
    PurePosixPath,
    PureWindowsPath,
    WindowsPath,
)

# Only the exception: nothing here pickles.
from pickle import PicklingError
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from .faults import FormError

_MICROSECOND = timedelta(microseconds=1)
_ZONE_KEY = re.compile(r"[\w+-]+(/[\w+-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """The wire form of one type."""

    name: str
    """What stands on the wire, after a tilde."""

    cls: type[object]
    """The type whose values it encodes and decodes."""

    encode: Callable[[Any], object]
    """Makes something simpler of a value; the codec encodes that in turn."""

    decode: Callable[[Any], object]
    """Makes the value of what :attr:`encode` gave."""

    has_fields: bool = False
    """Whether a dict from :attr:`encode` holds attributes; paths then show them so."""

    covers_subclasses: bool = False
    """Whether subclasses without a tag of their own travel by this one."""


def is_utf8_text(text: str) -> bool:
    """Tell whether *text* can be written as UTF-8: it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(content: object) -> str:
    if type(content) is not str:
        raise TypeError("the content is not a text")
    return content


def whole_number(content: object) -> int:
    """Return *content*, which has to be an int."""
    if type(content) is not int:
        raise TypeError("the content is not a whole number")
    return content


def _encode_int(value: int) -> str:
    # Hexadecimal, for Python refuses to read or write over 4300 decimal digits.
    return f"{value:x}"


def _decode_int(content: str) -> int:
    return int(_text(content), 16)


def _decode_float(content: str) -> float:
    return float(_text(content))


def _encode_text(value: str) -> str:
    return _encode_bytes(value.encode("utf-8", "surrogatepass"))


def _decode_text(content: str) -> str:
    return _decode_bytes(content).decode("utf-8", "surrogatepass")


def _encode_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _decode_bytes(content: str) -> bytes:
    return base64.b64decode(_text(content), validate=True)


def _decode_decimal(content: str) -> Decimal:
    return Decimal(_text(content))


def _decode_uuid(content: str) -> UUID:
    return UUID(_text(content))


def _encode_moment(value: datetime | time) -> str | dict[str, object]:
    if value.fold == 0 and (value.tzinfo is None or value.tzinfo is UTC):
        return value.isoformat()
    # Of an ISO text's offset, neither name nor daylight saving rules come back, and
    # fromisoformat() reads some offsets of less than a second as zero.
    return {
        "local": value.replace(tzinfo=None).isoformat(),
        "fold": value.fold,
        "tzinfo": value.tzinfo,
    }


def _moment_decoder(
    cls: type[datetime | time],
) -> Callable[[Any], datetime | time]:
    def decode(content: Any) -> datetime | time:
        if type(content) is str:
            return cls.fromisoformat(content)
        local = cls.fromisoformat(content["local"])
        return local.replace(fold=content["fold"], tzinfo=content["tzinfo"])

    return decode


def _encode_date(value: date) -> str:
    return value.isoformat()


def _encode_timedelta(value: timedelta) -> int:
    return value // _MICROSECOND


def _decode_timedelta(content: int) -> timedelta:
    return timedelta(microseconds=whole_number(content))


def _encode_timezone(value: timezone) -> list[object]:
    offset = value.utcoffset(None)
    # A name that is the same as the default one shows in repr() only.
    if repr(value) == repr(timezone(offset)):
        return [offset // _MICROSECOND]
    return [offset // _MICROSECOND, value.tzname(None)]


def _decode_timezone(content: list[Any]) -> timezone:
    offset, *name = content
    return timezone(_decode_timedelta(offset), *name)


def _encode_zone(value: ZoneInfo) -> str:
    try:
        value.__reduce__()
    except PicklingError as error:
        raise FormError(
            "a ZoneInfo that was read from a file cannot be found by its name in the "
            "worker. Use zoneinfo.ZoneInfo(key)."
        ) from error
    return value.key


def _decode_zone(content: str) -> ZoneInfo:
    # ZoneInfo looks a key up among files and in the tzdata package's modules.
    if not _ZONE_KEY.fullmatch(content):
        raise FormError("the content is not the name of a time zone.")
    return ZoneInfo(content)


def _encode_path(value: PurePath) -> str:
    text = str(value)
    if type(value)(text).parts != value.parts:
        raise FormError(  # pragma: no cover  (not from Python 3.12 on)
            "its text reads as another path (pathlib drops the './' that tells a "
            "name with a colon from a drive). Make it absolute, or send the text."
        )
    return text


def _path_tag(cls: type[PurePath]) -> Tag:
    def decode(content: str) -> PurePath:
        return cls(_text(content))

    return Tag(name=cls.__name__, cls=cls, encode=_encode_path, decode=decode)


BUILT_IN_TAGS: tuple[Tag, ...] = (
    # The first three are for values that JSON's own form would change or lose.
    Tag(name="int", cls=int, encode=_encode_int, decode=_decode_int),
    Tag(name="float", cls=float, encode=repr, decode=_decode_float),
    Tag(name="str", cls=str, encode=_encode_text, decode=_decode_text),
    Tag(name="bytes", cls=bytes, encode=_encode_bytes, decode=_decode_bytes),
    Tag(name="decimal", cls=Decimal, encode=str, decode=_decode_decimal),
    Tag(name="uuid", cls=UUID, encode=str, decode=_decode_uuid),
    Tag(
        name="datetime",
        cls=datetime,
        encode=_encode_moment,
        decode=_moment_decoder(datetime),
        has_fields=True,
    ),
    Tag(
        name="time",
        cls=time,
        encode=_encode_moment,
        decode=_moment_decoder(time),
        has_fields=True,
    ),
    Tag(name="date", cls=date, encode=_encode_date, decode=date.fromisoformat),
    Tag(
        name="timedelta",
        cls=timedelta,
        encode=_encode_timedelta,
        decode=_decode_timedelta,
    ),
    Tag(
        name="timezone",
        cls=timezone,
        encode=_encode_timezone,
        decode=_decode_timezone,
    ),
    Tag(name="zoneinfo", cls=ZoneInfo, encode=_encode_zone, decode=_decode_zone),
    _path_tag(PurePosixPath),
    _path_tag(PureWindowsPath),
    _path_tag(PosixPath),
    _path_tag(WindowsPath),
)
"""The types that travel without being registered, next to JSON's own and the
containers, which the codec walks itself."""
