"""What a worker tells of a receiver's task."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, replace

import pytest

from signal_tasks.tasks.vital_signs import VitalSigns, parameters_of, read
from signal_tasks.typing import Handler

SIGNS = VitalSigns(
    app="shop",
    parameters="(sender, user, **extra)",
    fingerprints=("aaaaaaaa", "bbbbbbbb"),
    acks_late=True,
    reject_on_worker_lost=False,
    time_limit=30.0,
    told_at=1234567890.5,
)


def plain(sender: object, user: object) -> None:
    """Take a user."""


def other_words(_: object, user: object) -> None:
    """Take the same under another name of the sender."""


def choosy(sender: object, /, *, user: str, coupon: str = "none") -> None:
    """Take what has a default."""


def open_handed(*senders: object, **extra: object) -> None:
    """Take whatever comes."""


class Mailer:
    def mail(self, sender: object, user: object) -> None:
        """Take a user."""


@pytest.mark.parametrize(
    "signs",
    [SIGNS, replace(SIGNS, time_limit=None, fingerprints=())],
    ids=["all", "least"],
)
def test_vital_signs_come_out_as_they_went_in(signs: VitalSigns) -> None:
    """What a worker tells of a task is read back."""
    assert read(f"shop.bill [vital_signs={signs}]") == ("shop.bill", signs)


@pytest.mark.parametrize(
    "rest",
    [
        "",
        " [vital_signs=None]",
        " [vital_signs={]",
        " [vital_signs={}]",
        f" [vital_signs={'[' * 100_000}]",
        f" [vital_signs={json.dumps(asdict(SIGNS) | {'told_at': 'now'})}]",
        f" [vital_signs={json.dumps(asdict(SIGNS) | {'fingerprints': 'abc'})}]",
    ],
    ids=["name", "none", "cut", "empty", "deep", "clock", "keys"],
)
def test_other_answers_have_a_name_alone(rest: str) -> None:
    """A task that is no receiver, and an answer that somebody made up, tell a name."""
    assert read(f"shop.bill{rest}") == ("shop.bill", None)


@pytest.mark.parametrize(
    ("handler", "parameters"),
    [
        (plain, "(sender, user)"),
        (other_words, "(sender, user)"),
        (choosy, "(sender, user, coupon=...)"),
        (open_handed, "(*senders, **extra)"),
        (Mailer().mail, "(sender, user)"),
        (functools.partial(plain, user=1), "(sender, user=...)"),
        (dict[str, str].update, "(?)"),
    ],
    ids=["plain", "words", "defaults", "open", "method", "partial", "built-in"],
)
def test_parameters_are_what_decides_whether_a_message_fits(
    handler: Handler, parameters: str
) -> None:
    """Defaults' values, types and the sender's name make no difference."""
    assert parameters_of(handler) == parameters
