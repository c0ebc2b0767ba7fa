"""All of Flask's signals: what their handlers find in a worker, on pages of every kind.

The same handlers run in the request and in the worker, where they evaluate each
expression of the documentation's tables. The visits are made once; the tests compare.
"""

from __future__ import annotations

import time
from ast import literal_eval
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from blinker import Signal
from flask import signals

from tests.integration.book import Entry, Where
from tests.integration.servers import EmbeddedBroker
from tests.integration.signals_app.claims import CONTEXTS, SIGNALS, Claim, tables
from tests.integration.signals_app.tour import FILE, LINES, VISITS
from tests.integration.visits import Reply, Site, Visitor, running_site
from tests.integration.workers import ROOT

pytestmark = pytest.mark.integration

CLAIMS: Mapping[str, Claim] = {
    claim.name: claim for claim in (*SIGNALS, *CONTEXTS.values())
}

REFUSALS = {"NotSentError", "ReadOnlySessionError", "AttributeError", "RuntimeError"}
"""Errors that say that something did not travel, or that there is none."""

Look = Mapping[str, Sequence[str]]
"""What a handler has seen: for each expression whether it has a value, and which."""


class Pair(NamedTuple):
    """What one event has let a handler see, in the request and in the worker."""

    visit: str | None
    inline: Look
    worker: Look


Looks = Mapping[str, Sequence[Pair]]


