"""Signatures of texts, as itsdangerous makes and verifies them, for many texts a second.

A key is derived once and not for each text. Texts that begin alike share the work for
their beginning.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from itsdangerous import Signer
from itsdangerous.encoding import base64_encode


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
        self._keys = [signer.derive_key(key) for key in signer.secret_keys]
        # HMAC by its definition (RFC 2104), for Python's own is slow to copy. A derived
        # key is as long as a digest, and so shorter than a block.
        key = self._keys[-1].ljust(hashlib.sha256().block_size, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

    def begin(self, start: str) -> Callable[[str], str]:
        """Return a function of a text's rest that signs *start* and rest together."""
        begun = self._inner.copy()
        begun.update(start.encode())

        def sign(rest: str) -> str:
            inner, outer = begun.copy(), self._outer.copy()
            inner.update(rest.encode())
            outer.update(inner.digest())
            return base64_encode(outer.digest()).decode()

        return sign

    def verifies(self, text: bytes, signature: str) -> bool:
        """Tell whether one of the keys made *signature* of *text*."""
        given = signature.encode()
        return any(
            hmac.compare_digest(
                base64_encode(hmac.digest(key, text, hashlib.sha256)), given
            )
            for key in reversed(self._keys)
        )
