"""The wire form: what verifies comes out as it went in, and nothing else comes out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from itsdangerous import Signer

from signal_tasks import (
    MalformedEnvelopeError,
    RefusedError,
    SignatureError,
    UnsupportedVersionError,
)
from signal_tasks.envelope import Envelope, Seal, is_kept, written_id

KEY = "the key of the tests"
SECRET = "4111-1111-1111-1111"
PAYLOAD: dict[str, Any] = {"sender": None, "kwargs": {"card": SECRET}}
SENT_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

signed = Seal([KEY])
unsigned = Seal([])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def seal_one(seal: Seal, **facts: Any) -> Envelope:
    """Seal one envelope, with *facts* other than the usual ones."""
    (envelope,) = seal_all(seal, ["shop.bill"], **facts)
    return envelope


def seal_all(seal: Seal, receivers: Sequence[str], **facts: Any) -> Sequence[Envelope]:
    """Seal one envelope for each of *receivers*."""
    usual: dict[str, Any] = {
        "id": "e1",
        "signal": "order-placed",
        "sent_at": SENT_AT,
        "trail": ("cart-filled",),
        "payload": PAYLOAD,
        "context": {},
    }
    return seal.seal(receivers=receivers, **(usual | facts))


TEXT = seal_one(signed).text


def wire(**changes: object) -> str:
    """Write an unsigned envelope by hand, with *changes* to its members."""
    members = json.loads(seal_one(unsigned).text) | changes
    members["sig"] = members.pop("sig")
    return json.dumps(members, separators=(",", ":"))


@pytest.mark.parametrize("seal", [signed, unsigned], ids=["signed", "unsigned"])
def test_envelope_comes_out_as_it_went_in(seal: Seal) -> None:
    """Whoever has the keys opens an envelope to the same facts."""
    envelope = seal_one(seal)

    opened = seal.open(envelope.text)

    assert opened == envelope


@pytest.mark.parametrize("seal", [signed, unsigned], ids=["signed", "unsigned"])
@settings(max_examples=50)
@given(
    id=st.text(),
    signal=st.text(),
    sent_at=st.datetimes(timezones=st.just(UTC)),
    trail=st.lists(st.text()).map(tuple),
    payload=st.dictionaries(st.text(), json_values),
    receiver=st.text(),
)
def test_every_envelope_comes_out_as_it_went_in(
    seal: Seal, receiver: str, **facts: Any
) -> None:
    """Whatever text names a signal, whatever the payload: it is the same afterwards."""
    (envelope,) = seal_all(seal, [receiver], **facts)

    opened = seal.open(envelope.text)

    assert opened == envelope


def test_lone_surrogates_travel() -> None:
    """A name that is no valid Unicode is no reason for an error on the request path."""
    envelope = seal_one(signed, signal="\ud800")

    opened = signed.open(envelope.text)

    assert opened.signal == "\ud800"


def test_event_is_written_once_for_all_receivers() -> None:
    """The envelopes of one event differ in the receiver and the signature alone."""
    first, second = seal_all(signed, ["shop.bill", "shop.pack"])

    shared = first.text.split(',"receiver":')[0]

    assert second.text.startswith(shared)
    assert signed.open(second.text).receiver == "shop.pack"


def test_no_receivers_make_no_envelopes() -> None:
    """An event that nobody wants is not written."""
    assert list(seal_all(signed, [])) == []


def test_envelopes_of_an_event_are_a_sequence() -> None:
    """Each can be had by its place, some by a slice, and all one after the other."""
    envelopes = seal_all(signed, ["shop.bill", "shop.pack", "shop.ship"])

    one_by_one = list(envelopes)

    assert [one.receiver for one in one_by_one] == [
        "shop.bill",
        "shop.pack",
        "shop.ship",
    ]
    assert [envelopes[0], *envelopes[1:]] == one_by_one
    assert envelopes[-1] == one_by_one[-1] != one_by_one[0]
    assert len(set(one_by_one)) == len(envelopes) == 3
    assert SECRET not in repr(envelopes)


def test_text_is_the_documented_form() -> None:
    """Version 1 of the wire is what its description says, member by member."""
    members = json.loads(TEXT)

    assert list(members.items())[:-1] == [
        ("v", 1),
        ("id", "e1"),
        ("signal", "order-placed"),
        ("sent_at", "2026-01-02T03:04:05.678901+00:00"),
        ("trail", ["cart-filled"]),
        ("payload", PAYLOAD),
        ("context", {}),
        ("receiver", "shop.bill"),
    ]
    assert list(members)[-1] == "sig"


def test_version_1_of_last_year_is_read() -> None:
    """A text that this code wrote when it was new opens for ever."""
    text = (
        '{"v":1,"id":"e1","signal":"s","sent_at":"2025-01-02T03:04:05+00:00",'
        '"trail":[],"payload":{"sender":null,"kwargs":{}},"context":{},'
        '"receiver":"shop.bill","sig":"Aa_VM2ZXGO8emYWpmqt1v_Z5r40wyL9p1DTSA-lBIUs"}'
    )

    opened = signed.open(text)

    assert opened.receiver == "shop.bill"


def test_repr_shows_no_payload() -> None:
    """An envelope in a log or a traceback does not show what it carries."""
    shown = repr(seal_one(signed))

    assert SECRET not in shown


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"id":"e1"', '"id":"e2"'),
        ('"signal":"order-placed"', '"signal":"order-paid"'),
        ("03:04:05", "03:04:06"),
        ('["cart-filled"]', "[]"),
        (SECRET, "4222-2222-2222-2222"),
        ('"context":{}', '"context":{"user":1}'),
        ('"receiver":"shop.bill"', '"receiver":"shop.refund"'),
        (',"sig":', ',"more":1,"sig":'),
    ],
    ids=["id", "signal", "sent_at", "trail", "payload", "context", "receiver", "more"],
)
def test_altered_envelope_does_not_verify(before: str, after: str) -> None:
    """No part of an envelope can be changed without the key."""
    assert before in TEXT

    with pytest.raises(SignatureError):
        signed.open(TEXT.replace(before, after))


@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_one_changed_character_is_refused(position: int, other: str) -> None:
    """An envelope with any one character replaced by any other does not open."""
    assume(other != TEXT[position])

    with pytest.raises(RefusedError):
        signed.open(TEXT[:position] + other + TEXT[position + 1 :])


@pytest.mark.parametrize("bit", range(6))
def test_unused_bits_of_a_signature_are_refused(bit: int) -> None:
    """There is one way to write a signature, also in the bits that base64 leaves over."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = TEXT[-3]
    other = alphabet[alphabet.index(last) ^ 1 << bit]

    with pytest.raises(RefusedError):
        signed.open(f'{TEXT[:-3]}{other}"}}')


