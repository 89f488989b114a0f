"""Giving libpq the token of one login: its hook for OAUTHBEARER, in the very library that psycopg has loaded.

The hook is the process's and gets a connection; which token is meant, it is told by a random name in that connection's
``oauth_client_id``, which goes nowhere else. The token itself is in no connection string.
The structures are those of libpq 18 (``libpq-fe.h``); whoever else needs the hook in this process keeps it.
"""

import contextlib
import ctypes
import secrets
import threading
from collections.abc import Generator

from psycopg import pq

from actas.core.errors import ConfigurationError
from actas.delegation.sql.loaded_libpq import loaded_libpq

_OLDEST_LIBPQ = 180000
_OAUTH_BEARER_TOKEN = 1  # PQAUTHDATA_OAUTH_BEARER_TOKEN
_HANDLED = 1


class _Option(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_char_p) for name in ("keyword", "envvar", "compiled", "val", "label", "dispchar")),
        ("dispsize", ctypes.c_int),
    ]


class _Request(ctypes.Structure):
    _fields_ = [
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("asynchronous", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    ]


_Hook = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class BearerTokens:
    """Lends tokens to logins. There is one for the whole process: :func:`bearer_tokens`."""

    def __init__(self) -> None:
        if pq.version() < _OLDEST_LIBPQ:
            raise ConfigurationError("identity: oauth needs libpq 18 or later: install psycopg[binary]")
        self._libpq = loaded_libpq()
        self._libpq.PQconninfo.restype = ctypes.POINTER(_Option)
        self._libpq.PQconninfo.argtypes = [ctypes.c_void_p]
        self._libpq.PQconninfoFree.argtypes = [ctypes.POINTER(_Option)]
        self._libpq.PQgetAuthDataHook.restype = _Hook
        self._lent: dict[bytes, bytes] = {}
        self._before = self._libpq.PQgetAuthDataHook()
        self._hook = _Hook(self._give)  # kept: libpq has its address only
        self._libpq.PQsetAuthDataHook(self._hook)

    @contextlib.contextmanager
    def lent(self, token: str) -> Generator[str]:
        """Inside, a connection whose ``oauth_client_id`` is what this yields logs in with ``token``."""
        name = secrets.token_hex(16)
        self._lent[name.encode()] = token.encode()
        try:
            yield name
        finally:
            del self._lent[name.encode()]

    def _give(self, kind: int, connection: int, request: int) -> int:
        token = self._lent.get(self._client_id(connection) or b"") if kind == _OAUTH_BEARER_TOKEN else None
        if token is None:
            return int(self._before(kind, connection, request))
        ctypes.cast(request, ctypes.POINTER(_Request)).contents.token = token
        return _HANDLED

    def _client_id(self, connection: int) -> bytes | None:
        options = self._libpq.PQconninfo(connection)
        try:
            index = 0
            while options and options[index].keyword:
                if options[index].keyword == b"oauth_client_id":
                    value: bytes | None = options[index].val
                    return value
                index += 1
            return None
        finally:
            self._libpq.PQconninfoFree(options)


_once = threading.Lock()
_made: list[BearerTokens] = []


def bearer_tokens() -> BearerTokens:
    """The process's. Raises ConfigurationError where this libpq has no such hook."""
    with _once:
        if not _made:
            _made.append(BearerTokens())
        return _made[0]
