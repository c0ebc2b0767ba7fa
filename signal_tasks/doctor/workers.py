"""What the running workers say of themselves, and whether that fits what is sent here.

They are asked by Celery's own remote control, which a worker answers beside its tasks.
Anybody who may write to the broker can answer in a worker's name, so that what comes is
printed and compared, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, Final, TypeGuard

from celery import Celery
from kombu import Connection

from ..tasks.vital_signs import ATTRIBUTE, VitalSigns, read
from ..terminal import printable
from ..typing import named_items
from .broker import bounded_connection, errors_of, said_by
from .findings import Finding, Status, listed
from .settings import accepts_pickle
from .waits import check_countdowns, check_limits, patience_of

_SKEW_SECONDS: Final = 5.0

_answer = partial(Finding, check="workers-answer")
_queues = partial(Finding, check="workers-queues")
_shared = partial(Finding, check="workers-shared-queue")
_receivers = partial(Finding, check="workers-receivers")
_parameters = partial(Finding, check="workers-parameters")
_keys = partial(Finding, check="workers-keys")
_acks = partial(Finding, check="workers-late-acks")
_prefetch = partial(Finding, check="workers-prefetch")
_pickle = partial(Finding, check="workers-pickle")
_clock = partial(Finding, check="workers-clock")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """What one worker tells of itself."""

    name: str
    queues: frozenset[str] = frozenset()
    """What it takes from."""

    tasks: Mapping[str, VitalSigns | None] = field(
        default_factory=dict[str, VitalSigns | None]
    )
    """Its tasks; those that are receivers tell more than a name."""

    conf: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Those of Celery's settings that are set there; empty where it did not tell."""

    heard_at: float = 0.0
    """Our clock when it had told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How one receiver is known here, which sends to it."""

    name: str
    queue: str
    signs: VitalSigns

    wait_seconds: float = 0.0
    """How long its messages may be told to wait in a worker."""

    is_kept: bool = False
    """Whether its events stay in the outbox until they are handled."""


def look_at_workers(
    celery_app: Celery,
    expected: Sequence[Expected],
    *,
    planned: WorkerFacts,
    seconds: float,
) -> Iterator[Finding]:
    """Ask the running workers, and compare what they tell with what is *expected*.

    Args:
        celery_app: Whose broker they are on.
        expected: The receivers that messages are sent to.
        planned: What a worker would tell that started now, for when none runs.
        seconds: How long to wait for workers that may exist.
    """
    workers: list[WorkerFacts] = []
    with bounded_connection(celery_app, seconds) as connection:
        try:
            workers = ask_workers(celery_app, connection, seconds=seconds)
        except errors_of(connection) as error:
            yield _answer(
                status=Status.WRONG,
                found=f"workers cannot be asked: {said_by(error, connection)}.",
                mend="What forbids this forbids workers to work: they declare queues and "
                "run scripts of kombu's. Give the broker's user all rights on it.",
            )
        else:
            yield from check_workers(workers, expected, seconds=seconds)
        driver = connection.transport.driver_type
    yield from check_waits(workers or [planned], expected, driver=driver)


def ask_workers(
    celery_app: Celery,
    connection: Connection,
    *,
    seconds: float,
    now: Callable[[], float] = time.time,
) -> list[WorkerFacts]:
    """Return what each running worker tells of itself.

    Those that have answered are waited for as long again with each further question.
    """
    inspect: Any = celery_app.control.inspect
    answers = _mapping(inspect(timeout=seconds, connection=connection).ping())
    if not answers:
        return []
    names = sorted(answers)
    ask = inspect(names, timeout=seconds, connection=connection)
    queues = _mapping(ask.active_queues())
    # With the defaults, a worker would log a warning about each broker that is not set.
    conf = _mapping(ask.conf())
    tasks = _mapping(ask.registered(ATTRIBUTE))
    heard_at = now()
    return [
        WorkerFacts(
            name=printable(name),
            queues=frozenset(_queue_names(queues.get(name))),
            tasks=dict(_tasks(tasks.get(name))),
            conf=_mapping(conf.get(name)),
            heard_at=heard_at,
        )
        for name in names
    ]


