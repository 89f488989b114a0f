"""Claims of the token for row-level policies, signed: the user's own SQL can write the setting, but not the signature.

``signed_claims.sql`` beside this file makes the function that checks it: HMAC-SHA-256 (RFC 2104), time, and that it was
signed for ``session_user``.
"""

import base64
import hashlib
import hmac
import json
import time

from actas.core.errors import PrincipalUnavailable
from actas.core.models import Session
from actas.delegation.sql.settings import SignedClaimsSettings

_LONGEST = 4096


class ClaimSigner:
    """Signs a session's claims for one role."""

    def __init__(self, settings: SignedClaimsSettings) -> None:
        self._key = settings.key.reveal().encode()
        self._names = settings.claims
        self._seconds = settings.seconds

    def command(self, session: Session, principal: str) -> bytes:
        """What hands the claims to the transaction that it is sent in.

        Raises:
            PrincipalUnavailable: they are too long, or no JSON.
        """
        claims = {name: session.claims[name] for name in self._names if name in session.claims}
        signed = {"role": principal, "exp": int(time.time()) + self._seconds, "claims": claims}
        try:
            body = base64.b64encode(json.dumps(signed, allow_nan=False).encode())
        except (ValueError, TypeError):
            raise PrincipalUnavailable(detail="the token's claims are no JSON") from None
        if len(body) > _LONGEST:
            raise PrincipalUnavailable(detail="the token's signed claims are too long")
        signature = hmac.new(self._key, body, hashlib.sha256).hexdigest().encode()
        return b"SET LOCAL actas.signed_claims = '%s.%s'" % (body, signature)
