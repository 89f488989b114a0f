"""Cursors: where a result that was cut goes on, sealed for one user, one statement and one module.

A cursor holds a number of rows and a time, encrypted and authenticated (AES-256-GCM, NIST SP 800-38D); who asked for
what, and where, is authenticated with it. Nothing is kept for it, here or in the database.
"""

import base64
import json
import os
import struct
import time
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from actas.core.errors import InvalidParameters
from actas.core.models import Session
from actas.core.secret import Secret
from actas.delegation.sql.actions import Query

MOST_ROWS = 100_000
"""Rows that can be passed over: each page runs the statement again, and what is passed over is sent too."""

_SECONDS = 900
_NONCE_BYTES = 12
_LAYOUT = struct.Struct("!xQQ")
"""With nonce and tag 45 bytes, which base64 writes without padding."""
_LONGEST = 100
_PROCESS_KEY = os.urandom(32)
_INVALID = (
    "cursor: is not for this statement, or too old. Send sql and params exactly as before, or leave out cursor to "
    "begin at the first row."
)


class Cursors:
    """Makes and reads the cursors of one module.

    Args:
        key: what all processes that serve the module share; None takes one that this process made for itself.
        module: what tells this module from others that have the same key.
    """

    def __init__(self, key: Secret | None, module: Sequence[str]) -> None:
        secret = _PROCESS_KEY if key is None else key.reveal().encode(errors="surrogatepass")
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=b"actas sql cursor").derive(secret))
        self._module = list(module)

    def after(self, rows: int, session: Session, principal: str, query: Query) -> str:
        """A cursor that goes on after the first ``rows`` rows of ``query``."""
        nonce = os.urandom(_NONCE_BYTES)
        inside = _LAYOUT.pack(rows, int(time.time()) + _SECONDS)
        sealed = self._cipher.encrypt(nonce, inside, self._about(session, principal, query))
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def rows(self, session: Session, principal: str, query: Query) -> int:
        """How many rows ``query.cursor`` passes over; 0 where there is none.

        Raises:
            InvalidParameters: it was not made here for this user and statement, or more than 15 minutes ago.
        """
        if query.cursor is None:
            return 0
        try:
            sealed = base64.b64decode(query.cursor[:_LONGEST], altchars=b"-_", validate=True)
            nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            rows, until = _LAYOUT.unpack(self._cipher.decrypt(nonce, rest, self._about(session, principal, query)))
        except (ValueError, InvalidTag, struct.error):
            raise InvalidParameters(_INVALID) from None
        if until < time.time():
            raise InvalidParameters(_INVALID)
        return int(rows)

    def _about(self, session: Session, principal: str, query: Query) -> bytes:
        about = [self._module, session.issuer, session.subject, principal, query.sql, query.params]
        return json.dumps(about, sort_keys=True).encode()