def check_workers(
    workers: Sequence[WorkerFacts], expected: Sequence[Expected], *, seconds: float
) -> Iterator[Finding]:
    """Compare what *workers* tell with what is *expected* of them here.

    Args:
        workers: All that answered.
        expected: The receivers that messages are sent to.
        seconds: How long they were given to answer.
    """
    if not workers:
        yield _answer(
            status=Status.WRONG,
            found=f"no worker answered within {seconds:g} seconds.",
            mend="Start one: celery -A signal_tasks.worker worker. If one runs, has it the "
            "same broker_url, and is its remote control on? A worker with the solo pool "
            "does not answer while it runs a task.",
        )
        return
    names = [worker.name for worker in workers]
    yield _answer(
        status=Status.OK,
        found=f"{len(names)} answered: {listed(names)}.",
        about=tuple(names),
    )
    yield from check_queues(workers, expected)
    strangers = tuple(check_strangers(workers, expected))
    yield from strangers
    strange = {name for finding in strangers for name in finding.about}
    ours = [worker for worker in workers if worker.name not in strange]
    yield from check_receivers(ours, expected)
    yield from check_keys(ours, expected)
    yield from check_acks(ours, expected)
    yield from check_prefetch(ours)
    yield from check_pickles(ours)
    yield from check_clocks(ours, seconds=seconds)


def check_waits(
    workers: Sequence[WorkerFacts], expected: Sequence[Expected], *, driver: str
) -> Iterator[Finding]:
    """Compare what messages wait for in *workers* with how long the broker waits.

    Args:
        workers: One at least.
        expected: The receivers that messages are sent to.
        driver: The kind of the broker, as kombu calls it.
    """
    known = [patience_of(driver, worker.conf) for worker in workers]
    patience = min(filter(None, known), key=lambda one: one.seconds, default=None)
    if patience is None:
        return
    yield from check_countdowns(
        {
            one.name: one.wait_seconds
            for worker in workers
            for one in _taken_by(worker, expected)
        },
        patience,
    )
    yield from check_limits(_limits(workers, expected), patience)


def check_queues(
    workers: Sequence[WorkerFacts], expected: Sequence[Expected]
) -> Iterator[Finding]:
    """Tell whether each receiver's queue has a worker."""
    taken = frozenset[str]().union(*(worker.queues for worker in workers))
    wanted = sorted({one.queue for one in expected})
    left = [queue for queue in wanted if queue not in taken]
    if left:
        yield _queues(
            status=Status.WRONG,
            found=f"no worker takes from {listed(left)}, where events of this app wait.",
            mend=f"Start a worker with --queues {','.join(left)}.",
            about=tuple(left),
        )
    elif wanted:
        yield _queues(
            status=Status.OK,
            found=f"workers take from {listed(wanted)}.",
            about=tuple(wanted),
        )


def check_strangers(
    workers: Sequence[WorkerFacts], expected: Sequence[Expected]
) -> Iterator[Finding]:
    """Find workers of other apps that take this app's events."""
    for worker in workers:
        mine = _taken_by(worker, expected)
        queues = sorted({one.queue for one in mine})
        if not mine:
            continue
        if not any(one.name in worker.tasks for one in mine):
            yield _shared(
                status=Status.WRONG,
                found=f"{worker.name} takes from {listed(queues)} and knows none of this "
                "app's receivers: it belongs to another app, or imports none of the "
                "modules that declare them.",
                mend="Give each app on a broker queues of its own (task_default_queue in "
                "app.config['CELERY']), or its own database or virtual host; or let the "
                "worker import the handlers.",
                about=(worker.name,),
            )
        elif others := _other_apps(worker, mine):
            yield _shared(
                status=Status.WRONG,
                found=f"{worker.name} takes from {listed(queues)} and runs the handlers "
                f"inside the app {listed(others)}, not {mine[0].signs.app}.",
                mend="Give each app on a broker queues of its own (task_default_queue in "
                "app.config['CELERY']), or its own database or virtual host.",
                about=(worker.name,),
            )