@given(st.integers(0, len(TEXT)), st.text(min_size=1, max_size=3))
def test_inserted_text_is_refused(position: int, more: str) -> None:
    """An envelope with anything put into it, before it or after it does not open."""
    with pytest.raises(RefusedError):
        signed.open(TEXT[:position] + more + TEXT[position:])


@pytest.mark.parametrize("seal", [signed, unsigned], ids=["signed", "unsigned"])
@given(st.data())
def test_truncated_envelope_is_malformed(seal: Seal, data: st.DataObject) -> None:
    """An envelope that ends too early is malformed, signed or not."""
    text = seal_one(seal).text
    end = data.draw(st.integers(0, len(text) - 1))

    with pytest.raises(MalformedEnvelopeError):
        seal.open(text[:end])


anything = st.text(st.characters()) | json_values.map(json.dumps)


@pytest.mark.parametrize("seal", [signed, unsigned], ids=["signed", "unsigned"])
@settings(max_examples=50)
@given(anything)
def test_any_other_text_is_refused(seal: Seal, text: str) -> None:
    """What is no envelope is refused with an error of ours, never with another."""
    with pytest.raises(RefusedError):
        seal.open(text)


@settings(max_examples=50)
@given(anything, st.sampled_from(["", "x", "A" * 43]))
def test_any_content_is_refused(content: str, signature: str) -> None:
    """Neither is anything else raised for a text with our first and last characters."""
    for seal in (signed, unsigned):
        with pytest.raises(RefusedError):
            seal.open(f'{{"v":1,{content},"sig":"{signature}"}}')


