"""Signatures of texts, as itsdangerous makes and verifies them, for many texts a second.

A key is derived once and not for each text. Texts that begin alike share the work for
their beginning.
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from typing import Final

from itsdangerous import Signer

_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


class Signatures:
    """Signs and verifies texts.

    Args:
        keys: The newest last; it signs, and all of them verify.
        salt: What the signatures are for; those for something else do not verify.
    """

    def __init__(self, keys: Sequence[str | bytes], salt: bytes) -> None:
        signer = Signer(
            keys,  # type: ignore[arg-type]  # str and bytes may mix
            salt=salt,
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        self._keys = [_Key(signer.derive_key(key)) for key in signer.secret_keys]

    def sign(self, start: str, rests: Iterable[str]) -> list[str]:
        """Return the signatures of the texts that begin with *start* and end in *rests*."""
        return self._keys[-1].sign(start.encode(), rests)

    def verifies(self, text: bytes, signature: str) -> bool:
        """Tell whether one of the keys made *signature* of *text*."""
        return any(
            hmac.compare_digest(key.sign(text, [""])[0], signature)
            for key in reversed(self._keys)
        )


class _Key:
    """Signs by HMAC as it is defined (RFC 2104), for Python's own is slow to copy.

    Args:
        derived: As long as a digest, and so shorter than a block.
    """

    def __init__(self, derived: bytes) -> None:
        block = derived.ljust(hashlib.sha256().block_size, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, start: bytes, rests: Iterable[str]) -> list[str]:
        """Return the signatures of the texts that begin with *start* and end in *rests*."""
        begun = self._inner.copy()
        begun.update(start)
        begin, prepare = begun.copy, self._outer.copy
        digests: list[bytes] = []
        for rest in rests:
            inner, outer = begin(), prepare()
            inner.update(rest.encode())
            outer.update(inner.digest())
            digests.append(b2a_base64(outer.digest()))
        return b"".join(digests).translate(_URL_SAFE, b"=").decode().splitlines()