def check_receivers(
    workers: Sequence[WorkerFacts], expected: Sequence[Expected]
) -> Iterator[Finding]:
    """Tell which receivers some worker would refuse."""
    is_well = True
    for worker in workers:
        mine = _taken_by(worker, expected)
        lacking = [one.name for one in mine if one.name not in worker.tasks]
        differing = {
            one.name: f"{one.name}{signs.parameters} instead of {one.signs.parameters}"
            for one in mine
            if (signs := worker.tasks.get(one.name))
            and signs.parameters != one.signs.parameters
        }
        dumb = [
            one.name
            for one in mine
            if one.name in worker.tasks and worker.tasks[one.name] is None
        ]
        is_well = is_well and not (lacking or differing or dumb)
        if lacking:
            yield _receivers(
                status=Status.WRONG,
                found=f"{worker.name} does not know {listed(lacking)}, takes its events, "
                "and makes dead letters of them.",
                mend="Deploy the code there, restart the worker, and make sure that it "
                "imports the handlers' modules; then `flask signal-tasks dead replay`.",
                about=tuple(lacking),
            )
        if differing:
            yield _parameters(
                status=Status.WRONG,
                found=f"{worker.name} has {listed(list(differing.values()))}.",
                mend="It runs other code than this. Deploy the same and restart it.",
                about=tuple(differing),
            )
        if dumb:
            yield _parameters(
                status=Status.WARNING,
                found=f"{worker.name} does not tell what {listed(dumb)} takes.",
                mend="It has an older signal_tasks, or tasks of these names that are no "
                "receivers. Deploy the same as here.",
                about=tuple(dumb),
            )
    if is_well and workers and expected:
        yield _receivers(
            status=Status.OK,
            found=f"workers know the receivers ({len(expected)}), with the same "
            "parameters.",
        )


def check_keys(
    workers: Sequence[WorkerFacts], expected: Sequence[Expected]
) -> Iterator[Finding]:
    """Tell which workers cannot verify what is signed here."""
    strange = [
        worker.name
        for worker in workers
        for one in _taken_by(worker, expected)[:1]
        for signs in list(_signs_of(worker))[:1]
        if not _verifies(signs.fingerprints, one.signs.fingerprints)
    ]
    if strange:
        yield _keys(
            status=Status.WRONG,
            found=f"{listed(strange)} has another SECRET_KEY than this app, and refuses "
            "its events.",
            mend="Give web and worker the same SECRET_KEY and restart both; while keys "
            "change, the old one belongs to SECRET_KEY_FALLBACKS.",
            about=tuple(strange),
        )


def check_acks(
    workers: Sequence[WorkerFacts], expected: Sequence[Expected]
) -> Iterator[Finding]:
    """Tell which receivers lose their event when a process of a worker is killed."""
    kept = {one.name for one in expected if one.is_kept}
    early: dict[str, None] = {}
    for worker in workers:
        for name, signs in worker.tasks.items():
            is_safe = signs is None or (signs.acks_late and signs.reject_on_worker_lost)
            if not is_safe and name not in kept:
                early[name] = None
    if early:
        yield _acks(
            status=Status.WARNING,
            found=f"workers lose events of {listed(list(early))} that they are handling "
            "when they are killed.",
            mend="Leave acks_late and reject_on_worker_lost on, or deliver by outbox.",
            about=tuple(early),
        )
    elif workers:
        yield _acks(
            status=Status.OK, found="a killed worker's events are handed out again."
        )