@pytest.fixture(scope="module")
def running(
    embedded_broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Return the app at work."""
    with running_site(
        "tests.integration.signals_app.handlers:app",
        broker_url=embedded_broker.next_database(),
        folder=tmp_path_factory.mktemp("signals"),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def replies(running: Site) -> Mapping[str, Reply]:
    """Return what somebody got who has visited every page."""
    visitor = Visitor(running)
    replies = {visit.name: visitor.make(visit) for visit in VISITS}
    running.settle()
    return replies


@pytest.fixture(scope="module")
def site(running: Site, replies: Mapping[str, Reply]) -> Site:
    """Return the app after somebody has visited every page."""
    return running


@pytest.fixture(scope="module")
def looks(site: Site) -> Looks:
    """Return what was seen for each event, in the request and in the worker."""
    inline, worker = looks_by_name(site, "inline"), looks_by_name(site, "worker")
    return {
        name: [
            Pair(here.visit, here.observed[0], there.observed[0])
            for here, there in zip(inline[name], worker[name], strict=True)
        ]
        for name in CLAIMS
    }


def looks_by_name(site: Site, where: Where) -> Mapping[str, list[Entry]]:
    """Return what was seen in one place, in order."""
    entries: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in site.entries(where):
        entries[entry.name].append(entry)
    return entries


def seen(looks: Looks, name: str, visit: str) -> Look:
    """Return what the worker saw during *visit*."""
    (look,) = [pair.worker for pair in looks[name] if pair.visit == visit]
    return look


def value(shown: Sequence[str]) -> Any:
    """Return the value of an expression that has one."""
    kind, text = shown
    assert kind == "is", shown
    return literal_eval(text)


def claimed(kind: str) -> list[pytest.ParameterSet]:
    """Return the claims of one kind, each with an expression."""
    return [
        pytest.param(name, expression, id=f"{name}: {expression}")
        for name, claim in CLAIMS.items()
        for expression in getattr(claim, kind)
    ]


# -- the tables


def test_all_signals_of_flask_are_claimed() -> None:
    """There is a claim for each signal that Flask has."""
    sent_by_flask = {
        name for name, one in vars(signals).items() if isinstance(one, Signal)
    }

    assert {claim.name for claim in SIGNALS} == sent_by_flask


def test_page_has_the_tables() -> None:
    """The documentation has the tables that the handlers of these tests look at."""
    page = (ROOT / "docs/reference/flask-signals.md").read_text()

    for table in tables():
        assert table in page


@pytest.mark.parametrize(("name", "expression"), claimed("same"))
def test_worker_sees_the_same(looks: Looks, name: str, expression: str) -> None:
    """On no page has the expression another value in the worker."""
    assert looks[name]
    for visit, inline, worker in looks[name]:
        assert worker[expression] == inline[expression], visit


@pytest.mark.parametrize(("name", "expression"), claimed("refused"))
def test_worker_is_told_what_is_not_there(
    looks: Looks, name: str, expression: str
) -> None:
    """Where the expression has a value that did not travel, the worker gets an error."""
    told = [
        worker[expression]
        for _, inline, worker in looks[name]
        if worker[expression] != inline[expression]
    ]

    assert told
    assert {kind for kind, _ in told} == {"raises"}
    assert {error for _, error in told} <= REFUSALS


@pytest.mark.parametrize(("name", "expression"), claimed("untried"))
def test_worker_is_told_that_no_body_is_there(
    looks: Looks, name: str, expression: str
) -> None:
    """The expression, which would use up a stream, is an error on every page."""
    assert looks[name]
    for _, _, worker in looks[name]:
        assert worker[expression] in (
            ["raises", "NotSentError"],
            ["raises", "AttributeError"],
        )


@pytest.mark.parametrize(("name", "expression"), claimed("other"))
def test_worker_sees_another_value(looks: Looks, name: str, expression: str) -> None:
    """The expression has a value in the worker, which on some page is another one."""
    values = [
        (pair.inline[expression], pair.worker[expression]) for pair in looks[name]
    ]

    assert any(inline != worker for inline, worker in values)
    assert {kind for _, (kind, _) in values} == {"is"}


# -- one run for one event


@pytest.mark.parametrize("name", CLAIMS)
def test_handler_runs_once_for_each_event(site: Site, name: str) -> None:
    """A handler runs in the worker as often as in the request."""
    sent = site.count("inline")[name]

    assert 0 < sent == site.count("worker")[name]


def test_contexts_of_the_worker_lead_to_no_events(site: Site) -> None:
    """Two seconds after all events have run, there is not one more of them."""
    before = site.count("worker")

    time.sleep(2)

    assert site.count("worker") == before


# -- pages: the worker's copy of the response against what the client got


@pytest.mark.parametrize("visit", [visit.name for visit in VISITS])
def test_response_is_what_the_client_got(
    looks: Looks, replies: Mapping[str, Reply], visit: str
) -> None:
    """Status, type and length in the worker are those that the client was sent."""
    look, reply = seen(looks, "request_finished", visit), replies[visit]
    length = reply.headers["Content-Length"]

    assert value(look["response.status_code"]) == reply.status
    assert (
        value(look["response.headers['Content-Type']"]) == reply.headers["Content-Type"]
    )
    assert value(look["response.content_length"]) == (length and int(length))
    assert value(look["response.location"]) == reply.headers["Location"]


@pytest.mark.parametrize("visit", ["a stream", "a streamed template"])
def test_stream_reaches_the_client(
    looks: Looks, replies: Mapping[str, Reply], visit: str
) -> None:
    """A streamed response is not used up by receivers that look at it."""
    look = seen(looks, "request_finished", visit)

    assert replies[visit].body.decode() == "".join(LINES)
    assert value(look["response.is_streamed"]) is True
    assert value(look["response.content_length"]) is None


def test_file_reaches_the_client(looks: Looks, replies: Mapping[str, Reply]) -> None:
    """A download is whole, and its name is known in the worker."""
    look = seen(looks, "request_finished", "a file")

    assert replies["a file"].body == FILE
    assert (
        value(look["response.headers.get('Content-Disposition')"])
        == "attachment; filename=data.bin"
    )


def test_form_arrives_where_it_is_asked_for(looks: Looks) -> None:
    """A form that a receiver names is there in the worker."""
    look = seen(looks, "request, with what is named", "a form")

    assert value(look["request.form.to_dict()"]) == {"what": "tea & cake"}


def test_handled_error_is_no_exception(looks: Looks) -> None:
    """An error page of the app's own is a response, and no exception is announced."""
    look = seen(looks, "request_finished", "a handled error")
    failed = [pair.visit for pair in looks["got_request_exception"]]

    assert value(look["response.status_code"]) == 404
    assert failed == ["an error", "a registered error"]


def test_registered_exception_is_itself(looks: Looks) -> None:
    """An exception whose class is registered has that class in the worker."""
    look = seen(looks, "got_request_exception", "a registered error")

    assert value(look["type(exception).__name__"]) == "OrderRefusedError"
    assert value(look["str(exception)"]) == "42"


def test_exception_is_printed_with_its_traceback(looks: Looks) -> None:
    """A handler that prints the exception's traceback prints the one of the request."""
    look = seen(looks, "got_request_exception", "an error")
    printed = value(look["''.join(format_exception(exception))"])

    assert "in broken\n" in printed
    assert "LookupError: no such order\n" in printed
    assert "RuntimeError: on purpose\n" in printed


# -- extensions


def test_user_of_flask_login_is_there(looks: Looks) -> None:
    """Whoever is logged in in the request is the current user in the worker."""
    before, after = (
        seen(looks, "user", visit) for visit in ("a plain page", "a template")
    )

    assert value(before["current_user.is_authenticated"]) is False
    assert value(after["current_user.is_authenticated"]) is True
    assert value(after["getattr(current_user, 'name', None)"]) == "Ada"


def test_user_is_refused_where_not_asked_for(looks: Looks) -> None:
    """Without its context, asking who is logged in is an error, and no wrong answer."""
    look = seen(looks, "request", "a template")

    assert look["current_user.is_authenticated"] == ["raises", "NotSentError"]


def test_locale_of_flask_babel_is_the_request_s(looks: Looks) -> None:
    """Locale and time zone are those of the request, though the worker would choose others."""
    asked, unasked = (
        seen(looks, name, "a plain page") for name in ("locale", "nothing")
    )

    assert value(asked["str(get_locale())"]) == "de"
    assert value(asked["str(get_timezone())"]) == "Europe/Berlin"
    assert value(unasked["str(get_locale())"]) == "fr"
    assert value(unasked["str(get_timezone())"]) == "Asia/Tokyo"
