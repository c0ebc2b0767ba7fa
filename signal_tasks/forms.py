"""How the user's types travel: by functions, or as the enum or record that they are.

An enum's member travels by its name, a flag by its bits, a named tuple and a dataclass
by their fields, an exception by its arguments and attributes. An exception brings its
traceback as text, in its attribute ``traceback_text``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Sequence
from datetime import tzinfo
from enum import Enum, Flag
from traceback import format_exception
from types import BuiltinFunctionType, MemberDescriptorType
from typing import Any, Generic

from .exceptions import RegistrationError
from .faults import FormError, is_showable, type_name
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
            "named tuples, exceptions, and dataclasses of no built-in type travel as "
            "they are. Pass both encode and decode."
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
    # By its bases, for checkers lose the rest of the type after a mere tuple.
    if tuple in cls.__mro__ and hasattr(cls, "_fields"):
        return _named_tuple_tag
    if dataclasses.is_dataclass(cls) and not _keeps_native_state(cls):
        return _dataclass_tag
    if issubclass(cls, BaseException):
        return _exception_tag
    return None


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


def _named_tuple_tag(cls: type[Any], name: str) -> Tag:
    names: tuple[str, ...] = cls._fields

    def encode(value: object) -> dict[str, object]:
        return _fields_of(value, names, other_slots=())

    def decode(content: dict[str, object]) -> object:
        _check_names(content, names)
        return cls._make(content[name] for name in names)

    return Tag(name=name, cls=cls, encode=encode, decode=decode, has_fields=True)


def _dataclass_tag(cls: type[Any], name: str) -> Tag:
    names = tuple(field.name for field in dataclasses.fields(cls))
    other_slots = _slots_outside(cls, names)

    def encode(value: object) -> dict[str, object]:
        return _fields_of(value, names, other_slots=other_slots)

    def decode(content: dict[str, object]) -> object:
        _check_names(content, names)
        value = _blank(cls)
        for field, state in content.items():
            object.__setattr__(value, field, state)
        return value

    return Tag(name=name, cls=cls, encode=encode, decode=decode, has_fields=True)


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


def _keeps_native_state(cls: type[object]) -> bool:
    """Tell whether a base written in C, such as dict, keeps what no field shows."""
    return any(
        isinstance(vars(base).get("__new__"), BuiltinFunctionType)
        for base in cls.__mro__
        if base not in (object, Generic)
    )


def _blank(cls: type[Any]) -> object:
    # From Python 3.12 on, Generic is written in C and has a __new__ of its own,
    # which object's refuses to stand in for.
    base = Generic if issubclass(cls, Generic) else object
    return base.__new__(cls)


def _slots_outside(
    cls: type[object], names: Sequence[str]
) -> tuple[MemberDescriptorType, ...]:
    return tuple(
        attribute
        for base in cls.__mro__
        for attribute in vars(base).values()
        if isinstance(attribute, MemberDescriptorType)
        and attribute.__name__ not in names
    )


def _fields_of(
    value: object, names: Sequence[str], *, other_slots: Sequence[MemberDescriptorType]
) -> dict[str, object]:
    """Read the fields, and make sure that they are all that *value* is made of."""
    attributes: dict[str, object] = getattr(value, "__dict__", {})
    extras = [
        name
        for name in attributes
        if name not in names and not _is_recomputable(type(value), name)
    ]
    extras += [slot.__name__ for slot in other_slots if _is_filled(slot, value)]
    if extras:
        raise FormError(
            f"its attribute {_shown(extras[0])} is no field and would be lost. Make "
            "it a field, or register the type with encode and decode."
        )
    return {name: _field_of(value, name) for name in names}


def _is_recomputable(cls: type[object], name: str) -> bool:
    """Tell whether the attribute is a cached property's memory or typing's own."""
    found = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    # By name, for werkzeug and others have cached properties of their own.
    kinds = {kind.__name__ for kind in type(found).__mro__}
    return "cached_property" in kinds or name == "__orig_class__"


def _is_filled(slot: MemberDescriptorType, value: object) -> bool:
    try:
        slot.__get__(value, type(value))
    except AttributeError:
        return False
    return True


def _field_of(value: object, name: str) -> object:
    try:
        return getattr(value, name)
    except AttributeError as error:
        raise FormError(
            f"its field {name!r} has no value. Set it before the signal is sent."
        ) from error


def _check_names(content: dict[str, object], names: Sequence[str]) -> None:
    """Raise when *content* does not have exactly the fields *names*."""
    missing = [name for name in names if name not in content]
    unknown = [name for name in content if name not in names]
    if missing or unknown:
        fault = "is missing" if missing else "is unknown here"
        raise FormError(
            f"the field {_shown((missing or unknown)[0])} {fault}. Sender and worker "
            "have different versions of the class: let both run the same code."
        )


def _shown(name: str) -> str:
    return repr(name) if is_showable(name) else "(with an unusual name)"
