"""Signatures of texts, as itsdangerous makes and verifies them, for many texts a second.

A key is derived once and not for each text. Texts that begin alike share the work for
their beginning.
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import b2a_base64
from collections.abc import Callable, Sequence
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

    def begin(self, start: str) -> Callable[[str], str]:
        """Return a function of a text's rest that signs *start* and rest together."""
        return self._keys[-1].begin(start.encode())

    def verifies(self, text: bytes, signature: str) -> bool:
        """Tell whether one of the keys made *signature* of *text*."""
        return any(
            hmac.compare_digest(key.begin(text)(""), signature)
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

    def begin(self, start: bytes) -> Callable[[str], str]:
        """Return a function of a text's rest that signs *start* and rest together."""
        begun, prepared = self._inner.copy(), self._outer
        begun.update(start)

        def sign(rest: str) -> str:
            inner, outer = begun.copy(), prepared.copy()
            inner.update(rest.encode())
            outer.update(inner.digest())
            encoded = b2a_base64(outer.digest(), newline=False)
            return encoded.translate(_URL_SAFE, b"=").decode()

        return sign
