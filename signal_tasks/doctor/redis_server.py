"""What a Redis or Valkey says of itself, as a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from .findings import Finding, Status

Errors: TypeAlias = tuple[type[Exception], ...]
"""What the client raises; its package takes long to import, so we do not."""

_OLDEST: Final = (6, 2)  # kombu's Lua scripts need it
_NEARLY_FULL: Final = 0.9
_SKEW_SECONDS: Final = 5.0

_version = partial(Finding, check="broker-version")
_appendonly = partial(Finding, check="broker-append-only")
_writes = partial(Finding, check="broker-writes")
_eviction = partial(Finding, check="broker-eviction")
_memory = partial(Finding, check="broker-memory")
_clock = partial(Finding, check="broker-clock")

_APPEND: Final = (
    "Set `appendonly yes` in its configuration; or deliver by outbox what must not be "
    "lost."
)


def check_redis(
    client: Any, errors: Errors, *, now: Callable[[], float]
) -> Iterator[Finding]:
    """Ask the server what it is, whether it keeps what it takes, and how full it is.

    Args:
        client: The one that kombu talks to it with.
        errors: What the client raises.
        now: Our clock.
    """
    try:
        info: Mapping[str, Any] = client.info()
    except errors as error:
        yield _version(
            status=Status.SKIPPED,
            found="the broker does not tell its version, nor whether it keeps what it "
            f"takes (INFO: {type(error).__name__}).",
            mend="Let its user run INFO, or see to it yourself: version 6.2 or newer, "
            "appendonly yes, maxmemory-policy noeviction.",
        )
        return
    yield from check_version(info)
    yield from check_keeping(info, _fsync(client, errors))
    yield from check_role(info)
    yield from check_memory(info)
    yield from check_clock(client, errors, now=now)


def check_version(info: Mapping[str, Any]) -> Iterator[Finding]:
    """Tell the server's version, which kombu's scripts depend on."""
    text = str(info.get("redis_version", "?"))
    name = f"Redis {text}"
    if "valkey_version" in info:
        name = f"Valkey {info['valkey_version']}"
    numbers = tuple(int(part) for part in text.split(".") if part.isdigit())
    if numbers < _OLDEST:
        yield _version(
            status=Status.WRONG,
            found=f"it is {name}, and workers need 6.2 or newer.",
            mend="Move to a newer Redis, or to Valkey.",
        )
    else:
        yield _version(status=Status.OK, found=f"it is {name}.")


def check_keeping(info: Mapping[str, Any], fsync: str | None) -> Iterator[Finding]:
    """Tell whether messages survive the server's own end."""
    if not info.get("aof_enabled"):
        yield _appendonly(
            status=Status.WARNING,
            found="its append-only file is off: what is queued is lost when it ends "
            "without a snapshot.",
            mend=_APPEND,
        )
    elif fsync == "no":
        yield _appendonly(
            status=Status.WARNING,
            found="its append-only file is on, and appendfsync is no: a power cut loses "
            "what the system had not written yet, often 30 seconds.",
            mend="Set `appendfsync everysec` or `appendfsync always`.",
        )
    else:
        how = f", and appendfsync is {fsync}" if fsync else ""
        yield _appendonly(status=Status.OK, found=f"its append-only file is on{how}.")


def check_role(info: Mapping[str, Any]) -> Iterator[Finding]:
    """Tell whether it is a server that can be written to."""
    if info.get("role") == "slave":
        yield _writes(
            status=Status.WRONG,
            found="it is a replica, which nobody can publish to.",
            mend="Set broker_url to its primary, or use Sentinel's sentinel:// URL.",
        )
    failing = [
        name
        for name in ("aof_last_write_status", "rdb_last_bgsave_status")
        if info.get(name) == "err"
    ]
    if failing:
        yield _writes(
            status=Status.WRONG,
            found=f"it failed to write to its disk ({', '.join(failing)}: err), and may "
            "refuse messages because of that.",
            mend="Give its disk room and its process the rights; its own log says why.",
        )


def check_memory(info: Mapping[str, Any]) -> Iterator[Finding]:
    """Tell what it does when its memory is full, and how full that is."""
    policy = str(info.get("maxmemory_policy", "noeviction"))
    limit = int(info.get("maxmemory", 0))
    used = int(info.get("used_memory", 0))
    if policy == "noeviction":
        yield _eviction(status=Status.OK, found="it evicts nothing.")
    elif policy.startswith("volatile-"):
        yield _eviction(
            status=Status.WARNING,
            found=f"its maxmemory-policy is {policy}: queues stay, and what has an "
            "expiry, such as results, may go.",
            mend="Set `maxmemory-policy noeviction`.",
        )
    else:
        yield _eviction(
            status=Status.WRONG if limit else Status.WARNING,
            found=f"its maxmemory-policy is {policy}: when its memory is full, whole "
            "queues go.",
            mend="Set `maxmemory-policy noeviction`, and keep caches in another server.",
        )
    if limit:
        share = used / limit
        yield _memory(
            status=Status.WARNING if share > _NEARLY_FULL else Status.OK,
            found=f"it uses {share:.0%} of its maxmemory.",
            mend="Give it more, or find out why messages stay: are there workers enough?"
            if share > _NEARLY_FULL
            else "",
        )


def check_clock(
    client: Any, errors: Errors, *, now: Callable[[], float]
) -> Iterator[Finding]:
    """Compare the server's clock with ours."""
    try:
        before = now()
        seconds, microseconds = client.time()
        after = now()
    except errors:
        return  # who may not ask has no disadvantage by it
    theirs = seconds + microseconds / 1e6
    skew = max(before - theirs, theirs - after)
    if skew > _SKEW_SECONDS:
        yield _clock(
            status=Status.WARNING,
            found=f"its clock and the one here differ by {skew:.0f} seconds.",
            mend="Let both set their clocks by NTP: countdowns and timeouts go by them.",
        )


def _fsync(client: Any, errors: Errors) -> str | None:
    """Return how often the append-only file is flushed; None where nobody may ask."""
    try:
        answer = client.config_get("appendfsync")
    except errors:
        return None
    return str(answer.get("appendfsync", "")) or None
