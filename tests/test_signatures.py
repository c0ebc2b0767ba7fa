"""Signatures are those of itsdangerous."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer

from signal_tasks.signatures import Signatures

KEYS: list[str | bytes] = ["an old key", b"the newest key"]
SALT = b"test"

signatures = Signatures(KEYS, SALT)
texts = st.text(st.characters(exclude_categories=["Cs"]))


def signer(*keys: str | bytes) -> Signer:
    """Return itsdangerous's own."""
    return Signer(
        list(keys), salt=SALT, key_derivation="hmac", digest_method=hashlib.sha256
    )


@given(texts, texts)
def test_a_signature_is_that_of_the_whole_text(start: str, rest: str) -> None:
    """Whatever a text is divided into, itsdangerous verifies its signature."""
    (signature,) = signatures.sign(start, [rest])

    assert signer(*KEYS).verify_signature(f"{start}{rest}", signature)


def test_texts_that_begin_alike_have_signatures_of_their_own() -> None:
    """What was signed before changes nothing about what is signed next."""
    first, second, again = signatures.sign("start", ["a", "b", "a"])

    assert first == again != second


@pytest.mark.parametrize("key", KEYS, ids=["old", "new"])
@given(text=texts)
def test_each_key_verifies(key: str | bytes, text: str) -> None:
    """What itsdangerous has signed with any of the keys is genuine."""
    signature = signer(key).get_signature(text).decode()

    assert signatures.verifies(text.encode(), signature)


@given(texts, st.text(st.characters(codec="ascii")))
def test_no_other_signature_verifies(text: str, signature: str) -> None:
    """What nobody has signed is not genuine, nor is what a stranger has."""
    assert not signatures.verifies(text.encode(), signature)

    strange = signer("a stranger's key").get_signature(text).decode()
    assert not signatures.verifies(text.encode(), strange)


def test_a_signature_is_for_one_purpose() -> None:
    """A signature with another salt does not verify."""
    (other,) = Signatures(KEYS, b"another").sign("text", [""])

    assert not signatures.verifies(b"text", other)
