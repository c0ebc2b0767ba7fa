"""The wire form: what travels for one event and one receiver, signed.

Out: the facts of an event and its encoded payload become one text per receiver.
In: a text becomes an :class:`Envelope`, if its signature verifies.

Version 1 is a JSON object with its members in this order, the signature last::

    {
        "v": 1,
        "id": ...,
        "signal": ...,
        "sent_at": ...,
        "trail": [...],
        "payload": {...},
        "context": {...},
        "receiver": ...,
        "outbox": true,
        "sig": "...",
    }

``outbox`` is there only where a row of the outbox stands for the message.

The signature covers every character before ``,"sig":``. So it is checked over the
text as it came, before any of it is parsed; only the version is looked at earlier,
for a later version may be signed in another way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import repeat
from json.encoder import encode_basestring_ascii as _quoted
from types import MappingProxyType
from typing import NamedTuple, TypeGuard, overload

from .exceptions import (
    ConfigurationError,
    MalformedEnvelopeError,
    SignatureError,
    UnsupportedVersionError,
)
from .signatures import Signatures
from .typing import JSONValue

VERSION = 1

EVENT_HEADER = "signal_tasks_event"
"""Message header that holds the event's identifier and marks a message as ours."""

_ID = re.compile(r'\{"v":[0-9]{1,9},"id":"([!#-\[\]-~]{1,64})",')
_VERSION = re.compile(r'\{"v":([0-9]{1,9}),')
# Of the last character, base64 ignores two bits; there is one way to write them.
_SIGNATURE = re.compile(r'((?:[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])?)"\}')
_SEPARATOR = ',"sig":"'
_KEPT = ',"outbox":true'

# An encoder that is kept, for json.dumps() makes one at each call that wants another
# than its own. In ASCII, for a name may hold a lone surrogate, which has no bytes to sign.
_dump = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False, check_circular=False
).encode


_NOTHING: Mapping[str, JSONValue] = MappingProxyType({})


class Envelope(NamedTuple):
    """One event on its way to one receiver.

    A tuple, for a send makes one for each handler, and nothing else that nobody can
    change costs as little.
    """

    id: str
    """The event's identifier, shared by the envelopes of all its receivers."""

    signal: str
    receiver: str

    sent_at: datetime
    """In UTC."""

    payload: Mapping[str, JSONValue]
    """The encoded ``sender`` and ``kwargs``."""

    shared: str
    """How the text begins that travels, the same for all receivers of the event."""

    own: str
    """The rest of it, with the signature of all."""

    trail: tuple[str, ...] = ()
    """Names of the signals whose handlers led to this event, the oldest first."""

    context: Mapping[str, JSONValue] = _NOTHING
    """What the worker restores while the handler runs, encoded."""

    is_kept: bool = False
    """Whether a row of the outbox stands for it until its handler has finished."""

    @property
    def text(self) -> str:
        """The signed text that travels."""
        return self.shared + self.own

    def __eq__(self, other: object) -> bool:
        """Tell whether *other* says the same, wherever its text is cut in two."""
        return isinstance(other, Envelope) and _facts(self) == _facts(other)

    def __hash__(self) -> int:
        """Return the same for all that are equal."""
        return hash(self.text)

    def __repr__(self) -> str:
        """Show whose envelope it is, and nothing of what is in it."""
        return f"<envelope {self.id} of {self.signal} for {self.receiver}>"


def _facts(envelope: Envelope) -> tuple[object, ...]:
    return (envelope.text, *envelope._replace(shared="", own=""))


