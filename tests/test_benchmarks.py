"""The benchmark's arithmetic and words. What it measures has no place in a test."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks.contenders import CONTENDERS, load
from benchmarks.contenders.contender import Contender, MissingError
from benchmarks.events import SENDER, Event, is_intact
from benchmarks.figures import Figure, figures_of, percentile
from benchmarks.findings import Finding, at_least, at_most
from benchmarks.goals import judged
from benchmarks.instructions import count, ratios
from benchmarks.ledger import expected_runs
from benchmarks.options import parse
from benchmarks.place import Place
from benchmarks.report import Report
from benchmarks.rounds import Cell, Rounds, Series
from benchmarks.table import aligned, duration, figures_table, number, ratio_text
from benchmarks.verify import Verdict


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place with servers that nobody asks for anything."""
    return Place(
        redis_url="redis://127.0.0.1:1/0", directory=tmp_path, handler_counts=(1, 4)
    )


def figure(contender: str, *, handlers: int = 1, **facts: float | None) -> Figure:
    """Return a figure that is about the payload that the goals are about."""
    known = {"median": 1.0, "p99": 2.0, "ratio": 1.0, **facts}
    return Figure(contender=contender, handlers=handlers, size=200, rounds=9, **known)


class Clock:
    """A clock that contenders move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Sleeper(Contender):
    """A contender that takes as long as it is told."""

    name = "sleeper"
    served = None
    worker_command: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place, clock: Clock, seconds: float) -> None:
        super().__init__(place)
        self._clock = clock
        self._seconds = seconds
        self.steps: list[str] = []

    def prepare(self, events: Sequence[Event]) -> None:
        self._clock.now += 100
        self.steps.append("prepare")

    def send(self, events: Sequence[Event]) -> None:
        self._clock.now += self._seconds
        self.steps.append("send")

    def settle(self) -> None:
        self._clock.now += 100
        self.steps.append("settle")


class Pair(Sleeper):
    """A contender that sends two events at a time."""

    name = "pair"
    batch = 2


class Seldom(Sleeper):
    """A contender that takes part in every other round."""

    every = 2


@pytest.mark.parametrize("size", [200, 4096])
def test_a_payload_has_its_size_as_json(size: int) -> None:
    """An event's payload takes just the bytes that it is to take."""
    event = Event(handlers=10, size=size, serial=123)

    text = json.dumps(event.payload)

    assert len(text) == size


def test_what_was_sent_is_intact() -> None:
    """The handler of an event knows its payload again by its key alone."""
    event = Event(handlers=1, size=200, serial=7)

    assert is_intact(SENDER, json.loads(json.dumps(event.payload)))


@pytest.mark.parametrize(
    ("sender", "change"),
    [("someone", {}), (SENDER, {"note": "y"}), (SENDER, {"more": 1})],
    ids=["another sender", "another value", "one argument more"],
)
def test_what_was_not_sent_is_not_intact(
    sender: str, change: dict[str, object]
) -> None:
    """Another sender, value or argument is noticed."""
    event = Event(handlers=1, size=200, serial=7)

    assert not is_intact(sender, {**event.payload, **change})


def test_each_handler_is_expected_once() -> None:
    """The ledger is to hold one run for each handler of each event."""
    events = [
        Event(handlers=2, size=200, serial=0),
        Event(handlers=1, size=200, serial=1),
    ]

    runs = expected_runs(events)

    assert runs == {"2-200-0:0:intact": 1, "2-200-0:1:intact": 1, "1-200-1:0:intact": 1}


