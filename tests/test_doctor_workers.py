"""What running workers tell of themselves, compared with what is sent to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection

from signal_tasks.doctor.findings import Finding, Status
from signal_tasks.doctor.workers import (
    Expected,
    WorkerFacts,
    ask_workers,
    check_waits,
    check_workers,
    look_at_workers,
)
from signal_tasks.tasks.vital_signs import VitalSigns
from tests.in_memory import new_celery_app

OK, WARNING, WRONG = Status.OK, Status.WARNING, Status.WRONG

SIGNS = VitalSigns(
    app="shop",
    parameters="(sender, user)",
    fingerprints=("old", "new"),
    acks_late=True,
    reject_on_worker_lost=True,
    time_limit=300.0,
    told_at=1000.0,
)
BILL = Expected(name="shop.bill", queue="celery", signs=SIGNS)
THANK = Expected(name="shop.thank", queue="letters", signs=SIGNS, wait_seconds=60.0)
EXPECTED = [BILL, THANK]

GOOD = WorkerFacts(
    name="celery@good",
    queues=frozenset({"celery", "letters"}),
    tasks={"shop.bill": SIGNS, "shop.thank": SIGNS, "shop.chore": None},
    conf={"worker_prefetch_multiplier": 1, "accept_content": ["json"]},
    heard_at=1000.5,
)


def found(
    *workers: WorkerFacts, expected: Iterable[Expected] = EXPECTED
) -> list[Finding]:
    """Return what the checks find."""
    return list(check_workers(workers, list(expected), seconds=2.0))


def bad(
    *workers: WorkerFacts, expected: Iterable[Expected] = EXPECTED
) -> list[Finding]:
    """Return what the checks find that is not well."""
    return [one for one in found(*workers, expected=expected) if one.status is not OK]


def knowing(**changes: Any) -> WorkerFacts:
    """Return a worker that knows its receivers with *changes*."""
    signs = replace(SIGNS, **changes)
    return replace(GOOD, tasks={"shop.bill": signs, "shop.thank": signs})


def test_good_workers_have_nothing_to_mend() -> None:
    """Workers that are as they should be are well in each respect."""
    assert not bad(GOOD, replace(GOOD, name="celery@better"))
    assert [one.check for one in found(GOOD)] == [
        "workers-answer",
        "workers-queues",
        "workers-receivers",
        "workers-late-acks",
    ]


def test_no_worker_is_wrong() -> None:
    """Without a worker, events wait."""
    [finding] = found()

    assert (finding.check, finding.status) == ("workers-answer", WRONG)
    assert "within 2 seconds" in finding.found


def test_app_without_receivers_expects_nothing() -> None:
    """There is nothing to know and no queue to take from."""
    assert [one.check for one in found(GOOD, expected=[])] == [
        "workers-answer",
        "workers-late-acks",
    ]


def test_queue_without_a_worker_is_wrong() -> None:
    """Events for a queue that nobody takes from wait for ever."""
    [finding] = bad(replace(GOOD, queues=frozenset({"celery"})))

    assert (finding.check, finding.status) == ("workers-queues", WRONG)
    assert finding.about == ("letters",)
    assert "--queues letters" in finding.mend


def test_worker_of_another_app_is_wrong() -> None:
    """A worker that takes our events and knows none of them loses them."""
    stranger = replace(GOOD, name="celery@stranger", tasks={"bakery.bake": None})

    [finding] = bad(GOOD, stranger)

    assert (finding.check, finding.status) == ("workers-shared-queue", WRONG)
    assert finding.about == ("celery@stranger",)


def test_worker_of_another_app_has_nothing_else_to_mend() -> None:
    """What it does with its own events is its own affair."""
    stranger = replace(
        GOOD, tasks={"bakery.bake": None}, conf={"accept_content": ["pickle"]}
    )

    assert [one.check for one in bad(stranger)] == ["workers-shared-queue"]


def test_worker_inside_another_app_is_wrong() -> None:
    """A worker that has the same receivers runs them inside its own app."""
    [finding] = bad(GOOD, replace(knowing(app="bakery"), name="celery@other"))

    assert (finding.check, finding.status) == ("workers-shared-queue", WRONG)
    assert finding.about == ("celery@other",)
    assert "inside the app bakery, not shop" in finding.found


def test_worker_of_other_queues_is_none_of_ours() -> None:
    """Another app may have the broker in common with this one."""
    stranger = WorkerFacts(
        name="celery@stranger",
        queues=frozenset({"bakery"}),
        tasks={"bakery.bake": None},
    )

    assert not bad(GOOD, stranger)


def test_receiver_that_a_worker_lacks_is_wrong() -> None:
    """A worker makes dead letters of the events that it does not know."""
    older = replace(GOOD, tasks={"shop.bill": SIGNS})

    [finding] = bad(GOOD, older)

    assert (finding.check, finding.status) == ("workers-receivers", WRONG)
    assert finding.about == ("shop.thank",)


def test_receiver_of_a_queue_that_a_worker_leaves_alone_may_be_unknown() -> None:
    """A worker needs to know what it takes."""
    first = replace(GOOD, queues=frozenset({"celery"}), tasks={"shop.bill": SIGNS})
    second = replace(GOOD, queues=frozenset({"letters"}), tasks={"shop.thank": SIGNS})

    assert not bad(first, second)


def test_receiver_with_other_parameters_is_wrong() -> None:
    """A worker with older code refuses what its handler does not take."""
    [finding] = bad(knowing(parameters="(sender)"))

    assert (finding.check, finding.status) == ("workers-parameters", WRONG)
    assert "shop.bill(sender) instead of (sender, user)" in finding.found
    assert finding.about == ("shop.bill", "shop.thank")


def test_receiver_that_tells_nothing_is_a_warning() -> None:
    """A task of the same name that is no receiver tells no parameters."""
    tasks = {"shop.bill": None, "shop.thank": SIGNS}

    [finding] = bad(replace(GOOD, tasks=tasks))

    assert (finding.check, finding.status) == ("workers-parameters", WARNING)
    assert finding.about == ("shop.bill",)


@pytest.mark.parametrize(
    ("ours", "theirs", "is_well"),
    [
        (("new",), ("old", "new"), True),
        ((), (), True),
        (("old", "newer"), ("old", "new"), False),
        ((), ("old", "new"), False),
        (("new",), (), False),
    ],
    ids=["ring", "none", "newer", "unsigned", "unverified"],
)
def test_worker_verifies_what_is_signed_here(
    ours: tuple[str, ...], theirs: tuple[str, ...], is_well: bool
) -> None:
    """A worker needs the key that signs, among those that it has."""
    signs = replace(SIGNS, fingerprints=ours)
    expected = [replace(one, signs=signs) for one in EXPECTED]

    findings = bad(knowing(fingerprints=theirs), expected=expected)

    assert [one.check for one in findings] == ([] if is_well else ["workers-keys"])
    assert all(one.status is WRONG for one in findings)


@pytest.mark.parametrize("option", ["acks_late", "reject_on_worker_lost"])
def test_event_that_a_killed_worker_loses_is_a_warning(option: str) -> None:
    """What is acknowledged early is gone with the worker."""
    [finding] = bad(knowing(**{option: False}))

    assert (finding.check, finding.status) == ("workers-late-acks", WARNING)
    assert finding.about == ("shop.bill", "shop.thank")


def test_event_in_the_outbox_may_be_acknowledged_early() -> None:
    """Its row stays, and is published again."""
    expected = [replace(one, is_kept=True) for one in EXPECTED]

    assert not bad(knowing(acks_late=False), expected=expected)


@pytest.mark.parametrize(
    "conf",
    [{"worker_prefetch_multiplier": 2}, {"task_acks_late": True}],
    ids=["two", "default"],
)
def test_worker_that_reserves_more_than_it_runs_is_a_warning(
    conf: Mapping[str, object],
) -> None:
    """What is reserved waits behind a long handler; Celery's default is four each."""
    [finding] = bad(replace(GOOD, conf=conf))

    assert (finding.check, finding.status) == ("workers-prefetch", WARNING)


