"""Sealing what is kept: nobody opens an entry without the caller's own token.

For each entry one keyed BLAKE2b (RFC 7693) over the purpose, the user and the token, with this server's secret
as its key, gives two parts that tell nothing of each other: the entry's *name*, under which it is kept, and its
*key*, which is made anew for every use and kept nowhere. So

- whoever reads the store has names and ciphertext;
- whoever has the server's secret besides still lacks the token, whose own randomness protects the key;
- whoever has another user's token computes another name, and finds nothing.

The purpose and the identity are authenticated with each entry (AES-256-GCM's associated data), so that an
entry moved to another place does not open there.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actas.oauth.exchange.store import NAME_BYTES

SECRET_BYTES = range(32, 65)
"""How long a server's secret may be."""

_NONCE_BYTES = 12
_KEY_BYTES = 32
_PERSON = b"actas exchange 1"


@dataclass(slots=True)
class Label:
    """What opens one entry. Made for one use, then dropped: it holds the key."""

    name: bytes
    key: bytes = field(repr=False)
    context: bytes = field(repr=False)
    """Authenticated with the entry, not kept in it."""


class Sealer:
    """Names, seals and opens entries.

    Args:
        secrets: the server's, the newest first: it seals, all of them open. Rotating means putting a new one
            in front and dropping the old one when the entries made with it have run out.

    Raises:
        ValueError: no secret, or one that is too short or too long.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets or any(len(secret) not in SECRET_BYTES for secret in secrets):
            raise ValueError("a cache secret must have 32 to 64 bytes")
        # Keyed once: a copy for each use is a third cheaper.
        size = NAME_BYTES + _KEY_BYTES
        self._keyed = [hashlib.blake2b(key=each, digest_size=size, person=_PERSON) for each in secrets]

    def labels(self, purpose: bytes, identity: bytes, token: bytes) -> tuple[Label, ...]:
        """One label for each secret, the newest first.

        Args:
            purpose: all that an exchanged token depends on besides the caller, as one digest.
            identity: whose entry it is, in a form that no other identity begins with.
            token: the caller's own.
        """
        context = purpose + identity
        return tuple([_label(keyed.copy(), context, token) for keyed in self._keyed])


def _label(keyed: "hashlib.blake2b", context: bytes, token: bytes) -> Label:
    keyed.update(context)
    keyed.update(token)
    digest = keyed.digest()
    return Label(digest[:NAME_BYTES], digest[NAME_BYTES:], context)


def seal(label: Label, plain: bytes, clear: bytes) -> bytes:
    """``plain`` encrypted under ``label``. ``clear`` is kept beside it by the caller, and authenticated."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(label.key).encrypt(nonce, plain, label.context + clear)


def unseal(label: Label, sealed: bytes, clear: bytes) -> bytes | None:
    """What was sealed under ``label``; None where it was made for another label, or was changed."""
    try:
        return AESGCM(label.key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], label.context + clear)
    except (InvalidTag, ValueError):
        return None