@pytest.mark.parametrize(
    "value", [None, 1, b"{}", {"v": 1}, [TEXT], TEXT.encode()], ids=repr
)
def test_what_is_no_text_is_malformed(value: object) -> None:
    """Only a text can be an envelope; whoever called delay() learns what to do instead."""
    with pytest.raises(MalformedEnvelopeError, match=r"not for delay\(\)"):
        signed.open(value)


def test_signed_text_that_is_no_unicode_is_malformed() -> None:
    """A lone surrogate in a text from elsewhere cannot be verified, so it is refused."""
    with pytest.raises(MalformedEnvelopeError):
        signed.open(TEXT.replace("shop", "\ud800"))


@pytest.mark.parametrize("version", [0, 2, 999_999_999])
@pytest.mark.parametrize("seal", [signed, unsigned], ids=["signed", "unsigned"])
def test_other_version_is_refused_by_its_number(seal: Seal, version: int) -> None:
    """A version that this code does not read is named, whatever follows it."""
    with pytest.raises(UnsupportedVersionError, match=rf"{version}\b") as caught:
        seal.open(f'{{"v":{version},in a form of the future}}')

    assert (caught.value.version, caught.value.supported) == (version, (1,))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 1},
        {"signal": None},
        {"receiver": ["shop.bill"]},
        {"sent_at": 1767323045},
        {"sent_at": "yesterday"},
        {"sent_at": "0001-01-01T00:00:00+23:59"},
        {"sent_at": "9999-12-31T23:59:59-23:59"},
        {"sent_at": "2026-01-02T03:04:05"},
        {"trail": "cart-filled"},
        {"trail": {"cart-filled": 1}},
        {"trail": [1]},
        {"trail": None},
        {"payload": []},
        {"payload": None},
        {"context": "none"},
    ],
    ids=repr,
)
def test_wrong_member_is_malformed(changes: dict[str, object]) -> None:
    """Where nothing is signed, a member of another type is still no envelope."""
    with pytest.raises(MalformedEnvelopeError):
        unsigned.open(wire(**changes))


@pytest.mark.parametrize(
    "member", ["id", "signal", "sent_at", "trail", "payload", "context", "receiver"]
)
def test_missing_member_is_malformed(member: str) -> None:
    """An envelope has all its members."""
    members = json.loads(wire())
    del members[member]

    with pytest.raises(MalformedEnvelopeError):
        unsigned.open(json.dumps(members, separators=(",", ":")))


def test_too_deep_payload_is_malformed() -> None:
    """A payload that would exhaust the stack is refused, and the worker goes on."""
    text = wire().replace(f'"{SECRET}"', "[" * 100_000 + "]" * 100_000)

    with pytest.raises(MalformedEnvelopeError):
        unsigned.open(text)


def test_errors_show_no_payload() -> None:
    """What is wrong with an envelope is said without what it carries."""
    for seal, text in [
        (signed, TEXT.replace("e1", "e2")),
        (signed, TEXT[:-1]),
        (unsigned, TEXT),
        (unsigned, wire(id=SECRET, trail=SECRET, sent_at=SECRET)),
    ]:
        with pytest.raises(RefusedError) as caught:
            seal.open(text)

        assert SECRET not in str(caught.value)


def test_signature_error_says_what_to_do() -> None:
    """A key that differs is mended in the configuration, which the error names."""
    with pytest.raises(SignatureError, match="SECRET_KEY_FALLBACKS"):
        Seal(["another key"]).open(TEXT)