@dataclass(slots=True)
class Envelopes(Sequence[Envelope]):
    """Those of one event, each made when it is asked for: a send needs their texts alone."""

    id: str
    signal: str
    sent_at: datetime
    payload: Mapping[str, JSONValue] = field(repr=False)
    trail: tuple[str, ...]
    context: Mapping[str, JSONValue] = field(repr=False)
    shared: str = field(repr=False)
    receivers: tuple[str, ...]
    kept: frozenset[str]
    """For which of the receivers a row of the outbox stands."""

    signatures: Sequence[str] = field(repr=False)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.receivers)

    @property
    def escaped(self) -> list[str]:
        """What follows :attr:`shared` in the text of each, inside a JSON string."""
        parts = _escaped_parts(self.receivers, self.kept)
        return [
            f'{part}{signature}\\"}}'
            for part, signature in zip(parts, self.signatures, strict=True)
        ]

    def __iter__(self) -> Iterator[Envelope]:
        """Make them one after the other."""
        return map(
            Envelope,
            repeat(self.id),
            repeat(self.signal),
            self.receivers,
            repeat(self.sent_at),
            repeat(self.payload),
            repeat(self.shared),
            map(self._own, range(len(self))),
            repeat(self.trail),
            repeat(self.context),
            [receiver in self.kept for receiver in self.receivers],
        )

    @overload
    def __getitem__(self, index: int) -> Envelope: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Envelope]: ...

    def __getitem__(self, index: int | slice) -> Envelope | Sequence[Envelope]:
        """Return one of them, or some."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        receiver = self.receivers[index]
        return Envelope(
            self.id,
            self.signal,
            receiver,
            self.sent_at,
            self.payload,
            self.shared,
            self._own(index),
            self.trail,
            self.context,
            receiver in self.kept,
        )

    def _own(self, index: int) -> str:
        part = _own_parts(self.receivers, self.kept)[index]
        return f'{part}{_SEPARATOR}{self.signatures[index]}"}}'


class Seal:
    """Writes and signs envelopes, and opens those that verify.

    Args:
        secret_keys: The newest last; it signs, and all of them verify. With no key,
            envelopes are neither signed nor verified, and a signed one is refused.
            An empty key, which everybody could sign with, is no key.
    """

    def __init__(self, secret_keys: Sequence[str | bytes]) -> None:
        self._keys = [key for key in secret_keys if key]
        self._signatures = (
            Signatures(self._keys, b"signal_tasks.envelope") if self._keys else None
        )

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Something short for each key, the newest last, that two processes compare.

        It betrays of a key less than the signature of any message does.
        """
        salt = b"signal_tasks.fingerprint"
        return tuple(
            Signatures([key], salt).sign("", [""])[0][:8] for key in self._keys
        )

    def seal(
        self,
        *,
        id: str,  # noqa: A002  # the wire's word
        signal: str,
        sent_at: datetime,
        trail: tuple[str, ...],
        payload: Mapping[str, JSONValue],
        context: Mapping[str, JSONValue],
        receivers: Sequence[str],
        kept: Collection[str] = (),
    ) -> Envelopes:
        """Write one envelope for each of *receivers*, encoding the event once.

        Those of the receivers in *kept* say that a row of the outbox stands for them.
        """
        # By hand, for the encoder takes its time for each dict that there is.
        shared = (
            f'{{"v":{VERSION},"id":{_quoted(id)},"signal":{_quoted(signal)},'
            f'"sent_at":"{sent_at.isoformat()}",'
            f'"trail":{_dump(trail) if trail else "[]"},"payload":{_dump(payload)},'
            f'"context":{_dump(context) if context else "{}"}'
        )
        to, those_kept = tuple(receivers), frozenset(kept)
        parts = _own_parts(to, those_kept)
        signatures = (
            self._signatures.sign(shared, parts)
            if self._signatures
            else [""] * len(parts)
        )
        return Envelopes(
            *(id, signal, sent_at, payload, trail, context),
            *(shared, to, those_kept, signatures),
        )

    def open(self, text: object) -> Envelope:
        """Read an envelope whose signature verifies.

        Args:
            text: What came; anybody may have written it.

        Raises:
            MalformedEnvelopeError: The text is no envelope.
            UnsupportedVersionError: It was written in another wire version.
            SignatureError: No key of ours made its signature.
        """
        version = _VERSION.match(text) if isinstance(text, str) else None
        if version is None:
            raise MalformedEnvelopeError(
                "the task was called with something else than one envelope. Receivers' "
                "tasks are not for delay(): call the handler, or send its signal. If "
                "nobody called it, something else wrote to the queue."
            )
        if int(version[1]) != VERSION:
            raise UnsupportedVersionError(int(version[1]), supported=(VERSION,))
        self._verify(version.string)
        return _parse(version.string)

    def _verify(self, text: str) -> None:
        unsigned, separator, rest = text.rpartition(_SEPARATOR)
        signature = _SIGNATURE.fullmatch(rest)
        if not separator or signature is None:
            raise MalformedEnvelopeError(
                "the envelope is cut off: it does not end in a signature."
            )
        if self._signatures is None:
            _expect_unsigned(signature[1])
            return
        if not self._signatures.verifies(_to_bytes(unsigned), signature[1]):
            raise SignatureError(
                "the envelope's signature does not verify, so it does not run. Give web "
                "and worker the same SECRET_KEY; after a change of keys, keep the old one "
                "in SECRET_KEY_FALLBACKS until the queues are empty. If the keys are the "
                "same, somebody else wrote to the broker or altered the message."
            )


