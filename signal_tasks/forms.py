"""How the user's types travel: by functions, or as the enum or record that they are.

An enum's member travels by its name, a flag by its bits, a record by its fields, an
exception by its arguments and attributes. An exception brings its traceback as text, in
its attribute ``traceback_text``.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from datetime import tzinfo
from enum import Enum, Flag
from traceback import format_exception
from typing import Any

from .exceptions import RegistrationError
from .faults import FormError, type_name
from .records import record_maker
from .tags import Tag, is_utf8_text, whole_number


def make_tag(
    cls: type[object],
    *,
    encode: Callable[[Any], object] | None,
    decode: Callable[[Any], object] | None,
    name: str | None,
    subclasses: bool,
) -> Tag:
    """Make the tag of a user's type, from functions or from what the type is.

    Raises:
        RegistrationError: A function is missing, or the name cannot be a tag's.
    """
    name = _tag_name(cls, name)
    if callable(encode) and callable(decode):
        return Tag(
            name=name,
            cls=cls,
            encode=encode,
            decode=decode,
            covers_subclasses=subclasses,
        )
    make = _maker_for(cls)
    if make is None or encode is not None or decode is not None:
        raise RegistrationError(
            f"cannot register {type_name(cls)} without two functions: only enums, "
            "named tuples, exceptions, Pydantic models, msgspec structs, and dataclasses "
            "and attrs classes of no built-in type travel as they are. Pass both encode "
            "and decode."
        )
    if subclasses:
        raise RegistrationError(
            f"cannot register {type_name(cls)} with its subclasses: what they add "
            "would be lost. Pass encode and decode, or register each of them."
        )
    return make(cls, name)


def mend_for(cls: type[object], known: Container[type[object]]) -> str:
    """Say why *cls*, which has no tag, does not travel, and what to do about it.

    Args:
        cls: The type that somebody sent a value of.
        known: The types that do travel.
    """
    add = f"register_type({cls.__name__}, encode, decode)"
    if _maker_for(cls) is not None:
        return (
            "no tag is registered for its type. Add "
            f"register_type({cls.__name__}) where the class is defined."
        )
    if issubclass(cls, tzinfo):
        return (
            "of time zones, only datetime.timezone and zoneinfo.ZoneInfo travel by "
            f"themselves. Use one of them, or add {add}."
        )
    why = "no tag is registered for its type"
    base = next((base for base in cls.__mro__ if base in known), None)
    if base is not None:
        why = f"only {type_name(base)} itself travels, not what derives from it"
    return f"{why}. Add {add}, or pick what travels with extract=."


def _tag_name(cls: type[object], name: object) -> str:
    if name is None:
        return type_name(cls)
    if type(name) is not str or not name or not is_utf8_text(name):
        raise RegistrationError(
            f"cannot register {type_name(cls)}: its tag is empty or no proper text. "
            "Choose a short name, or leave it out."
        )
    return name


def _maker_for(cls: type[object]) -> Callable[[type[Any], str], Tag] | None:
    if issubclass(cls, Flag):
        return _flag_tag
    if issubclass(cls, Enum):
        return _enum_tag
    maker = record_maker(cls)
    if maker is None and issubclass(cls, BaseException) and not _has_slots(cls):
        return _exception_tag
    return maker


def _has_slots(cls: type[object]) -> bool:
    return any(vars(base).get("__slots__") for base in cls.__mro__)


def _enum_tag(cls: type[Enum], name: str) -> Tag:
    def encode(member: Enum) -> str:
        if cls.__members__.get(member._name_) is not member:
            raise FormError("it is not one of the members that its enum lists.")
        return member._name_

    def decode(content: str) -> Enum:
        return cls.__members__[content]

    return Tag(name=name, cls=cls, encode=encode, decode=decode)


def _flag_tag(cls: type[Flag], name: str) -> Tag:
    def encode(flags: Flag) -> int:
        # Combinations have no name of their own, and some bits have no member.
        return flags._value_

    def decode(content: int) -> Flag:
        flags = cls(whole_number(content))
        if flags._value_ != content:
            raise FormError("it has bits that its enum does not know here.")
        return flags

    return Tag(name=name, cls=cls, encode=encode, decode=decode)


def _exception_tag(cls: type[BaseException], name: str) -> Tag:
    def encode(error: BaseException) -> dict[str, object]:
        content: dict[str, object] = {
            "args": error.args,
            "attributes": {**vars(error), "traceback_text": traceback_text_of(error)},
        }
        if str(decode(content)) != str(error):
            raise FormError(
                "it keeps more than its args and attributes. Register its class with "
                "encode and decode."
            )
        return content

    def decode(content: dict[str, Any]) -> BaseException:
        error = cls.__new__(cls, *content["args"])
        error.args = tuple(content["args"])
        vars(error).update(content["attributes"])
        return error

    return Tag(name=name, cls=cls, encode=encode, decode=decode)


def traceback_text_of(error: BaseException) -> str:
    """Return the traceback as Python prints it; of one that travelled, the first one."""
    text = getattr(error, "traceback_text", None)
    return text if isinstance(text, str) else "".join(format_exception(error))
