"""Which SQLAlchemy models events may refer to, and by what names.

An instance travels as a reference, a class as its name. Both are found by name among
the mapped classes of the declarative bases that were made known, and of those that the
application knows by itself; nothing is imported to find one.

SQLAlchemy takes longer to import than all of us, so it is not imported here: ``orm.py``,
which reads instances and loads them, comes in when the first of them travels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from .codec import Codec
from .exceptions import RegistrationError
from .faults import FormError, type_name
from .references import Tombstone, current_lookup, current_referral
from .registry import module_name

T = TypeVar("T")


class Models:
    """The models that one bridge's events may refer to.

    Args:
        codec: Gets a tag for their instances and one for themselves.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._registries: tuple[object, ...] = ()
        self._names: dict[type[object], str] = {}
        self._mapped: WeakKeyDictionary[object, _Mapped] = WeakKeyDictionary()
        codec.register(Tombstone, tag="tombstone")
        codec.register_family("row", is_mapped, self._encode_row, self._decode_row)
        codec.register_family("model", _is_metaclass, self._name_of, self._called)

    def register(
        self,
        cls: type[T],
        encode: Callable[[T], object] | None = None,
        decode: Callable[[Any], object] | None = None,
        tag: str | None = None,
    ) -> None:
        """Let instances of *cls* travel: as references, if nobody says otherwise.

        Raises:
            RegistrationError: It cannot be registered so.
        """
        if encode is None and decode is None and has_models(cls):
            self.add(cls, tag)
        else:
            self._codec.register(cls, encode, decode, tag)

    def add(self, cls: type[object], name: str | None = None) -> None:
        """Make *cls* known, and all models that share its declarative base.

        Args:
            cls: A mapped class, or a declarative base.
            name: What *cls* is called on the wire; by default its module and name.

        Raises:
            RegistrationError: Another model has the name.
        """
        registry = _registry_of(cls)
        if registry not in self._registries:
            self._registries = (*self._registries, registry)
        if name is not None:
            self._rename(cls, name)

    def _rename(self, cls: type[object], name: str) -> None:
        kept = {one: taken for one, taken in self._names.items() if taken != name}
        for former in self._names.keys() - kept.keys():
            if type_name(former) != type_name(cls):
                raise RegistrationError(
                    f"cannot register {type_name(cls)} under the tag {name!r}: "
                    f"{type_name(former)} has it. Choose another one with tag=."
                )
        self._names = {**kept, cls: name}

    def _encode_row(self, instance: object) -> dict[str, object]:
        from .orm import reference_to  # noqa: PLC0415  # start-up time, see above

        name = self._name_of(type(instance))
        return reference_to(instance, name, current_referral())

    def _decode_row(self, content: dict[str, Any]) -> object:
        from .orm import find  # noqa: PLC0415  # start-up time, see above

        return find(self._called(content["class"]), content, current_lookup())

    def _name_of(self, cls: type[object]) -> str:
        if not is_mapped(cls):
            raise FormError(
                "of classes, only SQLAlchemy's mapped ones travel. Send its name "
                "instead, or what the handler needs of it."
            )
        name = self._names.get(cls) or _full_name(cls)
        if self._find(name, current_referral().database.registries) is not cls:
            raise FormError(
                "no worker would find it by its name, for its declarative base is not "
                "known, or another mapped class is called the same. Add register_type("
                f"{cls.__name__}) where the class is defined, in the second case with "
                "a tag= that no other has."
            )
        return name

    def _called(self, name: str) -> type[object]:
        found = self._find(name, current_lookup().database.registries)
        if found is None:
            raise FormError(
                "no mapped class of that name is known here. Import its module in the "
                "worker too, and make its declarative base known with register_type()."
            )
        return found

    def _find(self, name: str, registries: tuple[object, ...]) -> type[object] | None:
        found = self._recall(name, registries)
        if found is None:
            self._codec.register_late()
            for registry in (*registries, *self._registries):
                self._mapped[registry] = _mapped_in(registry)
            found = self._recall(name, registries)
        return found

    def _recall(self, name: str, registries: Iterable[object]) -> type[object] | None:
        for cls, renamed in self._names.items():
            if renamed == name:
                return cls
        for registry in (*registries, *self._registries):
            mapped = self._mapped.get(registry)
            if mapped is not None and name in mapped:
                return mapped.get(name)
        return None


# Weak, for a class holds on to its registry, which would hold on to itself here.
_Mapped = WeakValueDictionary[str, type[object]]


def is_mapped(cls: type[object]) -> bool:
    """Tell whether SQLAlchemy maps exactly *cls* to a table."""
    mapper = getattr(cls, "__mapper__", None)
    return getattr(mapper, "class_", None) is cls


def has_models(cls: type[object]) -> bool:
    """Tell whether *cls* is a mapped class or a declarative base."""
    return is_mapped(cls) or hasattr(getattr(cls, "registry", None), "mappers")


def _is_metaclass(cls: type[object]) -> bool:
    return issubclass(cls, type)


def _registry_of(cls: Any) -> object:
    return cls.__mapper__.registry if is_mapped(cls) else cls.registry


def _mapped_in(registry: Any) -> _Mapped:
    """Return the mapped classes by names that are one class's alone."""
    classes = [mapper.class_ for mapper in registry.mappers]
    count = Counter(map(_full_name, classes))
    return WeakValueDictionary(
        {name: cls for cls in classes if count[name := _full_name(cls)] == 1}
    )


def _full_name(cls: type[object]) -> str:
    return f"{module_name(cls.__module__)}.{cls.__qualname__}"
