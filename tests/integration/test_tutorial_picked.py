"""A tutorial's samples where ``extract=`` picks what travels of the request.

Each sample has a receiver that runs in the request and one that runs in a worker. The
visits are made once; each test looks at what the two of one sample have observed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psutil
import pytest

from tests.integration.servers import EmbeddedBroker
from tests.integration.visits import Site, Visit, Visitor, running_site

pytestmark = pytest.mark.integration

VISITS: Sequence[Visit] = (
    Visit(name="a greeting", path="/"),
    Visit(name="an error", path="/error"),
    Visit(name="a registration", path="/register"),
    Visit(name="a page", path="/page"),
    Visit(name="a namespace", path="/comings-and-goings"),
    Visit(name="a profile too early", path="/profile"),
    Visit(name="a login", path="/login", method="POST", form={"username": "ada"}),
    Visit(name="a profile", path="/profile"),
)

SAMPLES: Mapping[str, Sequence[Sequence[Any]]] = {
    "started": [
        ["picked", "index"],
        ["picked", "error"],
        ["picked", "register"],
        ["picked", "page"],
        ["picked", "come_and_go"],
        ["picked", "profile"],
        ["picked", "login"],
        ["picked", "profile"],
    ],
    "finished": [
        ["picked", "index", 200],
        ["picked", "error", 500],
        ["picked", "register", 200],
        ["picked", "page", 200],
        ["picked", "come_and_go", 200],
        ["picked", "profile", 401],
        ["picked", "login", 200],
        ["picked", "profile", 200],
    ],
    "exception": [["RuntimeError"]],
    "moved": [["picked"]] * 2 * len(VISITS),
    "torn down": [
        ["picked", visit.name == "an error"] for visit in VISITS for _ in range(2)
    ],
    "custom": [["picked", "User", "Ada", "ada@example.org"]],
    "decorated": [["Request started", []]] * len(VISITS),
    "direct": [["Request started", []]] * len(VISITS),
    "template": [["picked", None, "Signal example"]],
    "namespace": [["created", 7], ["deleted", 7]],
    "activity": [
        ["anonymous", "GET", "/", 200, True],
        ["anonymous", "GET", "/error", 500, True],
        ["anonymous", "GET", "/register", 200, True],
        ["anonymous", "GET", "/page", 200, True],
        ["anonymous", "GET", "/comings-and-goings", 200, True],
        ["anonymous", "GET", "/profile", 401, True],
        ["ada", "POST", "/login", 200, True],
        ["ada", "GET", "/profile", 200, True],
    ],
    "action": [["picked", "ada", "login"], ["picked", "ada", "view_profile"]],
}
"""What the receivers of each sample observe while the visits are made."""


@pytest.fixture(scope="module")
def site(
    embedded_broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Return the tutorial's app, after all visits and all that they have caused."""
    with running_site(
        "tests.integration.picked:app",
        broker_url=embedded_broker.next_database(),
        folder=tmp_path_factory.mktemp("picked"),
    ) as site:
        visitor = Visitor(site)
        for visit in VISITS:
            visitor.make(visit)
        site.settle()
        yield site


@pytest.mark.parametrize("sample", SAMPLES)
def test_worker_observes_what_the_request_does(site: Site, sample: str) -> None:
    """A sample's async receiver observes what its receiver in the request does."""
    inline = site.entries("inline", sample)
    worker = site.entries("worker", sample)

    assert [entry.observed for entry in inline] == SAMPLES[sample]
    assert [entry.observed for entry in worker] == SAMPLES[sample]


def test_every_sample_is_looked_at(site: Site) -> None:
    """The receivers have observed nothing but what the test above compares."""
    assert set(site.count("inline")) == set(site.count("worker")) == set(SAMPLES)


def test_receivers_of_the_two_kinds_run_in_two_processes(site: Site) -> None:
    """One kind runs in the web server, the other in a child of the worker."""
    web_pids = {entry.pid for entry in site.entries("inline")}
    worker_pids = {entry.pid for entry in site.entries("worker")}

    assert web_pids == {site.stack.web_pid}
    assert {psutil.Process(pid).ppid() for pid in worker_pids} == {
        site.stack.worker_pid
    }
