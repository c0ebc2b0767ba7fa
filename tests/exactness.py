"""What makes two values the same for us: more than ``==`` asks for."""

import dataclasses
import json
from datetime import datetime, time
from zoneinfo import ZoneInfo

from signal_tasks.codec import Codec


def travel(codec: Codec, value: object) -> object:
    """Send *value* the way an envelope does: as UTF-8 text of strict JSON."""
    tree = codec.encode(value, path="value")
    text = json.dumps(
        tree, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode("utf-8")
    return codec.decode(json.loads(text), path="value")


def exactly(value: object) -> object:
    """Describe *value* so that equal descriptions mean: the same at every level.

    Unlike ``==`` it tells 1 from True, 0.0 from -0.0, a NaN from another number but not
    from itself, the order of a dict's keys, time zones with the same offset, and folds.
    """
    kind = type(value)
    return kind, _inside(value)


def _inside(value: object) -> object:
    if isinstance(value, dict):
        return [(exactly(key), exactly(item)) for key, item in value.items()]
    if isinstance(value, set | frozenset):
        return sorted(map(exactly, value), key=repr)
    if isinstance(value, list | tuple):
        return [exactly(item) for item in value]
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return [(name, exactly(getattr(value, name))) for name in names]
    return _without_parts(value)


def _without_parts(value: object) -> object:
    if isinstance(value, datetime | time):
        local = value.replace(tzinfo=None).isoformat()
        return local, value.fold, exactly(value.tzinfo)
    if isinstance(value, ZoneInfo):
        return value.key
    if type(value) is int:
        return hex(value)
    return repr(value)
