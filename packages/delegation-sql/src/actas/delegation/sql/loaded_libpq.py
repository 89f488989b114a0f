"""The libpq that psycopg has loaded: its own, out of its wheel, or the system's."""

import ctypes
from functools import cache
from pathlib import Path

from actas.core.errors import ConfigurationError

_MAPS = Path("/proc/self/maps")


@cache
def loaded_libpq() -> ctypes.CDLL:
    """That very library, once more. What is looked up in it is looked up in the libraries that it is linked with too.

    Raises:
        ConfigurationError: it cannot be told which one it is.
    """
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:
        raise ConfigurationError("identity: this one is for Linux") from None
    paths = {line.split(maxsplit=5)[5] for line in lines if "/libpq" in line and ".so" in line}
    if len(paths) != 1:
        raise ConfigurationError("identity: this one needs to know its libpq, and several or none are loaded here")
    return ctypes.CDLL(paths.pop())