def test_fingerprints_tell_keys_apart() -> None:
    """Two processes see that they have a key in common, and neither shows it."""
    here, there = Seal(["old", "new"]), Seal([b"new", "other"])

    assert here.fingerprints[-1] == there.fingerprints[0]
    assert len({*here.fingerprints, *there.fingerprints}) == 3


def test_no_key_has_no_fingerprint() -> None:
    """Without a key there is nothing to compare."""
    assert Seal([""]).fingerprints == ()


def test_newest_key_signs() -> None:
    """Of several keys the last one signs."""
    text = seal_one(Seal(["old", "new"])).text

    assert Seal(["new"]).open(text)
    with pytest.raises(SignatureError):
        Seal(["old"]).open(text)


@pytest.mark.parametrize("keys", [["old", KEY], [KEY, "new"], ["old", KEY, "new"]])
def test_every_key_verifies(keys: list[str]) -> None:
    """What an older or a newer key signed opens while the keys are being changed."""
    assert Seal(keys).open(TEXT)


@pytest.mark.parametrize(
    "keys",
    [[KEY.encode()], [b"\xff", KEY], ["old", KEY.encode()]],
    ids=["bytes", "bytes and text", "text and bytes"],
)
def test_keys_may_be_bytes(keys: list[str | bytes]) -> None:
    """A key is the same whether it is written as text or as bytes."""
    assert Seal(keys).open(TEXT)


def test_unsigned_is_refused_by_those_with_a_key() -> None:
    """A worker with a key runs nothing that no key signed."""
    with pytest.raises(RefusedError):
        signed.open(seal_one(unsigned).text)


def test_signed_is_refused_by_those_without_a_key() -> None:
    """A worker that lost its key notices."""
    with pytest.raises(SignatureError, match="Set SECRET_KEY"):
        unsigned.open(TEXT)


@pytest.mark.parametrize("empty", ["", b""], ids=["text", "bytes"])
def test_empty_key_verifies_nothing(empty: str | bytes) -> None:
    """A key that everybody knows, from an unset variable, opens no door."""
    forged = seal_one(Seal([empty])).text

    with pytest.raises(RefusedError):
        Seal([empty, KEY]).open(forged)


def test_envelope_signed_for_something_else_is_refused() -> None:
    """A signature made with the same key for another purpose is none of an envelope."""
    start = TEXT.rpartition(',"sig":"')[0]
    signature = Signer(KEY, salt=b"cookie-session").get_signature(start).decode()

    with pytest.raises(RefusedError):
        signed.open(f'{start},"sig":"{signature}"}}')


def test_time_is_in_utc_wherever_it_was_written() -> None:
    """The time sent comes out in UTC, for it is compared between machines."""
    elsewhere = SENT_AT.astimezone(timezone(timedelta(hours=-7)))

    opened = unsigned.open(wire(sent_at=elsewhere.isoformat()))

    assert opened.sent_at == SENT_AT
    assert opened.sent_at.tzinfo is UTC


@pytest.mark.parametrize("seal", [signed, unsigned], ids=["signed", "unsigned"])
@pytest.mark.parametrize("kept", [(), ("shop.bill",)], ids=["direct", "kept"])
def test_text_tells_what_it_is_before_it_is_verified(
    seal: Seal, kept: tuple[str, ...]
) -> None:
    """Identifier, and whether a row stands for it, are read without a key."""
    envelope = seal_one(seal, kept=kept)

    assert is_kept(envelope.text) == bool(kept)
    assert written_id(envelope.text) == "e1"


@pytest.mark.parametrize(
    "text", ["", "garbage", '{"v":1,"id":7}', '{"v":1,"id":"a\\"",']
)
def test_garbage_tells_nothing(text: str) -> None:
    """What is no envelope has no identifier, and no row."""
    assert written_id(text) is None
    assert not is_kept(text)
