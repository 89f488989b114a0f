"""Nonces for DPoP proofs: they say when they were made, and nobody else can make one (RFC 9449 section 8).

Nothing is stored. Whoever knows the secret can check a nonce: replicas that share it accept each other's.
"""

import base64
import hmac
import os
from binascii import Error as Base64Error
from collections.abc import Callable

NONCE_SECONDS = 120.0
"""How long a nonce is good."""

RENEW_SECONDS = 60.0
"""Older ones are still good, and their users are given a new one."""

_TIME_BYTES = 6
_MAC_BYTES = 16
_LENGTH = -(-(_TIME_BYTES + _MAC_BYTES) * 4 // 3)
_PURPOSE = b"actas DPoP nonce"
_CLOCKS_DIFFER = 5.0
"""Seconds by which the clocks of replicas may differ."""


class Nonces:
    """Makes and checks nonces.

    Args:
        secret: shared by replicas; None takes a random one, for this process alone.
        clock: gives seconds since the epoch.
    """

    def __init__(self, secret: bytes | None, clock: Callable[[], float]) -> None:
        self._secret = secret or os.urandom(32)
        self._clock = clock

    def make(self) -> str:
        """A new nonce: 30 characters of base64url."""
        made = int(self._clock() * 1000).to_bytes(_TIME_BYTES)
        return base64.urlsafe_b64encode(made + self._mac(made)).rstrip(b"=").decode()

    def made_at(self, nonce: str) -> float | None:
        """When ``nonce`` was made, in seconds since the epoch; None where it is not ours, or has run out."""
        if len(nonce) != _LENGTH:
            return None
        try:
            raw = base64.b64decode(nonce + "=" * (-_LENGTH % 4), altchars=b"-_", validate=True)
        except (Base64Error, ValueError):
            return None
        made, mac = raw[:_TIME_BYTES], raw[_TIME_BYTES:]
        if not hmac.compare_digest(mac, self._mac(made)):
            return None
        at = int.from_bytes(made) / 1000
        return at if -_CLOCKS_DIFFER <= self._clock() - at < NONCE_SECONDS else None

    def _mac(self, made: bytes) -> bytes:
        return hmac.digest(self._secret, _PURPOSE + made, "sha256")[:_MAC_BYTES]