def check_prefetch(workers: Sequence[WorkerFacts]) -> Iterator[Finding]:
    """Tell which workers reserve more than they run."""
    greedy = [
        worker.name
        for worker in workers
        if worker.conf and worker.conf.get("worker_prefetch_multiplier", 4) != 1
    ]
    if greedy:
        yield _prefetch(
            status=Status.WARNING,
            found=f"{listed(greedy)} reserves more events than it runs, which wait behind "
            "long ones and may be handed out twice.",
            mend="Set worker_prefetch_multiplier to 1 in app.config['CELERY'].",
            about=tuple(greedy),
        )


def check_pickles(workers: Sequence[WorkerFacts]) -> Iterator[Finding]:
    """Tell which workers run whatever code a message brings."""
    open_to_all = [worker.name for worker in workers if accepts_pickle(worker.conf)]
    if open_to_all:
        yield _pickle(
            status=Status.WRONG,
            found=f"{listed(open_to_all)} accepts pickle: whoever can write to the broker "
            "can run any code there.",
            mend="Set accept_content to ['json'] in its configuration, and restart it.",
            about=tuple(open_to_all),
        )


def check_clocks(
    workers: Sequence[WorkerFacts], *, seconds: float
) -> Iterator[Finding]:
    """Tell whose clock differs from ours by more than an answer takes."""
    off = [
        worker.name
        for worker in workers
        for signs in list(_signs_of(worker))[-1:]
        if not -_SKEW_SECONDS
        <= worker.heard_at - signs.told_at
        <= _SKEW_SECONDS + seconds
    ]
    if off:
        yield _clock(
            status=Status.WARNING,
            found=f"the clock of {listed(off)} differs from the one here by more than "
            f"{_SKEW_SECONDS:g} seconds.",
            mend="Let both set their clocks by NTP: countdowns and timeouts go by them.",
            about=tuple(off),
        )


def _taken_by(worker: WorkerFacts, expected: Sequence[Expected]) -> list[Expected]:
    return [one for one in expected if one.queue in worker.queues]


def _limits(
    workers: Sequence[WorkerFacts], expected: Sequence[Expected]
) -> dict[str, float]:
    """Return how long each handler may run where that is longest, which may be for ever.

    Who is acknowledged early may take as long as it likes.
    """
    limits: dict[str, float] = {}
    for worker in workers:
        for one in _taken_by(worker, expected):
            signs = worker.tasks.get(one.name)
            if signs is not None and signs.acks_late:
                limit = signs.time_limit or worker.conf.get("task_time_limit") or inf
                limits[one.name] = max(limits.get(one.name, 0.0), limit)
    return limits


def _other_apps(worker: WorkerFacts, mine: Sequence[Expected]) -> list[str]:
    """Return the apps inside which *worker* runs *mine*, as far as they are not ours."""
    names = {
        signs.app
        for one in mine
        if (signs := worker.tasks.get(one.name)) and signs.app != one.signs.app
    }
    return sorted(names)


def _signs_of(worker: WorkerFacts) -> Iterator[VitalSigns]:
    return (signs for signs in worker.tasks.values() if signs is not None)


def _verifies(theirs: Sequence[str], ours: Sequence[str]) -> bool:
    """Tell whether who has the keys *theirs* verifies what is signed with *ours*."""
    return ours[-1] in theirs if ours else not theirs


def _queue_names(answer: object) -> Iterator[str]:
    for queue in _items(answer):
        name = _mapping(queue).get("name")
        if isinstance(name, str):
            yield name


def _tasks(answer: object) -> Iterator[tuple[str, VitalSigns | None]]:
    return (read(printable(item)) for item in _items(answer) if isinstance(item, str))


def _mapping(answer: object) -> dict[str, Any]:
    """Return what a worker answered, if it is of the right kind."""
    return named_items(answer) or {}


def _items(answer: object) -> list[object]:
    return list(answer) if _is_list(answer) else []


def _is_list(answer: object) -> TypeGuard[list[object]]:
    """Tell whether *answer*, which came as JSON, is an array."""
    return isinstance(answer, list)