def test_worker_that_tells_no_settings_is_not_judged() -> None:
    """What is not known is not wrong."""
    assert not bad(replace(GOOD, conf={}))


def test_worker_that_unpickles_is_wrong() -> None:
    """Its own settings decide, not those of who sends."""
    [finding] = bad(replace(GOOD, conf={**GOOD.conf, "accept_content": ["pickle"]}))

    assert (finding.check, finding.status) == ("workers-pickle", WRONG)


@pytest.mark.parametrize("told_at", [900.0, 1100.0], ids=["behind", "ahead"])
def test_clock_that_differs_is_a_warning(told_at: float) -> None:
    """More than an answer takes is a difference."""
    [finding] = bad(knowing(told_at=told_at))

    assert (finding.check, finding.status) == ("workers-clock", WARNING)


def test_waits_are_compared_with_the_least_patient_worker() -> None:
    """Of two workers, one may have been told to wait less."""
    hasty = replace(GOOD, conf={"broker_transport_options": {"visibility_timeout": 50}})

    countdowns, limits = check_waits([GOOD, hasty], EXPECTED, driver="redis")

    assert (countdowns.status, countdowns.about) == (WRONG, ("shop.thank",))
    assert (limits.status, limits.about) == (WRONG, ("shop.bill", "shop.thank"))


