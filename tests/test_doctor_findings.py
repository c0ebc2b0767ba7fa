"""How a check is kept from ending the others."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from signal_tasks.doctor.findings import Check, Finding, Status, listed, run_check

FOUND = Finding(check="weather", status=Status.OK, found="it is fine.")
PATIENCE = 60.0


def test_what_a_check_yields_is_found() -> None:
    """A check that works has its own findings."""
    assert run_check(Check("weather", lambda: [FOUND]), patience_seconds=PATIENCE) == [
        FOUND
    ]


def test_check_that_raises_is_a_finding() -> None:
    """An error names its class and place, not its words, and keeps what was found."""

    def look() -> Iterator[Finding]:
        yield FOUND
        raise OSError("redis://:hunter2@broker")

    first, second = run_check(Check("weather", look), patience_seconds=PATIENCE)

    assert first == FOUND
    assert second.check == "weather"
    assert second.status is Status.WRONG
    assert "OSError at test_doctor_findings.py:" in second.found
    assert "hunter2" not in second.found


def test_check_without_an_end_is_left() -> None:
    """A check that waits for ever is a finding, and keeps what was found."""
    is_over = Event()

    def look() -> Iterator[Finding]:
        yield FOUND
        is_over.wait()

    first, second = run_check(Check("weather", look), patience_seconds=0.1)
    is_over.set()

    assert first == FOUND
    assert second.status is Status.WRONG
    assert second.found == "there was no answer within 0.1 seconds."


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a"], "a"),
        (["a", "b", "c", "d"], "a, b, c, d"),
        (["a", "b", "c", "d", "e", "f"], "a, b, c, d and 2 more"),
    ],
    ids=["one", "few", "many"],
)
def test_of_many_names_the_first_are_listed(names: list[str], text: str) -> None:
    """A sentence does not become a page."""
    assert listed(names) == text
