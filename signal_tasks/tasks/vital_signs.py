"""What a worker tells of a receiver's task when it is asked.

Both sides meet here: the task writes it, and whoever inspects the worker with Celery's
own remote control, ``inspect().registered("vital_signs")``, reads it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from inspect import Parameter
from typing import Final, TypeGuard

from ..typing import Handler

ATTRIBUTE: Final = "vital_signs"
"""The attribute of a receiver's task that workers are asked for."""

_PREFIXES: Final[dict[object, str]] = {
    Parameter.VAR_POSITIONAL: "*",
    Parameter.VAR_KEYWORD: "**",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VitalSigns:
    """How one receiver is known to one process."""

    app: str
    """Name of its Celery app."""

    parameters: str
    """What its handler takes, as :func:`parameters_of` writes it."""

    fingerprints: tuple[str, ...]
    """Of the keys that the process opens envelopes with, the one that signs last."""

    acks_late: bool
    reject_on_worker_lost: bool

    time_limit: float | None
    """The receiver's own; None where it has the worker's."""

    told_at: float
    """The clock of the process, in seconds since 1970."""

    def __str__(self) -> str:
        """Return it as a worker tells it."""
        return json.dumps(asdict(self), separators=(",", ":"))


def read(answer: str) -> tuple[str, VitalSigns | None]:
    """Return the name of a task, and its vital signs if it has them.

    Args:
        answer: What a worker says of the task; anybody on the broker may have said it.
    """
    name, separator, rest = answer.partition(f" [{ATTRIBUTE}=")
    if not separator:
        return name, None
    try:
        facts = json.loads(rest.removesuffix("]"))
        return name, _checked(facts)
    except (ValueError, TypeError, KeyError, RecursionError):
        return name, None


def parameters_of(handler: Handler) -> str:
    """Return what *handler* takes besides its sender, without defaults and types.

    Messages that one handler takes another with the same parameters takes, too.
    """
    try:
        return f"({', '.join(_parameters(handler))})"
    except (ValueError, TypeError):
        return "(?)"


def _parameters(handler: Handler) -> Iterator[str]:
    is_first = True
    for parameter in inspect.signature(handler).parameters.values():
        is_positional = parameter.kind in (
            Parameter.POSITIONAL_ONLY,
            Parameter.POSITIONAL_OR_KEYWORD,
        )
        if is_first and is_positional:
            yield "sender"  # whatever it is called, for it is not passed by its name
        else:
            default = "" if parameter.default is Parameter.empty else "=..."
            yield f"{_PREFIXES.get(parameter.kind, '')}{parameter.name}{default}"
        is_first = False


def _checked(facts: dict[str, object]) -> VitalSigns:
    limit = facts["time_limit"]
    return VitalSigns(
        app=str(facts["app"]),
        parameters=str(facts["parameters"]),
        fingerprints=_texts(facts["fingerprints"]),
        acks_late=facts["acks_late"] is True,
        reject_on_worker_lost=facts["reject_on_worker_lost"] is True,
        time_limit=None if limit is None else _number(limit),
        told_at=_number(facts["told_at"]),
    )


def _texts(value: object) -> tuple[str, ...]:
    if _is_list(value):
        return tuple(str(item) for item in value)
    raise TypeError(type(value))


def _is_list(value: object) -> TypeGuard[list[object]]:
    """Tell whether *value*, which :mod:`json` read, is a JSON array."""
    return isinstance(value, list)


def _number(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(type(value))
