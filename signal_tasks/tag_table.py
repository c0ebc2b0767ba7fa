"""Which tag a type travels by, and which type a tag on the wire stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .exceptions import RegistrationError
from .faults import type_name
from .tags import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Types that travel by one tag, though no base class tells that they belong to it."""

    tag: Tag

    covers: Callable[[type[object]], bool]
    """Tells whether a type belongs to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagTable:
    """The tags of a codec at one moment.

    It is replaced as a whole, so that those who read it need no lock.
    """

    by_type: Mapping[type[object], Tag]
    by_label: Mapping[str, Tag]

    families: tuple[Family, ...] = ()
    """Asked in turn for types that neither have a tag nor inherit one."""

    inherited: dict[type[object], Tag] = field(default_factory=dict[type[object], Tag])
    """Which tag a subclass was found to travel by; the one thing that grows."""

    @classmethod
    def of(cls, tags: Iterable[Tag], families: Iterable[Family] = ()) -> TagTable:
        """Make a table of *tags*, which have to be of different types and names."""
        tags, families = tuple(tags), tuple(families)
        shared = (family.tag for family in families)
        return cls(
            by_type={tag.cls: tag for tag in tags},
            by_label={f"~{tag.name}": tag for tag in (*tags, *shared)},
            families=families,
        )

    def for_type(self, kind: type[object]) -> Tag | None:
        """Find the tag of *kind*: its own, its nearest covering base's, its family's."""
        return self.by_type.get(kind) or self.inherited.get(kind) or self._inherit(kind)

    def _inherit(self, kind: type[object]) -> Tag | None:
        tag = next(self._tags_around(kind), None)
        if tag is not None:
            self.inherited[kind] = tag
        return tag

    def _tags_around(self, kind: type[object]) -> Iterator[Tag]:
        for base in kind.__mro__:
            tag = self.by_type.get(base)
            if tag is not None and tag.covers_subclasses:
                yield tag
        for family in self.families:
            if family.covers(kind):
                yield family.tag

    def with_tag(self, new: Tag) -> TagTable:
        """Make a table with *new* as well, instead of the tag that it renews if any.

        Raises:
            RegistrationError: The type or the name belongs to another tag.
        """
        kept = {id(tag): tag for tag in self.by_type.values()}
        for old in (self.by_type.get(new.cls), self.by_label.get(f"~{new.name}")):
            if old is not None:
                _check_may_replace(old, new)
                kept.pop(id(old), None)
        return self.of((*kept.values(), new), self.families)

    def with_family(self, new: Family) -> TagTable:
        """Make a table with *new* as well.

        Raises:
            RegistrationError: The name belongs to another tag.
        """
        if f"~{new.tag.name}" in self.by_label:
            raise RegistrationError(
                f"cannot register a family under the tag {new.tag.name!r}: it is taken. "
                "Choose another one."
            )
        return self.of(self.by_type.values(), (*self.families, new))


def _check_may_replace(old: Tag, new: Tag) -> None:
    is_reload = old.cls is not new.cls and type_name(old.cls) == type_name(new.cls)
    if is_reload or _is_same_tag(old, new):
        return
    if old.cls is new.cls:
        raise RegistrationError(
            f"cannot register {type_name(new.cls)}: it travels already, by the tag "
            f"{old.name!r}, with other functions or options. Register it once."
        )
    raise RegistrationError(
        f"cannot register {type_name(new.cls)} under the tag {new.name!r}: "
        f"{type_name(old.cls)} has it. Choose another one with tag=."
    )


def _is_same_tag(old: Tag, new: Tag) -> bool:
    return (
        old.cls is new.cls
        and old.name == new.name
        and old.covers_subclasses == new.covers_subclasses
        and is_same_function(old.encode, new.encode)
        and is_same_function(old.decode, new.decode)
    )


def is_same_function(one: Callable[..., object], other: Callable[..., object]) -> bool:
    """Tell whether both are the same, or were made by the same lines of code.

    An application factory that runs twice makes its functions twice.
    """
    code = getattr(one, "__code__", None)
    same_code = code is not None and code is getattr(other, "__code__", None)
    return same_code or one == other
