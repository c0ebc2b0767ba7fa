"""What happens when a worker does not find what a reference stands for.

A reference sends identity and not state: what it stands for may be gone by the time
that the handler runs. The receiver's policy for that is set here around encoding and
decoding; the tags that make references ask for it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from .exceptions import RegistrationError
from .typing import named_items, names_in

Action: TypeAlias = Literal["discard", "fail", "none", "retry", "tombstone"]

_ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPolicy:
    """What a receiver wants when something that its event refers to is gone."""

    action: Action = "fail"

    columns: tuple[str, ...] | None = None
    """Columns that a tombstone keeps; None for all that were loaded when it was sent."""


FAIL: Final = MissingPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """Stands in a handler's arguments for something that is gone.

    The columns that were sent along are its attributes.
    """

    type_name: str
    """Full name of the class of what is gone."""

    key: tuple[object, ...]
    """Its primary key."""

    columns: Mapping[str, object] = field(repr=False)
    """What was known of it when the signal was sent."""

    def __getattr__(self, name: str) -> object:
        columns: Mapping[str, object] = object.__getattribute__(self, "columns")
        if name in columns:
            return columns[name]
        raise AttributeError(
            f"the tombstone of a {self.type_name} has no {name}: the row is gone, and "
            "that column was not sent along. Name it in missing={'tombstone': (...)}."
        )


@dataclass(slots=True, kw_only=True)
class Lookup:
    """One run of a handler, looking up what its event refers to."""

    policy: MissingPolicy
    misses: list[str] = field(default_factory=list[str])
    """Full names of the classes of what was not found and not replaced."""

    def replace(self, tombstone: Tombstone) -> Tombstone | None:
        """Return what the handler gets for something that is gone."""
        if self.policy.action == "tombstone":
            return tombstone
        if self.policy.action != "none":
            self.misses.append(tombstone.type_name)
        return None


_columns: ContextVar[tuple[bool, tuple[str, ...] | None]] = ContextVar(
    "signal_tasks_tombstone", default=(False, None)
)
_lookup: ContextVar[Lookup | None] = ContextVar("signal_tasks_lookup", default=None)


@contextmanager
def sending(policy: MissingPolicy) -> Generator[None]:
    """Let references that are encoded inside carry what *policy* will need."""
    token = _columns.set((policy.action == "tombstone", policy.columns))
    try:
        yield
    finally:
        _columns.reset(token)


def tombstone_columns() -> tuple[bool, tuple[str, ...] | None]:
    """Tell whether to send columns along, and which; None for all that are loaded."""
    return _columns.get()


@contextmanager
def looking_up(policy: MissingPolicy) -> Generator[Lookup]:
    """Let references that are decoded inside follow *policy*."""
    lookup = Lookup(policy=policy)
    token = _lookup.set(lookup)
    try:
        yield lookup
    finally:
        _lookup.reset(token)


def current_lookup() -> Lookup:
    """Return the lookup that references decoded now belong to."""
    return _lookup.get() or Lookup(policy=FAIL)


def missing_policy(missing: object) -> MissingPolicy:
    """Read the ``missing`` option of a receiver.

    Raises:
        RegistrationError: It names no policy.
    """
    if missing is ...:
        return FAIL
    for action in _ACTIONS:
        if missing == action:
            return MissingPolicy(action=action)
    items = named_items(missing) or {}
    columns = names_in(items.get("tombstone"))
    if columns is None or len(items) != 1:
        raise RegistrationError(
            f"missing= takes one of {', '.join(map(repr, _ACTIONS))}, or "
            "{'tombstone': (columns, ...)}."
        )
    return MissingPolicy(action="tombstone", columns=columns)
