"""What an app's own settings promise."""

from __future__ import annotations

import pytest

from signal_tasks.doctor.findings import Status
from signal_tasks.doctor.settings import (
    check_eager,
    check_key,
    check_persistence,
    check_pickle,
)

OK, WARNING, WRONG = Status.OK, Status.WARNING, Status.WRONG


@pytest.mark.parametrize(
    ("fingerprints", "status"), [(["abc"], OK), ([], WRONG)], ids=["key", "none"]
)
def test_envelopes_are_signed(fingerprints: list[str], status: Status) -> None:
    """Without a key, whoever can write to the broker can run a handler."""
    [finding] = check_key(fingerprints)

    assert finding.status is status


@pytest.mark.parametrize(
    ("accepted", "status"),
    [
        (["json"], OK),
        (None, OK),
        (["json", "pickle"], WRONG),
        (["application/x-python-serialize"], WRONG),
    ],
    ids=["json", "none", "pickle", "type"],
)
def test_nothing_is_unpickled(accepted: list[str] | None, status: Status) -> None:
    """A message that is unpickled can run any code."""
    [finding] = check_pickle({"accept_content": accepted})

    assert finding.status is status


def test_eager_tasks_are_a_warning() -> None:
    """What is eager runs in the request, and no worker gets it."""
    [finding] = check_eager({"task_always_eager": True})

    assert finding.status is WARNING


def test_tasks_that_are_not_eager_are_no_finding() -> None:
    """That is how it should be, and goes without saying."""
    assert not list(check_eager({"task_always_eager": False}))


@pytest.mark.parametrize("mode", [1, "1", "transient"], ids=repr)
def test_transient_messages_are_a_warning(mode: object) -> None:
    """A restart of RabbitMQ loses messages that are not persistent."""
    [finding] = check_persistence({"shop.bill": mode, "shop.thank": 2})

    assert finding.status is WARNING
    assert finding.about == ("shop.bill",)


def test_persistent_messages_are_no_finding() -> None:
    """That is how it should be, and goes without saying."""
    assert not list(check_persistence({"shop.bill": 2, "shop.thank": "persistent"}))
