"""A tutorial's handlers, unchanged: what they observe in the request and in a worker.

Each handler is connected with blinker and with ``@async_receiver``, the very same
function. The visits are made once; each test looks at what one handler has observed.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import psutil
import pytest

from tests.integration.book import Where
from tests.integration.servers import EmbeddedBroker
from tests.integration.visits import Reply, Site, Visit, Visitor, running_site
from tests.integration.workers import ROOT, wait_for

pytestmark = pytest.mark.integration

WHERES: Sequence[Where] = ("inline", "worker")

VISITS: Sequence[Visit] = (
    Visit(name="a greeting", path="/"),
    Visit(name="an error", path="/error"),
    Visit(name="a registration", path="/register"),
    Visit(name="a page", path="/page"),
    Visit(name="a namespace", path="/comings-and-goings"),
    Visit(name="a test", path="/create_user"),
    Visit(name="a profile too early", path="/profile"),
    Visit(name="a login", path="/login", method="POST", form={"username": "ada"}),
    Visit(name="a profile", path="/profile"),
    Visit(
        name="a change",
        path="/profile/edit",
        method="POST",
        form={"address": "1, Sea Road"},
    ),
    Visit(name="a look inside", path="/connections"),
)

SAMPLES: Mapping[str, Sequence[Sequence[Any]]] = {
    "started": [
        ["Request started: index"],
        ["Request started: error"],
        ["Request started: register"],
        ["Request started: page"],
        ["Request started: come_and_go"],
        ["Request started: create_user"],
        ["Request started: profile"],
        ["Request started: login"],
        ["Request started: profile"],
        ["Request started: edit_profile"],
        ["Request started: connections"],
    ],
    "finished": [
        ["index", 200],
        ["error", 500],
        ["register", 200],
        ["page", 200],
        ["come_and_go", 200],
        ["create_user", 200],
        ["profile", 401],
        ["login", 200],
        ["profile", 200],
        ["edit_profile", 200],
        ["connections", 200],
    ],
    "custom": [["unchanged", "User", "Welcome, ada@example.org"]],
    "decorated": [["Request started", []]] * len(VISITS),
    "direct": [["Request started", []]] * len(VISITS),
    "template": [["unchanged", None, "Signal example"]],
    "activity": [
        ["anonymous GET /: 200"],
        ["anonymous GET /error: 500"],
        ["anonymous GET /register: 200"],
        ["anonymous GET /page: 200"],
        ["anonymous GET /comings-and-goings: 200"],
        ["anonymous GET /create_user: 200"],
        ["anonymous GET /profile: 401"],
        ["ada POST /login: 200"],
        ["ada GET /profile: 200"],
        ["ada POST /profile/edit: 200"],
        ["ada GET /connections: 200"],
    ],
    "action": [
        ["ada performed login", [["username", "ada"]]],
        ["ada performed view_profile", []],
    ],
    "namespace": [["created", 7], ["deleted", 7]],
    "testing": [["testuser"]],
    "rendered": [["a string", {"title": "Signal example"}]],
    "touched": [["ada", "tuple", ["address"]]],
    "audited": [["address"]],
    "saved": [[visit.path] for visit in VISITS],
}
"""What the handlers of each sample observe while the visits are made."""

TABLES: Mapping[str, Sequence[tuple[object, ...]]] = {
    "activity": [
        ("ada", "GET", "/connections", 200),
        ("ada", "GET", "/profile", 200),
        ("ada", "POST", "/login", 200),
        ("ada", "POST", "/profile/edit", 200),
        ("anonymous", "GET", "/", 200),
        ("anonymous", "GET", "/comings-and-goings", 200),
        ("anonymous", "GET", "/create_user", 200),
        ("anonymous", "GET", "/error", 500),
        ("anonymous", "GET", "/page", 200),
        ("anonymous", "GET", "/profile", 401),
        ("anonymous", "GET", "/register", 200),
    ],
    "audit": [("ada", "address", None, "1, Sea Road")],
    "views": [
        ("GET /", 1),
        ("GET /comings-and-goings", 1),
        ("GET /connections", 1),
        ("GET /create_user", 1),
        ("GET /error", 1),
        ("GET /page", 1),
        ("GET /profile", 2),
        ("GET /register", 1),
        ("POST /login", 1),
        ("POST /profile/edit", 1),
        ("login", 1),
        ("view_profile", 1),
    ],
}
"""What the exercises leave in the database, in order."""


@pytest.fixture(scope="module")
def running(
    embedded_broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Return the tutorial's app at work."""
    with running_site(
        "tests.integration.unchanged:app",
        broker_url=embedded_broker.next_database(),
        folder=tmp_path_factory.mktemp("unchanged"),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def replies(running: Site) -> Mapping[str, Reply]:
    """Return what somebody got who has followed the tutorial."""
    visitor = Visitor(running)
    replies = {visit.name: visitor.make(visit) for visit in VISITS}
    running.settle()
    return replies


@pytest.fixture(scope="module")
def site(running: Site, replies: Mapping[str, Reply]) -> Site:
    """Return the tutorial's app after somebody has followed the tutorial."""
    return running


def observed(site: Site, where: Where, sample: str) -> Sequence[Any]:
    """Return what the handlers of *sample* have observed during the visits."""
    return [one.observed for one in site.entries(where, sample)][: len(VISITS)]


def rows(site: Site, where: Where, table: str) -> Sequence[tuple[object, ...]]:
    """Return what the handlers of one process have left in *table*."""
    with closing(sqlite3.connect(site.folder / f"{where}.sqlite")) as connection:
        return sorted(connection.execute(f"SELECT * FROM {table}"), key=repr)


def test_one_function_is_connected_both_ways(
    replies: Mapping[str, Reply],
) -> None:
    """Each handler runs once in the request, and the worker runs the same function."""
    connections: Mapping[str, int] = json.loads(replies["a look inside"].body)
    wrong = "tests.integration.unchanged.activity.ActivityLogger.on_request_started"

    assert len(connections) == 18
    assert {name for name, count in connections.items() if count != 1} == set()
    assert wrong in connections


@pytest.mark.parametrize("sample", SAMPLES)
def test_worker_observes_what_the_request_does(site: Site, sample: str) -> None:
    """A handler observes in the worker what it has observed in the request."""
    assert observed(site, "inline", sample) == SAMPLES[sample]
    assert observed(site, "worker", sample) == SAMPLES[sample]


@pytest.mark.parametrize("table", TABLES)
def test_worker_writes_what_the_request_does(site: Site, table: str) -> None:
    """A handler that writes to a database writes the same rows in the worker."""
    assert rows(site, "inline", table) == TABLES[table]
    assert rows(site, "worker", table) == TABLES[table]


def test_handlers_run_in_the_worker_and_in_the_web_server(site: Site) -> None:
    """The two runs of a handler are in two processes."""
    inline = {entry.pid for entry in site.entries("inline")}
    (child,) = {entry.pid for entry in site.entries("worker")}

    assert inline == {site.stack.web_pid}
    assert psutil.Process(child).ppid() == site.stack.worker_pid


# -- time: what is not the same


def test_start_of_the_request_arrives(site: Site) -> None:
    """What a handler in the request wrote to g is what the worker reads there."""
    inline = [start for start, _ in observed(site, "inline", "duration")]
    worker = [start for start, _ in observed(site, "worker", "duration")]

    assert worker == inline


def test_clock_is_the_worker_s(site: Site) -> None:
    """A duration that a handler takes by the clock ends when the handler runs."""
    inline = [duration for _, duration in observed(site, "inline", "duration")]
    worker = [duration for _, duration in observed(site, "worker", "duration")]

    assert all(duration > 0 for duration in (*inline, *worker))
    assert inline != worker


def test_last_change_is_when_the_handler_ran(site: Site) -> None:
    """A time that a handler takes by the clock is that of its run."""
    ((inline_user, inline_time),) = rows(site, "inline", "last_modified")
    ((worker_user, worker_time),) = rows(site, "worker", "last_modified")

    assert inline_user == worker_user == "ada"
    assert inline_time != worker_time


# -- what belongs into the request


def test_writing_g_in_the_worker_warns(site: Site) -> None:
    """The handler that notes the start warns in the worker that no request will see it."""
    assert "RestoredContextWarning: a handler in a worker set g.start_time" in (
        site.written
    )


def test_writing_g_in_the_worker_changes_nothing(site: Site) -> None:
    """Who reads the start finds what was noted in the request, in either process."""
    starts = {
        where: [start for start, _ in observed(site, where, "duration")]
        for where in WHERES
    }
    noted = observed(site, "inline", "noted")

    assert starts["inline"] == starts["worker"] == [start for (start,) in noted]
    assert observed(site, "worker", "noted") != noted


# -- a test case


def test_sample_of_a_test_case_passes(site: Site) -> None:
    """The tutorial's test case passes, and the worker runs the handler for it as well."""
    before = site.count("worker")["testing"]

    run = subprocess.run(
        [sys.executable, "-m", "unittest", "tests.integration.unchanged.testing"],
        cwd=ROOT,
        env={
            **os.environ,
            "CELERY_BROKER_URL": site.stack.broker.url,
            "TEST_BOOK": str(site.folder / "book"),
            "TEST_FOLDER": str(site.folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert "Ran 1 test" in run.stderr
    wait_for(lambda: site.count("worker")["testing"] > before, "the test's event")
