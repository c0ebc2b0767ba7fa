"""The codec: values to JSON trees and back, through a registry of tags.

Out comes a tree that the standard library's :mod:`json` writes and reads without
changing it. What JSON has no form for becomes an object with one key, a tilde and the
name of a tag: ``{"~tuple": [1, 2]}``. A dict that JSON would change, or that looks
like that, travels as pairs: ``{"~dict": [[1, "one"]]}``.

Decoding looks tags up in the registry. It imports nothing, and calls nothing but the
functions that were registered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from threading import Lock
from typing import Any, TypeVar

from .exceptions import DecodeError, EncodeError, RegistrationError
from .faults import FormError, Step, field_step, key_step, type_name
from .forms import make_tag, mend_for
from .tag_table import Family, TagTable, is_same_function
from .tags import BUILT_IN_TAGS, Tag, is_utf8_text
from .typing import JSONValue

T = TypeVar("T")

# Beyond 64 bits JSON readers disagree, and Python's own refuses 4300 digits.
_MIN_INT = -(2**63)
_MAX_INT = 2**63 - 1

_GROUPS: dict[str, type[tuple[object, ...] | set[object] | frozenset[object]]] = {
    "~tuple": tuple,
    "~set": set,
    "~frozenset": frozenset,
}
_GROUP_LABELS: dict[type[object], str] = {cls: name for name, cls in _GROUPS.items()}

_NATIVE_TYPES: frozenset[type[object]] = frozenset(
    (type(None), bool, list, dict, *_GROUP_LABELS)
)
_NATIVE_LABELS = frozenset(("~dict", *_GROUPS))

# What JSON has that holds nothing: most of what there is, and it is itself already.
_PLAIN: frozenset[type[object]] = frozenset((str, int, float, bool, type(None)))

_NAMES: frozenset[type[object]] = frozenset((str,))

_LABEL = re.compile(r"~[\w.<>-]{1,200}")

_TOO_DEEP = (
    "it is nested too deep. Send something flatter, or an identifier from which the "
    "handler finds the rest."
)
_STACK_IS_FULL = (
    "the call stack has no room left to walk it. Send something flatter, or send it "
    "from a place that is less deep in calls."
)
_CHANGED = (
    "it was changed while it was being encoded. Send a copy, or do not let other "
    "threads write to it."
)
_NOT_OURS = (
    "the tree is none that a codec writes. The message was damaged or made by "
    "something else."
)
_UNKNOWN_TAG = (
    "no type is registered under this tag here. Register the type in the worker too, "
    "with register_type()."
)


class Codec:
    """Turns values into JSON trees and back through a registry of tags.

    What goes in comes out, with the same types and values at every level, or it
    raises. A type travels when it is built in, or was registered; its subclasses do
    not, unless they were registered too.

        >>> codec = Codec()
        >>> codec.encode({"sizes": (1, 2)}, path="kwargs")
        {'sizes': {'~tuple': [1, 2]}}
        >>> codec.decode({"sizes": {"~tuple": [1, 2]}}, path="kwargs")
        {'sizes': (1, 2)}

    Args:
        max_depth: How many containers and tags may stand inside each other.

    .. versionadded:: 0.1
    """

    def __init__(self, *, max_depth: int = 64) -> None:
        self._max_depth = max_depth
        self._tags = TagTable.of(BUILT_IN_TAGS)
        self._proxies: Mapping[type[object], Callable[[Any], object]] = {}
        self._latecomers: tuple[Callable[[], None], ...] = ()
        self._lock = Lock()

    def register(
        self,
        cls: type[T],
        encode: Callable[[T], object] | None = None,
        decode: Callable[[Any], object] | None = None,
        tag: str | None = None,
        *,
        subclasses: bool = False,
    ) -> None:
        """Let values of *cls* travel.

        Enums and records (dataclasses, named tuples, attrs classes, Pydantic models,
        msgspec structs) need no functions. They are decoded to the state that they
        were in, without calling ``__init__`` (of structs, ``__post_init__`` is called).

        To register the same again does no harm, and a class that was reloaded takes
        the place of the one before.

        Args:
            cls: The exact type.
            encode: Makes anything of a value that can be encoded in turn.
            decode: Makes the value of what *encode* gave.
            tag: The type's name on the wire; by default its module and name.
            subclasses: Let subclasses without a tag of their own travel by this one.

        Raises:
            RegistrationError: The type or the tag is taken, or a function is missing.

        .. versionadded:: 0.1
        """
        _check_is_free(cls, tag)
        new = make_tag(
            cls, encode=encode, decode=decode, name=tag, subclasses=subclasses
        )
        with self._lock:
            if cls in self._proxies:
                raise RegistrationError(
                    f"cannot register {type_name(cls)}: it is unwrapped already, so "
                    "that what it stands for travels."
                )
            self._tags = self._tags.with_tag(new)

    def register_family(
        self,
        tag: str,
        covers: Callable[[type[object]], bool],
        encode: Callable[[Any], object],
        decode: Callable[[Any], object],
    ) -> None:
        """Let values of all types that *covers* names travel by one tag.

        Types with a tag of their own, or of a base, travel by that.

        Args:
            tag: What stands on the wire.
            covers: Asked about a type until it says yes to it once.
            encode: Makes anything of a value that can be encoded in turn; a dict from
                it is taken for attributes.
            decode: Makes the value of what *encode* gave.

        Raises:
            RegistrationError: The tag is taken.

        .. versionadded:: 0.1
        """
        shared = Tag(
            name=tag, cls=object, encode=encode, decode=decode, has_fields=True
        )
        with self._lock:
            self._tags = self._tags.with_family(Family(tag=shared, covers=covers))

    def when_unknown(self, register: Callable[[], None]) -> None:
        """Call *register* whenever a type or a tag is unknown, for it may register it.

        .. versionadded:: 0.1
        """
        self._latecomers = (*self._latecomers, register)

    def register_late(self) -> None:
        """Register what is registered no sooner than something is unknown.

        .. versionadded:: 0.1
        """
        for register in self._latecomers:
            register()

    def unwrap(self, cls: type[T], inner: Callable[[T], object]) -> None:
        """Let proxies of type *cls* travel as what *inner* gives for them.

        They are known by their true type, because ``__class__`` of a proxy, and with
        it ``isinstance``, answers for the object behind it.

        Raises:
            RegistrationError: *cls* travels by a tag, or is unwrapped in another way.

        .. versionadded:: 0.1
        """
        _check_is_free(cls, None)
        with self._lock:
            known = self._proxies.get(cls, inner)
            if cls in self._tags.by_type or not is_same_function(known, inner):
                raise RegistrationError(
                    f"cannot unwrap {type_name(cls)}: it is registered already, in "
                    "another way. Register it once."
                )
            self._proxies = {**self._proxies, cls: inner}

    def encode(self, value: object, *, path: str) -> JSONValue:
        """Turn *value* into a JSON tree.

        Args:
            value: Stays as it is; what it shares with itself is copied.
            path: What to call *value* in an error, such as ``kwargs``.

        Raises:
            EncodeError: Something in it cannot travel; nothing is left out.

        .. versionadded:: 0.1
        """
        try:
            return self._encode(value, 0)
        except FormError as error:
            found = error.as_circle()
            raise EncodeError(
                path=found.path(path), type_name=found.about, reason=found.reason
            ) from error.__cause__
        except RecursionError:
            kind = type_name(type(value))
            raise EncodeError(
                path=path, type_name=kind, reason=_STACK_IS_FULL
            ) from None

    def decode(self, value: JSONValue, *, path: str) -> object:
        """Turn a tree from :meth:`encode` back into the value.

        Args:
            value: May come from anybody; it runs none but registered functions.
            path: What to call *value* in an error, such as ``kwargs``.

        Raises:
            DecodeError: It is no tree of ours, or has a tag that is unknown here.

        .. versionadded:: 0.1
        """
        try:
            return self._decode(value, 0)
        except FormError as error:
            raise DecodeError(
                path=error.path(path), tag=error.about or None, reason=error.reason
            ) from error.__cause__
        except RecursionError:
            raise DecodeError(path=path, tag=None, reason=_STACK_IS_FULL) from None

    def _encode(self, value: object, depth: int) -> JSONValue:
        if (
            (type(value) is str and (value.isascii() or is_utf8_text(value)))
            or (type(value) is int and _MIN_INT <= value <= _MAX_INT)
            or value is None
            or type(value) is bool
            or (type(value) is float and isfinite(value))
        ):
            return value
        kind = type(value)
        if depth >= self._max_depth:
            error = FormError(_TOO_DEEP, about=type_name(kind), is_too_deep=True)
            raise error.at(value, "")
        if kind is dict:
            return self._encode_dict(value, depth + 1)
        if kind is list:
            return self._encode_items(value, depth + 1)
        if kind in _GROUP_LABELS:
            return {_GROUP_LABELS[kind]: self._encode_items(value, depth + 1)}
        return self._encode_other(value, depth + 1)

    # Any, here and below: checkers do not follow that _encode asked for the type.
    def _encode_items(self, items: Any, depth: int) -> list[JSONValue]:
        encoded: list[JSONValue] = []
        try:
            for item in items:
                # Its length is the position of the item that fails.
                encoded.append(self._encode(item, depth))  # noqa: PERF401
        except (FormError, RuntimeError) as error:
            raise _at(error, items, f"[{len(encoded)}]") from error.__cause__
        return encoded

    def _encode_dict(self, value: Any, depth: int) -> JSONValue:
        if _is_plain(value):
            return self._encode_entries(value, depth, key_step)
        return {"~dict": self._encode_pairs(value, depth)}

    def _encode_entries(
        self, entries: Any, depth: int, step: Step
    ) -> dict[str, JSONValue]:
        encoded: dict[str, JSONValue] = {}
        key = ""
        try:
            for key, item in entries.items():
                encoded[key] = self._encode(item, depth)
        except (FormError, RuntimeError) as error:
            raise _at(error, entries, step(key, len(encoded))) from error.__cause__
        return encoded

    def _encode_pairs(self, entries: Any, depth: int) -> list[JSONValue]:
        encoded: list[JSONValue] = []
        key: object = None
        try:
            for key, item in entries.items():
                pair = [self._encode(key, depth), self._encode(item, depth)]
                encoded.append(pair)
        except (FormError, RuntimeError) as error:
            where = key_step(key, len(encoded))
            raise _at(error, entries, where) from error.__cause__
        return encoded

    def _encode_other(self, value: object, depth: int) -> JSONValue:
        kind = type(value)
        try:
            if kind in self._proxies:
                return self._encode(_call(self._proxies[kind], value), depth)
            tag = self._tag_for(kind)
            return {f"~{tag.name}": self._encode_content(tag, value, depth)}
        except FormError as error:
            error.about = error.about or type_name(kind)
            error.at(value, "")
            raise

    def _tag_for(self, kind: type[object]) -> Tag:
        tag = self._tags.for_type(kind)
        if tag is None:
            self.register_late()
            tag = self._tags.for_type(kind)
        if tag is None:
            raise FormError(mend_for(kind, _NATIVE_TYPES | self._tags.by_type.keys()))
        return tag

    def _encode_content(self, tag: Tag, value: object, depth: int) -> JSONValue:
        content = _call(tag.encode, value)
        kind = type(content)
        if tag.has_fields and kind is dict:
            return self._encode_entries(content, depth, field_step)
        return self._encode(content, depth)

    def _decode(self, value: JSONValue, depth: int) -> object:
        if type(value) is dict:
            return self._decode_object(value, self._deeper(depth))
        if type(value) is list:
            return self._decode_items(value, self._deeper(depth))
        return value

    def _deeper(self, depth: int) -> int:
        if depth >= self._max_depth:
            raise FormError(_TOO_DEEP)
        return depth + 1

    def _decode_object(self, value: dict[str, JSONValue], depth: int) -> object:
        if len(value) == 1:
            ((label, content),) = value.items()
            if label[:1] == "~":
                return self._decode_tagged(label, content, depth)
        return self._decode_entries(value, depth, key_step)

    def _decode_items(self, items: list[JSONValue], depth: int) -> list[object]:
        decoded: list[object] = []
        try:
            for item in items:
                is_plain = type(item) in _PLAIN
                decoded.append(item if is_plain else self._decode(item, depth))
        except FormError as error:
            error.at(items, f"[{len(decoded)}]")
            raise
        return decoded

    def _decode_entries(
        self,
        entries: dict[str, JSONValue],
        depth: int,
        step: Step,
    ) -> dict[str, object]:
        if not _is_plain(entries):
            raise FormError(_NOT_OURS)
        decoded: dict[str, object] = {}
        key = ""
        try:
            for key, item in entries.items():
                is_plain = type(item) in _PLAIN
                decoded[key] = item if is_plain else self._decode(item, depth)
        except FormError as error:
            error.at(entries, step(key, len(decoded)))
            raise
        return decoded

    def _decode_pairs(self, content: JSONValue, depth: int) -> list[list[object]]:
        pairs = [_pair_of(pair) for pair in _list_of(content)]
        decoded: list[list[object]] = []
        key: JSONValue = None
        try:
            for key, item in pairs:
                decoded.append([self._decode(key, depth), self._decode(item, depth)])
        except FormError as error:
            error.at(pairs, key_step(key, len(decoded)))
            raise
        return decoded

    def _decode_tagged(self, label: str, content: JSONValue, depth: int) -> object:
        tag = self._tags.by_label.get(label)
        if tag is None and label not in _NATIVE_LABELS:
            self.register_late()
            tag = self._tags.by_label.get(label)
        if tag is None and label not in _NATIVE_LABELS:
            shown = label[1:] if _LABEL.fullmatch(label) else "with an unusual name"
            raise FormError(_UNKNOWN_TAG, about=shown)
        try:
            if tag is not None:
                return _call(tag.decode, self._decode_content(tag, content, depth))
            if label == "~dict":
                return _collect(dict, self._decode_pairs(content, depth))
            items = self._decode_items(_list_of(content), depth)
            return _collect(_GROUPS[label], items)
        except FormError as error:
            if not error.is_placed:
                error.about = error.about or label[1:]
            raise

    def _decode_content(self, tag: Tag, content: JSONValue, depth: int) -> object:
        if tag.has_fields and type(content) is dict:
            return self._decode_entries(content, depth, field_step)
        return self._decode(content, depth)


def are_plain(values: Iterable[object]) -> bool:
    """Tell whether each of *values* holds nothing and is its own JSON tree.

    It may say no where :meth:`Codec.encode` would return the same values all the same;
    nothing is called then that anybody has registered.
    """
    for value in values:
        if type(value) is str:
            if not value.isascii():
                return False
        elif type(value) is int:
            if not _MIN_INT <= value <= _MAX_INT:
                return False
        elif type(value) is float:
            if not isfinite(value):
                return False
        elif value is not None and type(value) is not bool:
            return False
    return True


def plain_entries(entries: Mapping[str, object]) -> dict[str, JSONValue] | None:
    """Return *entries* where they are their own JSON tree, as those of most events are.

    None where they may not be, as with :func:`are_plain`.
    """
    kind: type[object] = type(entries)
    if kind is not dict or not _NAMES.issuperset(map(type, entries)):
        return None
    names = "".join(entries)
    if "~" in names or not names.isascii():
        return None
    plain: Any = entries
    return plain if are_plain(plain.values()) else None


def _check_is_free(cls: object, tag: str | None) -> None:
    if not isinstance(cls, type):
        raise RegistrationError(
            f"cannot register a {type_name(type(cls))}: it is not a class."
        )
    if cls in _NATIVE_TYPES or f"~{tag}" in _NATIVE_LABELS:
        raise RegistrationError(
            f"cannot register {type_name(cls)} like this: the type or the tag is one "
            "of the codec's own."
        )


def _is_plain(entries: Any) -> bool:
    """Tell whether JSON keeps the keys as they are, and none looks like a tag."""
    # A copy, for another thread may add to the dict.
    for key in tuple(entries):
        if type(key) is not str or key[:1] == "~":
            return False
        if not key.isascii() and not is_utf8_text(key):
            return False
    return True


def _call(function: Callable[[Any], object], value: object) -> object:
    """Call a registered function; whatever it raises becomes the one error we know."""
    try:
        return function(value)
    except FormError:
        raise
    except Exception as error:
        raise FormError(
            f"the function for this type raised {type(error).__name__}. See the cause "
            "of this error, and mend the function or what it was given."
        ) from error


def _collect(make: Callable[[Any], Any], items: list[Any]) -> object:
    """Make a container of *items*, and make sure that it took every one."""
    collected: Any = _call(make, items)
    if len(collected) != len(items):
        raise FormError("some of its items are equal here, and only one would be kept.")
    return collected


def _list_of(content: JSONValue) -> list[JSONValue]:
    if type(content) is not list:
        raise FormError(_NOT_OURS)
    return content


def _pair_of(content: JSONValue) -> tuple[JSONValue, JSONValue]:
    match content:
        case [key, item]:
            return key, item
        case _:
            raise FormError(_NOT_OURS)


def _at(error: FormError | RuntimeError, holder: object, step: str) -> FormError:
    """Add to *error* where in *holder* it came up."""
    if isinstance(error, FormError):
        return error.at(holder, step)
    # Registered functions raise through _call, so this comes from Python itself.
    is_full = isinstance(error, RecursionError)
    reason = _STACK_IS_FULL if is_full else _CHANGED
    return FormError(reason, about=type_name(type(holder)), is_too_deep=is_full)
