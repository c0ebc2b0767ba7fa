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
        # To copy one costs half of what making one does.
        self._blank = [
            hmac.new(signer.derive_key(key), digestmod=hashlib.sha256)
            for key in signer.secret_keys
        ]

    def begin(self, start: str) -> Callable[[str], str]:
        """Return a function of a text's rest that signs *start* and rest together."""
        begun = self._blank[-1].copy()
        begun.update(start.encode())

        def sign(rest: str) -> str:
            whole = begun.copy()
            whole.update(rest.encode())
            return base64_encode(whole.digest()).decode()

        return sign

    def verifies(self, text: bytes, signature: str) -> bool:
        """Tell whether one of the keys made *signature* of *text*."""
        given = signature.encode()
        for blank in reversed(self._blank):
            whole = blank.copy()
            whole.update(text)
            if hmac.compare_digest(base64_encode(whole.digest()), given):
                return True
        return False
