"""Parts of mappings, which know what was left out of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from signal_tasks import EncodeError, NotSentError
from signal_tasks.codec import Codec
from signal_tasks.portions import ChecksHeaders, Portion, portion_of

SECRET = "4111-1111-1111-1111"


class Headers(ChecksHeaders, dict[str, str]):
    """Headers of which one was withheld."""

    left_out = frozenset(("cookie",))


def portion() -> Portion:
    """Return a portion of a session from which the basket was left out."""
    return Portion({"sent": {"user_id": 7}, "left_out": ["basket"]}, what="session")


def test_all_that_travels_is_sent_by_default() -> None:
    """Without keys, what travels is sent, and the rest is known by name."""
    made = portion_of({"a": 1, "b": object(), "c": {2}, "d": SECRET}, None, Codec())

    assert made == {"sent": {"a": 1, "c": {2}, "d": SECRET}, "left_out": ["b"]}


def test_named_keys_are_sent_alone() -> None:
    """With keys, just those are sent, and one that is not there is not left out."""
    made = portion_of({"a": 1, "b": 2}, ("b", "z"), Codec())

    assert made == {"sent": {"b": 2}, "left_out": ["a"]}


def test_no_key_sends_nothing() -> None:
    """An empty tuple of keys leaves everything out."""
    assert portion_of({"a": 1}, (), Codec()) == {"sent": {}, "left_out": ["a"]}


def test_named_key_has_to_travel() -> None:
    """What stands under a named key is sent as it is, for the codec to refuse."""
    made = portion_of({"a": object()}, ("a",), Codec())

    with pytest.raises(EncodeError, match=r"portion\['sent'\]\['a'\]"):
        Codec().encode(made, path="portion")


def test_keys_need_not_be_strings() -> None:
    """Keys of several types are left out and sent side by side."""
    made = portion_of({1: object(), "b": object(), 2: 3}, None, Codec())  # type: ignore[dict-item]

    assert made == {"sent": {2: 3}, "left_out": [1, "b"]}


def test_portion_of_a_portion_knows_what_the_first_left_out() -> None:
    """What is sent on from a handler still has the names of what never arrived there."""
    made = portion_of(portion(), None, Codec())

    assert made == {"sent": {"user_id": 7}, "left_out": ["basket"]}


def test_key_that_did_not_arrive_cannot_be_sent_on() -> None:
    """A receiver that names a key which is left out already hears of it."""
    with pytest.raises(NotSentError, match="session had 'basket'"):
        portion_of(portion(), ("basket",), Codec())


def test_portion_is_a_dict_of_what_was_sent() -> None:
    """Everything that reads a dict reads it."""
    read = portion()

    assert read == {"user_id": 7}
    assert (read["user_id"], read.get("user_id"), "user_id" in read) == (7, 7, True)
    assert {**read} == {"user_id": 7}


@pytest.mark.parametrize(
    "ask",
    [
        lambda portion: portion["basket"],
        lambda portion: portion.get("basket"),
        lambda portion: portion.get("basket", []),
        lambda portion: "basket" in portion,
        lambda portion: portion.pop("basket"),
        lambda portion: portion.pop("basket", None),
        lambda portion: portion.setdefault("basket", []),
    ],
    ids=["item", "get", "default", "in", "pop", "pop default", "setdefault"],
)
def test_left_out_is_not_simply_absent(ask: Callable[[Portion], Any]) -> None:
    """Whoever asks for what was left out hears that it was there, and what to do."""
    with pytest.raises(
        NotSentError, match=r"session had 'basket' .* Name it in context="
    ):
        ask(portion())


def test_absent_is_absent() -> None:
    """What was never there is missing as in any dict."""
    read = portion()

    assert "name" not in read
    assert read.get("name") is None
    assert read.pop("name", "nobody") == "nobody"
    with pytest.raises(KeyError):
        read["name"]


def test_what_a_handler_puts_there_is_there() -> None:
    """A name that was left out can be filled anew, and is read then."""
    filled = portion()

    filled["basket"] = ["a book"]

    assert filled["basket"] == filled.get("basket") == ["a book"]
    assert filled.setdefault("name", "nobody") == filled.pop("name")


def test_headers_are_asked_for_in_any_case() -> None:
    """The name of a header that was withheld is known however it is written."""
    headers = Headers({"Accept": "*/*"})

    assert headers.get("Accept") == headers["Accept"]
    assert "Host" not in headers
    assert 7 not in headers
    with pytest.raises(NotSentError, match="the headers had 'cookie'"):
        headers.get("COOKIE")
