"""What a worker takes for a handler that does nothing, beside a bare Celery task."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass

import psutil
import redis

from signal_tasks.dev.processes import Child, Children

from .contenders import load
from .contenders.celery_contender import CeleryContender
from .events import Event
from .findings import Finding, at_most
from .place import Place
from .verify import start_worker

_WORKLOADS = ("bare_task", "bare_task_late", "idle_receiver")
_GOAL = 0.15
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a worker took for one task."""

    seconds: float
    cpu_seconds: float
    """Of all its processes."""


def measure(place: Place, *, tasks: int, repeats: int) -> list[Finding]:
    """Run *tasks* of each workload in a worker of its own, *repeats* times in turn."""
    runs: defaultdict[str, list[Run]] = defaultdict(list)
    for _ in range(repeats):
        for name in _WORKLOADS:
            contender = load(name, place)
            if not isinstance(contender, CeleryContender):
                raise TypeError(name)
            runs[name].append(_run(contender, tasks))
            contender.close()
    return _findings(runs)


def _findings(runs: dict[str, list[Run]]) -> list[Finding]:
    seconds = {
        name: statistics.median(run.seconds for run in runs[name]) for name in runs
    }
    cpu = {
        name: statistics.median(run.cpu_seconds for run in runs[name]) for name in runs
    }
    findings: list[Finding] = []
    for name in runs:
        findings += [
            Finding(what=f"{name}, tasks per second", value=1 / seconds[name]),
            Finding(what=f"{name}, CPU time", value=cpu[name] * 1e6, unit=" us"),
        ]
    for bare in ("bare_task", "bare_task_late"):
        findings += [
            at_most(
                f"CPU time of a handler over {bare}",
                (cpu["idle_receiver"] / cpu[bare] - 1) * 100,
                _GOAL * 100,
                " %",
            ),
            at_most(
                f"time of a handler over {bare}",
                (seconds["idle_receiver"] / seconds[bare] - 1) * 100,
                _GOAL * 100,
                " %",
            ),
        ]
    return findings


def _run(contender: CeleryContender, tasks: int) -> Run:
    with (
        redis.Redis.from_url(contender.place.redis_url) as client,
        Children() as children,
    ):
        store = f"{contender.queue}.store"
        for serial in range(tasks):
            event = Event(handlers=1, size=200, serial=serial)
            contender.prepare([event])
            contender.send([event])
            contender.settle()
        client.rename(contender.queue, store)
        worker = start_worker(children, contender)
        _await_ready(contender)
        before, started = _cpu_seconds(worker), time.perf_counter()
        # All at once, so that the worker never waits for us.
        client.rename(store, contender.queue)
        _await_empty(client, contender.queue)
        seconds = time.perf_counter() - started
        return Run(
            seconds=seconds / tasks,
            cpu_seconds=(_cpu_seconds(worker) - before) / tasks,
        )


def _cpu_seconds(worker: Child) -> float:
    main = psutil.Process(worker.pid)
    times = [one.cpu_times() for one in [main, *main.children(recursive=True)]]
    return float(sum(one.user + one.system for one in times))


def _await_ready(contender: CeleryContender) -> None:
    node = f"{contender.name}@benchmark"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not contender.celery_app.control.ping([node], timeout=0.3):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker of {contender.name} did not answer")


def _await_empty(client: redis.Redis, queue: str) -> None:
    """Wait until no message is in the queue, nor with the worker."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while client.llen(queue) or client.hlen("unacked"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{queue} did not become empty")
        time.sleep(0.01)
