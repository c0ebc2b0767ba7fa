"""What a Redis says of itself, and what that means for events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from signal_tasks.doctor.findings import Finding, Status
from signal_tasks.doctor.redis_server import check_redis

OK, WARNING, WRONG, SKIPPED = Status.OK, Status.WARNING, Status.WRONG, Status.SKIPPED

WELL: Mapping[str, Any] = {
    "redis_version": "7.2.4",
    "role": "master",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "maxmemory": 0,
    "maxmemory_policy": "noeviction",
    "used_memory": 1000,
}


class ForbiddenError(Exception):
    """The server does not answer that to this user."""


class Client:
    """A client of a server that says what it is told to."""

    def __init__(
        self, info: Mapping[str, Any], *, fsync: str = "everysec", clock: float = 1000.5
    ) -> None:
        self._info = info
        self._fsync = fsync
        self._clock = clock
        self.forbidden: set[str] = set()

    def info(self) -> Mapping[str, Any]:
        self._check("info")
        return self._info

    def config_get(self, name: str) -> Mapping[str, str]:
        self._check("config")
        return {name: self._fsync}

    def time(self) -> tuple[int, int]:
        self._check("time")
        return int(self._clock), int(self._clock % 1 * 1e6)

    def _check(self, command: str) -> None:
        if command in self.forbidden:
            raise ForbiddenError(command)


def found_by(client: Client, now: float = 1000.0) -> list[Finding]:
    """Return what the checks find."""
    return list(check_redis(client, (ForbiddenError,), now=lambda: now))


def found_in(**changes: object) -> dict[str, list[Finding]]:
    """Return what the checks find in a good server with *changes*, by their names."""
    return by_check(found_by(Client({**WELL, **changes})))


def by_check(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Return *findings* by the names of their checks."""
    sorted_findings: dict[str, list[Finding]] = {}
    for finding in findings:
        sorted_findings.setdefault(finding.check, []).append(finding)
    return sorted_findings


def test_good_server_has_nothing_to_mend() -> None:
    """A server that keeps everything is well in each respect."""
    findings = found_by(Client(WELL))

    assert [one.status for one in findings] == [OK, OK, OK]
    assert findings[0].found == "it is Redis 7.2.4."
    assert "appendfsync is everysec" in findings[1].found
    assert not any(one.mend for one in findings)


@pytest.mark.parametrize(
    ("version", "status"),
    [("6.2.0", OK), ("6.2", OK), ("7.0.15", OK), ("6.0.16", WRONG), ("5.0.7", WRONG)],
    ids=str,
)
def test_version_is_new_enough_for_kombu(version: str, status: Status) -> None:
    """Workers need a Redis of 6.2 or newer."""
    [finding] = found_in(redis_version=version)["broker-version"]

    assert finding.status is status
    assert f"Redis {version}" in finding.found


def test_valkey_is_called_by_its_name() -> None:
    """A Valkey also tells the version of Redis that it stands for."""
    [finding] = found_in(valkey_version="9.1.2")["broker-version"]

    assert finding.found == "it is Valkey 9.1.2."


def test_server_that_keeps_nothing_is_a_warning() -> None:
    """Without an append-only file, what is queued is lost with the server."""
    [finding] = found_in(aof_enabled=0)["broker-append-only"]

    assert finding.status is WARNING
    assert "appendonly yes" in finding.mend


def test_file_that_is_never_flushed_is_a_warning() -> None:
    """An append-only file helps as far as it is written."""
    findings = by_check(found_by(Client(WELL, fsync="no")))

    [finding] = findings["broker-append-only"]
    assert finding.status is WARNING
    assert "appendfsync is no" in finding.found


def test_configuration_need_not_be_readable() -> None:
    """Managed servers forbid CONFIG, and INFO tells what matters."""
    client = Client(WELL)
    client.forbidden = {"config"}

    [finding] = by_check(found_by(client))["broker-append-only"]

    assert finding.status is OK
    assert finding.found == "its append-only file is on."


def test_server_that_tells_nothing_is_not_judged() -> None:
    """Where INFO is forbidden, somebody else has to look."""
    client = Client(WELL)
    client.forbidden = {"info"}

    [finding] = found_by(client)

    assert finding.status is SKIPPED
    assert "ForbiddenError" in finding.found
    assert "maxmemory-policy noeviction" in finding.mend


def test_replica_takes_nothing() -> None:
    """Nobody can publish to a replica."""
    [finding] = found_in(role="slave")["broker-writes"]

    assert finding.status is WRONG
    assert "replica" in finding.found


@pytest.mark.parametrize("member", ["aof_last_write_status", "rdb_last_bgsave_status"])
def test_disk_that_fails_is_wrong(member: str) -> None:
    """A server that cannot write to its disk may refuse messages."""
    [finding] = found_in(**{member: "err"})["broker-writes"]

    assert finding.status is WRONG
    assert member in finding.found


@pytest.mark.parametrize(
    ("policy", "limit", "status"),
    [
        ("noeviction", 2000, OK),
        ("allkeys-lru", 2000, WRONG),
        ("allkeys-lru", 0, WARNING),
        ("volatile-ttl", 2000, WARNING),
    ],
    ids=["none", "all", "all-without-limit", "volatile"],
)
def test_queues_are_not_evicted(policy: str, limit: int, status: Status) -> None:
    """A server that evicts whole queues loses them silently."""
    [finding] = found_in(maxmemory_policy=policy, maxmemory=limit)["broker-eviction"]

    assert finding.status is status


@pytest.mark.parametrize(
    ("used", "status"), [(500, OK), (950, WARNING)], ids=["room", "nearly-full"]
)
def test_memory_has_room(used: int, status: Status) -> None:
    """A server that is nearly full will soon take nothing."""
    [finding] = found_in(maxmemory=1000, used_memory=used)["broker-memory"]

    assert finding.status is status
    assert f"{used / 10:.0f}%" in finding.found
    assert bool(finding.mend) == (status is WARNING)


@pytest.mark.parametrize("clock", [900.0, 1100.0], ids=["behind", "ahead"])
def test_clock_that_differs_is_a_warning(clock: float) -> None:
    """Countdowns and timeouts go by several clocks."""
    findings = by_check(found_by(Client(WELL, clock=clock), now=1000.0))

    [finding] = findings["broker-clock"]
    assert finding.status is WARNING
    assert "100 seconds" in finding.found


def test_clock_that_may_not_be_asked_is_left_alone() -> None:
    """Who may not ask for the time has no disadvantage by it."""
    client = Client(WELL, clock=0.0)
    client.forbidden = {"time"}

    assert "broker-clock" not in by_check(found_by(client))
