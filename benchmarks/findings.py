"""What a measurement found, and whether that is what we promise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One number, with what was hoped for."""

    what: str
    value: float
    unit: str = ""

    goal: str = ""
    """In words; empty where there is none."""

    is_kept: bool | None = None
    """Whether the goal is; None without one."""


def at_most(what: str, value: float, limit: float, unit: str = "") -> Finding:
    """Return a finding whose value is to be *limit* or less."""
    return Finding(
        what=what,
        value=value,
        unit=unit,
        goal=f"at most {limit:g}{unit}",
        is_kept=value <= limit,
    )


def at_least(what: str, value: float, limit: float, unit: str = "") -> Finding:
    """Return a finding whose value is to be *limit* or more."""
    return Finding(
        what=what,
        value=value,
        unit=unit,
        goal=f"at least {limit:g}{unit}",
        is_kept=value >= limit,
    )