def test_a_place_travels_to_a_worker(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker reads the same place out of its environment."""
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)

    assert Place.from_environment() == place


def test_only_the_sending_is_timed(place: Place) -> None:
    """What a contender does before and after sending does not count."""
    clock = Clock()
    sleeper = Sleeper(place, clock, 3.0)

    (series,) = Rounds([sleeper], clock=clock).run(
        Cell(handlers=1, size=200, rounds=2, warm_up=0)
    )

    assert series.seconds == (3.0, 3.0)
    assert sleeper.steps == ["prepare", "send", "settle"] * 2


def test_a_warm_up_is_sent_and_not_counted(place: Place) -> None:
    """The warm-up's events are remembered, for they have to run as well."""
    rounds = Rounds([Sleeper(place, Clock(), 1.0)])

    (series,) = rounds.run(Cell(handlers=1, size=200, rounds=3, warm_up=2))

    assert len(series.seconds) == 3
    assert [event.serial for event in rounds.sent["sleeper"]] == [0, 1, 2, 3, 4]


def test_events_of_two_cells_differ(place: Place) -> None:
    """No event of a contender has the key of another."""
    rounds = Rounds([Sleeper(place, Clock(), 1.0)])

    for size in (200, 4096):
        rounds.run(Cell(handlers=1, size=size, rounds=2))

    keys = [event.key for event in rounds.sent["sleeper"]]
    assert len(set(keys)) == len(keys) == 8


def test_a_batch_counts_per_event(place: Place) -> None:
    """What sends several events at once is measured by the event."""
    clock = Clock()
    rounds = Rounds([Pair(place, clock, 3.0)], clock=clock)

    (series,) = rounds.run(Cell(handlers=1, size=200, rounds=1, warm_up=0))

    assert series.seconds == (1.5,)
    assert len(rounds.sent["pair"]) == 2


def test_a_contender_may_leave_out_rounds(place: Place) -> None:
    """Who sends much at a time does not do so in every round."""
    rounds = Rounds([Seldom(place, Clock(), 1.0)])

    (series,) = rounds.run(Cell(handlers=1, size=200, rounds=4, warm_up=0))

    assert len(series.seconds) == 2


def test_nobody_always_comes_after_the_same(place: Place) -> None:
    """Each round has an order of its own, which is the same in every run."""
    clock = Clock()
    contenders = [Sleeper(place, clock, 1.0), Pair(place, clock, 2.0)]
    order: list[Contender] = []
    for one in contenders:
        one.settle = lambda one=one: order.append(one)

    cell = Cell(handlers=1, size=200, rounds=8, warm_up=0)

    Rounds(contenders, clock=clock).run(cell)
    first_run = list(order)
    order.clear()
    Rounds(contenders, clock=clock).run(cell)

    assert order == first_run
    assert {tuple(order[at : at + 2]) for at in range(0, 16, 2)} == {
        tuple(contenders),
        tuple(reversed(contenders)),
    }


def test_a_ratio_is_that_of_the_medians() -> None:
    """Each contender is compared with its baseline, case by case."""
    series = [
        Series(contender="delay", handlers=4, size=200, seconds=(1.0, 2.0, 9.0)),
        Series(contender="direct", handlers=4, size=200, seconds=(0.5, 1.0, 1.0)),
        Series(contender="direct", handlers=10, size=200, seconds=(5.0,)),
    ]

    figures = figures_of(series, {"delay": "delay", "direct": "delay"})

    assert [one.ratio for one in figures] == [1.0, 0.5, None]


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """Of a hundred values, the 99th percentile is the last but one."""
    values = [float(value) for value in range(100, 0, -1)]

    assert percentile(values, 99) == 99.0
    assert percentile([3.0, 1.0], 99) == 3.0


def test_goals_are_judged_as_far_as_there_are_figures() -> None:
    """A goal is kept or not; what was not measured is not mentioned."""
    figures = [
        figure("delay", handlers=4),
        figure("huey", handlers=4, median=0.2, ratio=0.2),
        figure("direct", handlers=4, median=0.1, p99=1.5, ratio=0.1),
    ]

    findings = judged(figures)

    assert {finding.what: finding.is_kept for finding in findings} == {
        "direct, 4 handlers, ratio": False,
        "direct, 4 handlers, median against Huey's": True,
        "direct, 4 handlers, p99 against delay()'s median": False,
    }


def test_one_handler_has_no_goal_for_its_slowest_sends() -> None:
    """With one handler nothing is promised about the 99th percentile."""
    findings = judged([figure("delay"), figure("direct", ratio=0.2)])

    assert [finding.what for finding in findings] == ["direct, 1 handler, ratio"]


def test_a_figure_without_a_ratio_is_not_judged() -> None:
    """Where the baseline was not measured there is no verdict."""
    assert judged([figure("direct", ratio=None)]) == []


def test_a_limit_is_kept_when_it_is_reached() -> None:
    """The goal itself is good enough, from either side."""
    assert at_most("growth", 1.0, 1.0, " MiB").is_kept
    assert not at_most("growth", 1.1, 1.0).is_kept
    assert at_least("rate", 1.0, 1.0).is_kept
    assert not at_least("rate", 0.9, 1.0).is_kept


def test_the_table_has_a_row_for_each_contender() -> None:
    """Median, 99th percentile and ratio stand below the count of handlers."""
    figures = [
        figure("delay", median=0.0007, p99=0.002),
        figure("lpush", handlers=4, median=0.00002, p99=0.00003, ratio=None),
    ]

    table = figures_table(figures)

    assert table.splitlines() == [
        "200 B     N=1   p99  ratio    N=4    p99  ratio",
        "delay  700 us  2 ms   1.00      -      -      -",
        "lpush       -     -      -  20 us  30 us      -",
    ]


def test_columns_are_as_wide_as_they_must_be() -> None:
    """The first column stands on the left, and no line ends in spaces."""
    assert aligned([["a", "bbb", ""], ["cc", "d", "e"]]) == "a   bbb\ncc    d  e"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0000071, "7.1 us"), (0.000711, "711 us"), (0.0712, "71.2 ms"), (2, "2000 ms")],
)
def test_a_duration_has_three_figures(seconds: float, text: str) -> None:
    """Durations are in microseconds up to a millisecond."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.234, "1.23"), (0.0652, "0.065"), (0.00031, "0.00031")]
)
def test_a_ratio_has_two_figures(ratio: float, text: str) -> None:
    """Ratios below one have as many noughts as it takes."""
    assert ratio_text(ratio) == text


def test_a_number_is_no_power_of_ten() -> None:
    """Large numbers have all their figures before the point."""
    assert number(123456.7) == "123457"


def test_a_report_says_what_is_not_right() -> None:
    """A contender whose messages did not all run is named, with its worker's words."""
    report = Report(
        figures=[figure("delay")],
        findings={
            "memory": [Finding(what="growth", value=0.5, unit=" MiB")],
            "sends": [],
        },
        verdicts=[
            Verdict(contender="delay", expected=1000),
            Verdict(contender="huey", expected=5, missing=2, words="it broke"),
        ],
        missing={"rq": "rq is not installed"},
    )

    assert not report.is_right
    assert "delay: a worker has run all 1,000, once each" in report.text
    assert "huey: NOT RIGHT, of 5 handlers 2 have not run" in report.text
    assert "it broke" in report.text
    assert "rq: left out, rq is not installed" in report.text
    assert "growth  0.5 MiB" in report.text


