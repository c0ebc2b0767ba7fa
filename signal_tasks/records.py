"""How records travel: named tuples, dataclasses, attrs classes, Pydantic models, structs.

Each travels by its fields and comes back to the state that it was in. What a record
keeps beside its fields is an error, and never lost.

The libraries' classes are told by what their documentation says of them, so that none of
the libraries has to be there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType, MemberDescriptorType
from typing import Any, Generic

from .faults import FormError, is_showable
from .tags import Tag

#: What a Pydantic model keeps beside its fields, by Pydantic's names and by ours, which
#: no field can have, for Pydantic takes none that begins with an underscore.
_PYDANTIC_STATE: Mapping[str, str] = {
    "_set": "__pydantic_fields_set__",
    "_extra": "__pydantic_extra__",
    "_private": "__pydantic_private__",
}


def record_maker(cls: type[object]) -> Callable[[type[Any], str], Tag] | None:
    """Return what makes the tag of *cls* and a name; None if it is no record."""
    # By its bases, for checkers lose the rest of the type after a mere tuple.
    if tuple in cls.__mro__ and hasattr(cls, "_fields"):
        return _named_tuple_tag
    if hasattr(cls, "__struct_fields__"):
        return _struct_tag
    if _keeps_native_state(cls):
        return None
    if dataclasses.is_dataclass(cls) or hasattr(cls, "__attrs_attrs__"):
        return _class_tag
    if hasattr(cls, "__pydantic_fields__"):
        return _pydantic_tag
    return None


def _named_tuple_tag(cls: type[Any], name: str) -> Tag:
    names: tuple[str, ...] = cls._fields

    def encode(value: object) -> dict[str, object]:
        return _fields_of(value, names, other_slots=())

    def decode(content: dict[str, object]) -> object:
        _check_names(content, names)
        return cls._make(content[name] for name in names)

    return Tag(name=name, cls=cls, encode=encode, decode=decode, has_fields=True)


def _class_tag(cls: type[Any], name: str) -> Tag:
    """Make the tag of a dataclass or an attrs class."""
    is_dataclass = dataclasses.is_dataclass(cls)
    fields = dataclasses.fields(cls) if is_dataclass else cls.__attrs_attrs__
    names = tuple(field.name for field in fields)
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


def _struct_tag(cls: type[Any], name: str) -> Tag:
    names: tuple[str, ...] = cls.__struct_fields__
    slots = {slot.__name__: slot for slot in _slots_outside(cls, ())}

    def encode(value: object) -> dict[str, object]:
        return _fields_of(value, names, other_slots=())

    def decode(content: dict[str, object]) -> object:
        _check_names(content, names)
        value = cls(**content)
        # A __post_init__ may have changed it, which it did for the sender already.
        for field, state in content.items():
            slots[field].__set__(value, state)
        return value

    return Tag(name=name, cls=cls, encode=encode, decode=decode, has_fields=True)


def _pydantic_tag(cls: type[Any], name: str) -> Tag:
    names = tuple(cls.__pydantic_fields__)
    other_slots = _slots_outside(cls, tuple(_PYDANTIC_STATE.values()))

    def encode(value: Any) -> dict[str, object]:
        _check_keeps_only(value, names, other_slots)
        state: dict[str, Any] = value.__getstate__()
        fields: dict[str, object] = state["__dict__"]
        # Not by attribute, for that warns of deprecated ones.
        content = {name: _present(fields, name) for name in names}
        if state["__pydantic_fields_set__"] != set(names):
            content["_set"] = sorted(state["__pydantic_fields_set__"])
        for key in ("_extra", "_private"):
            if state.get(_PYDANTIC_STATE[key]) is not None:
                content[key] = state[_PYDANTIC_STATE[key]]
        return content

    def decode(content: dict[str, Any]) -> object:
        state = {long: content.pop(key, None) for key, long in _PYDANTIC_STATE.items()}
        _check_names(content, names)
        were_set = state["__pydantic_fields_set__"]
        state["__pydantic_fields_set__"] = set(names if were_set is None else were_set)
        value: Any = _blank(cls)
        value.__setstate__({"__dict__": content, **state})
        return value

    return Tag(name=name, cls=cls, encode=encode, decode=decode, has_fields=True)


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
    _check_keeps_only(value, names, other_slots)
    return {name: _field_of(value, name) for name in names}


def _check_keeps_only(
    value: object, names: Sequence[str], other_slots: Sequence[MemberDescriptorType]
) -> None:
    """Raise when *value* has attributes beside its fields."""
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
        raise _no_value(name) from error


def _present(fields: dict[str, object], name: str) -> object:
    try:
        return fields[name]
    except KeyError as error:
        raise _no_value(name) from error


def _no_value(name: str) -> FormError:
    return FormError(
        f"its field {name!r} has no value. Set it before the signal is sent."
    )


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
