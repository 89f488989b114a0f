"""Choosing a Kerberos credential cache for one thread, in the very Kerberos library that a driver is linked with.

Drivers take whatever ticket the process's default cache has, and ``KRB5CCNAME`` names it for all threads at once. MIT's
library has a second name for each thread (``gss_krb5_ccache_name``), which wins. psycopg and pymssql each bring a
library of their own in their wheels, and python-gssapi uses the system's: the right one is found by asking the driver.
"""

import contextlib
import ctypes
from collections.abc import Generator
from pathlib import Path

from actas.core.errors import ConfigurationError


class KerberosCaches:
    """The caches of one Kerberos library.

    Args:
        driver: a loaded library that is linked with it.
        name: the driver's, for the error.

    Raises:
        ConfigurationError: it is linked with none.
    """

    def __init__(self, driver: ctypes.CDLL, name: str) -> None:
        try:
            self._choose = driver.gss_krb5_ccache_name
        except AttributeError:
            raise ConfigurationError(f"identity: {name} was built without GSSAPI: install the one from PyPI") from None
        self._choose.argtypes = [ctypes.POINTER(ctypes.c_uint32), ctypes.c_char_p, ctypes.c_void_p]
        self._choose.restype = ctypes.c_uint32

    @contextlib.contextmanager
    def chosen(self, file: Path) -> Generator[None]:
        """Inside, what this thread opens uses the tickets in ``file``, and no other thread does."""
        self._set(f"FILE:{file}".encode())
        try:
            yield
        finally:
            self._set(None)

    def _set(self, name: bytes | None) -> None:
        if self._choose(ctypes.byref(ctypes.c_uint32()), name, None):
            raise ConfigurationError("the Kerberos library does not let its cache be chosen")
