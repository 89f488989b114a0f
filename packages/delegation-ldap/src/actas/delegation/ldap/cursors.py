"""Cursors: where a search that was cut goes on, sealed for one user, one search and one module.

A cursor holds a number of entries and a time, and a code that authenticates both together with who asked for what
(HMAC-SHA-256, RFC 2104). The pages of RFC 2696 have cookies too, but those are good on one connection only.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import time
from collections.abc import Sequence

from actas.core.errors import InvalidParameters
from actas.core.secret import Secret

_SECONDS = 900
_LAYOUT = struct.Struct("!QQ32s")
_LONGEST = 80
_PROCESS_KEY = os.urandom(32)
_INVALID = (
    "cursor: is not for this search, or too old. Send everything else exactly as before, or leave out cursor to begin "
    "at the first entry."
)


class Cursors:
    """Makes and reads the cursors of one module.

    Args:
        key: what all processes that serve the module share; None takes one that this process made for itself.
        module: what tells this module from others that have the same key.
    """

    def __init__(self, key: Secret | None, module: Sequence[str]) -> None:
        self._key = _PROCESS_KEY if key is None else key.reveal().encode(errors="surrogatepass")
        self._module = list(module)

    def after(self, entries: int, about: Sequence[object]) -> str:
        """A cursor that goes on after the first ``entries`` of what ``about`` describes."""
        until = int(time.time()) + _SECONDS
        return base64.urlsafe_b64encode(_LAYOUT.pack(entries, until, self._code(entries, until, about))).decode()

    def entries(self, cursor: str, about: Sequence[object]) -> int:
        """How many entries ``cursor`` passes over.

        Raises:
            InvalidParameters: it was not made here for ``about``, or more than 15 minutes ago.
        """
        try:
            entries, until, code = _LAYOUT.unpack(base64.b64decode(cursor[:_LONGEST], altchars=b"-_", validate=True))
        except (ValueError, struct.error):
            raise InvalidParameters(_INVALID) from None
        if not hmac.compare_digest(code, self._code(entries, until, about)) or until < time.time():
            raise InvalidParameters(_INVALID)
        return int(entries)

    def _code(self, entries: int, until: int, about: Sequence[object]) -> bytes:
        said = json.dumps(["actas ldap cursor", self._module, entries, until, list(about)], sort_keys=True)
        return hmac.new(self._key, said.encode(), hashlib.sha256).digest()