def test_limit_of_the_worker_holds_for_those_without_their_own() -> None:
    """What has neither may run for ever, unless it is acknowledged early."""
    limited = replace(knowing(time_limit=None), conf={"task_time_limit": 60})
    endless = replace(knowing(time_limit=None), conf={"task_time_limit": None})
    early = knowing(time_limit=None, acks_late=False)

    _, well = check_waits([limited], EXPECTED, driver="redis")
    _, warning = check_waits([limited, endless], EXPECTED, driver="redis")
    only = list(check_waits([early], EXPECTED, driver="redis"))

    assert well.status is OK
    assert warning.about == ("shop.bill", "shop.thank")
    assert [one.check for one in only] == ["countdowns"]


def test_broker_that_does_not_wait_is_not_compared() -> None:
    """Where nothing is known, nothing is said."""
    assert not list(check_waits([GOOD], EXPECTED, driver="memory"))


class Inspect:
    """Celery's, where each worker answers what it is told to."""

    def __init__(self, answers: Mapping[str, object]) -> None:
        self._answers = answers

    def __call__(self, destination: object = None, **_: object) -> Inspect:
        return self

    def __getattr__(self, command: str) -> Callable[..., object]:
        answer = self._answers[command]
        if isinstance(answer, Exception):
            raise answer
        return lambda *_, **__: answer


def asked(answers: Mapping[str, object]) -> list[WorkerFacts]:
    """Return what is made of the *answers* of workers."""
    celery_app: Any = SimpleNamespace(control=SimpleNamespace(inspect=Inspect(answers)))
    with Connection("memory://") as connection:
        return ask_workers(celery_app, connection, seconds=1.0, now=lambda: 7.0)


def test_workers_are_asked_for_what_matters() -> None:
    """What the workers tell is taken apart."""
    answers = {
        "ping": {"celery@b": {"ok": "pong"}, "celery@a": {"ok": "pong"}},
        "active_queues": {"celery@a": [{"name": "letters"}]},
        "conf": {"celery@a": {"accept_content": ["json"]}},
        "registered": {"celery@a": [f"shop.bill [vital_signs={SIGNS}]", "shop.chore"]},
    }

    first, second = asked(answers)

    assert first == WorkerFacts(
        name="celery@a",
        queues=frozenset({"letters"}),
        tasks={"shop.bill": SIGNS, "shop.chore": None},
        conf={"accept_content": ["json"]},
        heard_at=7.0,
    )
    assert second == WorkerFacts(name="celery@b", heard_at=7.0)


def test_nobody_is_asked_where_nobody_answers() -> None:
    """Celery gives None for no answer at all."""
    assert asked({"ping": None}) == []


def test_answers_may_be_anything() -> None:
    """Whoever may write to the broker can answer in a worker's name."""
    answers = {
        "ping": {"celery@\x1b[2J": 1},
        "active_queues": {"celery@\x1b[2J": [1, {"name": 2}]},
        "conf": {"celery@\x1b[2J": "no"},
        "registered": {"celery@\x1b[2J": [3, "\x1b[2J"]},
    }

    [worker] = asked(answers)

    assert worker.name == "celery@\\x1b[2J"
    assert worker.queues == frozenset()
    assert worker.tasks == {"\\x1b[2J": None}
    assert worker.conf == {}


def test_broker_that_forbids_asking_is_a_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What keeps us from asking keeps workers from working."""
    celery_app = new_celery_app()
    refusal = OSError("no permission\nfor bob")
    monkeypatch.setattr(celery_app.control, "inspect", Inspect({"ping": refusal}))

    [finding] = look_at_workers(celery_app, EXPECTED, planned=GOOD, seconds=1.0)

    assert (finding.check, finding.status) == ("workers-answer", WRONG)
    assert "cannot be asked: no permission." in finding.found


def test_worker_that_would_start_now_stands_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no worker runs, what would start is compared with the broker's patience."""
    celery_app = new_celery_app(broker_url="redis://127.0.0.1:1")
    monkeypatch.setattr(celery_app.control, "inspect", Inspect({"ping": None}))
    planned = replace(
        GOOD, conf={"broker_transport_options": {"visibility_timeout": 9}}
    )

    none, countdowns, limits = look_at_workers(
        celery_app, EXPECTED, planned=planned, seconds=1.0
    )

    assert (none.check, none.status) == ("workers-answer", WRONG)
    assert (countdowns.status, limits.status) == (WRONG, WRONG)