def test_a_report_is_written_as_text_and_as_json(tmp_path: Path) -> None:
    """Programs find the same in JSON, with the versions that were measured."""
    report = Report(figures=[figure("delay")])

    report.write(tmp_path / "new")

    facts = json.loads((tmp_path / "new/report.json").read_text())
    assert (tmp_path / "new/report.txt").read_text() == f"{report.text}\n"
    assert facts["figures"][0]["contender"] == "delay"
    assert "celery" in facts["versions"]


def test_everything_is_measured_by_default() -> None:
    """Without arguments all parts and all contenders take part."""
    options = parse([])

    assert options.contenders == tuple(CONTENDERS)
    assert "memory" in options.parts
    assert len(options.cells()) == 8


def test_contenders_alone_are_sends_alone() -> None:
    """Who names contenders wants their sends and nothing else."""
    options = parse(["--only", "huey,direct", "--handlers", "20,1", "--rounds", "5"])

    assert options.parts == {"sends"}
    assert options.contenders == ("direct", "huey")
    assert [cell.handlers for cell in options.cells()] == [1, 20, 1, 20]
    assert {cell.rounds for cell in options.cells()} == {5}


def test_parts_alone_leave_out_the_others() -> None:
    """Who names parts gets these, and with sends all contenders."""
    options = parse(["--only", "memory,sends", "--handlers", "30"])

    assert options.parts == {"memory", "sends"}
    assert options.contenders == tuple(CONTENDERS)
    assert options.cells()[0].rounds == 20


@pytest.mark.parametrize(
    "arguments",
    [["--only", "kafka"], ["--handlers", "0"], ["--handlers", "many"]],
    ids=["unknown contender", "no handler", "no number"],
)
def test_a_wrong_command_line_is_told(arguments: Sequence[str]) -> None:
    """The program ends before it measures anything."""
    with pytest.raises(SystemExit):
        parse(arguments)


def test_a_peer_that_is_not_installed_is_missing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contender whose package is not there is left out, and the package is named."""
    monkeypatch.setitem(sys.modules, "huey", None)

    with pytest.raises(MissingError, match="huey"):
        load("huey", place)


def test_a_server_that_is_not_there_leaves_its_contenders_out(place: Place) -> None:
    """Without RabbitMQ nothing is sent to it."""
    with pytest.raises(MissingError, match="RabbitMQ"):
        load("delay_rabbit", place)


def test_instructions_are_compared_with_as_many_calls() -> None:
    """A send to some handlers has the share that it takes of a ``delay()`` for each."""
    counts = {("delay", 1): 100.0, ("direct", 0): 1.0, ("direct", 4): 40.0}

    assert ratios(counts) == {("direct", 4): 0.1}


def test_instructions_are_not_counted_without_valgrind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without valgrind this part is left out, and the program is named."""
    monkeypatch.setenv("PATH", "")

    with pytest.raises(MissingError, match="valgrind"):
        count(place)
