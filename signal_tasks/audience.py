"""Who a signal is for: its receivers, and what no event changes about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from .references import FAIL, MissingPolicy
from .registry import Receiver
from .typing import Delivery, Wanted

Needs: TypeAlias = tuple[Wanted, MissingPolicy]
"""What decides how an event is encoded for a receiver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Receivers that need the same to travel, so that an event is encoded once for all."""

    receivers: tuple[Receiver, ...]
    names: tuple[str, ...]
    wanted: Wanted
    missing: MissingPolicy

    in_outbox: frozenset[str]
    """The names of those whose delivery is ``outbox``."""

    by_default: frozenset[str]
    """The names of those that name no delivery."""

    @classmethod
    def of(cls, receivers: Iterable[Receiver]) -> Group:
        """Make a group of *receivers*, of which there is one at least."""
        members = tuple(receivers)
        wanted, missing = _needs(members[0])
        return cls(
            receivers=members,
            names=tuple(one.name for one in members),
            wanted=wanted,
            missing=missing,
            in_outbox=frozenset(
                one.name for one in members if one.delivery == "outbox"
            ),
            by_default=frozenset(one.name for one in members if one.delivery is None),
        )

    def kept(self, default: Delivery) -> frozenset[str]:
        """Return the names of those for whom a row of the outbox stands.

        Args:
            default: The delivery of those that name none.
        """
        if default == "outbox":
            return self.in_outbox | self.by_default
        return self.in_outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """The receivers of a signal, sorted once and not at each send."""

    receivers: tuple[Receiver, ...]

    groups: tuple[Group, ...]
    """Those that take every event whole."""

    choosy: tuple[Receiver, ...]
    """Those that have to be asked about each event."""

    deliveries: frozenset[Delivery | None]

    is_simple: bool
    """Whether nothing but sender and arguments travels, and to all of them."""

    @classmethod
    def of(cls, receivers: Iterable[Receiver]) -> Audience:
        """Return the audience that *receivers* are."""
        members = tuple(receivers)
        choosy = tuple(one for one in members if _is_choosy(one))
        groups = groups_of(one for one in members if not _is_choosy(one))
        return cls(
            receivers=members,
            groups=groups,
            choosy=choosy,
            deliveries=frozenset(one.delivery for one in members),
            is_simple=not choosy
            and [(one.wanted, one.missing) for one in groups] == [((), FAIL)],
        )

    def common_delivery(self, default: Delivery) -> Delivery | None:
        """Return the delivery of all of them; None where they have several.

        Args:
            default: That of those that name none.
        """
        if len(self.deliveries) != 1:
            return None
        (delivery,) = self.deliveries
        return delivery or default

    def deliveries_by_name(self, default: Delivery) -> Mapping[str, Delivery]:
        """Return the delivery of each; *default* is that of those that name none."""
        return {one.name: one.delivery or default for one in self.receivers}


def groups_of(receivers: Iterable[Receiver]) -> tuple[Group, ...]:
    """Put together those of *receivers* that need the same."""
    groups: dict[Needs, list[Receiver]] = {}
    for receiver in receivers:
        groups.setdefault(_needs(receiver), []).append(receiver)
    return tuple(map(Group.of, groups.values()))


def _needs(receiver: Receiver) -> Needs:
    """Return what decides how an event is encoded for *receiver*."""
    return receiver.context, receiver.missing


def _is_choosy(receiver: Receiver) -> bool:
    return receiver.condition is not None or receiver.extract is not None
