"""Where references lead is known on both sides, and policies are read once."""

from __future__ import annotations

from typing import Any

import pytest

from signal_tasks.exceptions import ConfigurationError, RegistrationError
from signal_tasks.references import (
    FAIL,
    Database,
    Lookup,
    MissingPolicy,
    Referral,
    Tombstone,
    check_session,
    closing_session,
    current_lookup,
    current_referral,
    looking_up,
    missing_policy,
    sending,
)

KEEP = MissingPolicy(action="tombstone", columns=("email",))
SHOP = Database(session=lambda: None)


class Session:
    """A session that tells what was done with it."""

    def __init__(self, *, is_in_transaction: bool = False) -> None:
        self.is_in_transaction = is_in_transaction
        self.closed = 0

    def in_transaction(self) -> bool:
        """Answer as told."""
        return self.is_in_transaction

    def close(self) -> None:
        """Count."""
        self.closed += 1


class Factory:
    """Makes a session at every call, and can be configured: a ``sessionmaker``."""

    def __call__(self) -> Session:
        """Make one."""
        return Session()  # pragma: no cover  # it is refused before

    def configure(self) -> None:
        """Change what is made."""


class Scoped(Factory):
    """Keeps the session that it made: a ``scoped_session``."""

    def remove(self) -> None:
        """Forget it."""


def tombstone(**columns: object) -> Tombstone:
    """Return the tombstone of a user with *columns*."""
    return Tombstone(type_name="shop.User", key=(1,), columns=columns)


@pytest.mark.parametrize(
    ("option", "policy"),
    [
        (..., FAIL),
        *((action, MissingPolicy(action=action)) for action in ("fail", "discard")),
        *((action, MissingPolicy(action=action)) for action in ("none", "retry")),
        ("tombstone", MissingPolicy(action="tombstone", columns=None)),
        ({"tombstone": ["email"]}, KEEP),
        ({"tombstone": ()}, MissingPolicy(action="tombstone", columns=())),
    ],
    ids=repr,
)
def test_missing_option_is_read(option: object, policy: MissingPolicy) -> None:
    """Each way to write ``missing=`` has its policy; leaving it out means to fail."""
    assert missing_policy(option) == policy


@pytest.mark.parametrize(
    "option",
    [
        *(None, "ignore", 3, (), {}, {"none": ()}, {"tombstone": "email"}),
        *({"tombstone": (1,)}, {"tombstone": ("a",), "none": True}),
    ],
    ids=repr,
)
def test_other_missing_options_are_refused(option: object) -> None:
    """Anything else is an error where the receiver is declared."""
    with pytest.raises(RegistrationError, match="missing= takes one of"):
        missing_policy(option)


def test_tombstone_has_what_was_sent_as_attributes() -> None:
    """A handler reads the columns of a tombstone as it would read those of the row."""
    assert tombstone(email="ada@example.org").email == "ada@example.org"


def test_tombstone_names_the_column_that_it_lacks() -> None:
    """A column that was not sent is an ``AttributeError`` which says how to send it."""
    with pytest.raises(AttributeError, match=r"no name: .* missing=\{'tombstone'"):
        tombstone(email="ada@example.org").name  # noqa: B018  # it raises


def test_tombstone_shows_no_data() -> None:
    """The text of a tombstone, which may end in a log, has no column of it."""
    assert repr(tombstone(email="ada")) == "Tombstone(type_name='shop.User', key=(1,))"


def test_departure_is_known_while_sending() -> None:
    """What encodes a reference is told the policy and the database, and no longer."""
    with sending(KEEP, SHOP):
        inside = current_referral()

    assert inside == Referral(policy=KEEP, database=SHOP)
    assert current_referral() == Referral()


def test_lookup_is_known_while_looking_up() -> None:
    """What decodes a reference finds the lookup that it belongs to, and no longer."""
    with looking_up(KEEP, SHOP) as lookup:
        inside = current_lookup()

    assert inside is lookup
    assert (lookup.policy, lookup.database) == (KEEP, SHOP)
    assert current_lookup() is not lookup
    assert current_lookup().policy == FAIL


@pytest.mark.parametrize("action", ["fail", "discard", "retry"])
def test_lookup_notes_what_the_handler_cannot_do_without(action: Any) -> None:
    """Something gone makes the lookup incomplete where the policy has no stand-in."""
    lookup = Lookup(policy=MissingPolicy(action=action))

    assert lookup.is_complete
    assert lookup.replace(tombstone()) is None
    assert lookup.misses == ["shop.User"]
    assert not lookup.is_complete


def test_lookup_replaces_by_none() -> None:
    """With "none", the handler gets None, and that is no miss."""
    lookup = Lookup(policy=MissingPolicy(action="none"))

    assert lookup.replace(tombstone()) is None
    assert lookup.is_complete


def test_lookup_replaces_by_the_tombstone() -> None:
    """With "tombstone", the handler gets what was sent along, and that is no miss."""
    lookup = Lookup(policy=KEEP)
    stone = tombstone()

    assert lookup.replace(stone) is stone
    assert lookup.is_complete


def test_lookup_that_failed_is_not_complete() -> None:
    """A database that could not be asked is no complete answer."""
    lookup = Lookup(policy=KEEP, failure=OSError())

    assert not lookup.is_complete


@pytest.mark.parametrize(
    "session", [None, Scoped(), Session], ids=["none", "scoped", "callable"]
)
def test_sources_of_the_current_session_are_accepted(session: object) -> None:
    """A ``scoped_session`` and any callable may be given as ``session=``."""
    check_session(session)


@pytest.mark.parametrize("session", [Session(), Factory()], ids=["one", "factory"])
def test_other_sessions_are_refused(session: object) -> None:
    """Neither one session for all handlers nor one for each call is a handler's own."""
    with pytest.raises(ConfigurationError, match="session= takes a scoped_session"):
        check_session(session)


def test_session_is_closed_after_the_handler() -> None:
    """A session that was idle is closed in the end, whatever the handler raised."""
    session = Session()
    seen = []

    def handle() -> None:
        with closing_session(lambda: session):
            seen.append(session.closed)
            raise KeyError

    with pytest.raises(KeyError):
        handle()

    assert [*seen, session.closed] == [0, 1]


def test_session_in_use_is_left_alone() -> None:
    """A session in which a transaction is under way belongs to somebody else."""
    session = Session(is_in_transaction=True)

    with closing_session(lambda: session):
        session.is_in_transaction = False

    assert session.closed == 0