def is_kept(text: str) -> bool:
    """Tell whether an envelope's *text*, verified or not, says that a row stands for it."""
    return text.rpartition(_SEPARATOR)[0].endswith(_KEPT)


def written_id(text: str) -> str | None:
    """Return the identifier that an envelope's *text*, verified or not, names."""
    found = _ID.match(text)
    return None if found is None else found[1]


def key_ring(
    secret_key: str | bytes | None, fallbacks: object
) -> tuple[str | bytes, ...]:
    """Return the keys of a :class:`Seal`, of which there are none without *secret_key*.

    Args:
        secret_key: Signs.
        fallbacks: Older keys in a list, as configured; None is no key.

    Raises:
        ConfigurationError: They are one string, whose every letter would be a key that
            is soon guessed, or else no list of keys.
    """
    if not secret_key:
        return ()
    keys = () if fallbacks is None else _keys_in(fallbacks)
    if keys is None:
        raise ConfigurationError(
            "SECRET_KEY_FALLBACKS is something else than a list of keys. Set it to one, "
            "such as ['the former key'], or leave it out."
        )
    return (*keys, secret_key)


def _keys_in(value: object) -> tuple[str | bytes, ...] | None:
    if isinstance(value, str | bytes) or not _is_iterable(value):
        return None
    items = [key for key in value if key is not None]
    keys = tuple(key for key in items if isinstance(key, str | bytes))
    return keys if len(keys) == len(items) else None


@lru_cache(maxsize=1024)  # there are as many as signals
def _own_parts(receivers: tuple[str, ...], kept: frozenset[str]) -> Sequence[str]:
    """Return what stands in each one's envelopes alone, but for the signature."""
    return [
        f',"receiver":{_quoted(receiver)}{_KEPT if receiver in kept else ""}'
        for receiver in receivers
    ]


@lru_cache(maxsize=1024)
def _escaped_parts(receivers: tuple[str, ...], kept: frozenset[str]) -> Sequence[str]:
    """Return the same, up to the signature, as it stands inside a JSON string."""
    return [
        _quoted(f"{part}{_SEPARATOR}")[1:-1] for part in _own_parts(receivers, kept)
    ]


def _expect_unsigned(signature: str) -> None:
    if signature:
        raise SignatureError(
            "the envelope is signed, and this worker has no key to verify it with. "
            "Set SECRET_KEY to the sender's."
        )


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MalformedEnvelopeError(
            "the envelope is no valid Unicode text."
        ) from error


def _parse(text: str) -> Envelope:
    try:
        wire = json.loads(text)
        return Envelope(
            id=_text(wire["id"]),
            signal=_text(wire["signal"]),
            receiver=_text(wire["receiver"]),
            sent_at=_moment(wire["sent_at"]),
            trail=_texts(wire["trail"]),
            payload=_object(wire["payload"]),
            context=_object(wire["context"]),
            is_kept=wire.get("outbox") is True,
            shared="",
            own=text,
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedEnvelopeError(
            f"the envelope cannot be read ({type(error).__name__})."
        ) from error


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(type(value))


def _texts(value: object) -> tuple[str, ...]:
    if _is_list(value):
        return tuple(map(_text, value))
    raise TypeError(type(value))


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.astimezone(UTC)


def _object(value: object) -> dict[str, JSONValue]:
    if _is_object(value):
        return value
    raise TypeError(type(value))


def _is_list(value: object) -> TypeGuard[list[object]]:
    """Tell whether *value*, which :mod:`json` read, is a JSON array."""
    return isinstance(value, list)


def _is_iterable(value: object) -> TypeGuard[Iterable[object]]:
    """Tell whether *value*, which somebody configured, can be gone through."""
    return isinstance(value, Iterable)


def _is_object(value: object) -> TypeGuard[dict[str, JSONValue]]:
    """Tell whether *value*, which :mod:`json` read, is a JSON object."""
    return isinstance(value, dict)
