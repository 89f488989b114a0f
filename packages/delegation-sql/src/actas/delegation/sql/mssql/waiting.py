"""Waiting for SQL Server in a way that can be given up: FreeTDS itself waits until its own limit, whoever went away.

pymssql asks one function of the process before it waits for a statement's first answer. Ours waits in its place where
the thread says so, and looks every now and then whether anybody still wants the answer; for whoever else uses pymssql
here nothing changes.
"""

import select
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from actas.core.errors import DelegationTimeout, DownstreamUnavailable

_GLANCE_MILLISECONDS = 100
_pymssql: Any = import_module("pymssql._mssql")  # Any: it has no types for this
_here = threading.local()
_lock = threading.Lock()
_others: list[Callable[[int], object]] = []
"""What was asked before us, where somebody was; it has one place when we are in."""


@contextmanager
def until(given_up: threading.Event, seconds: float) -> Generator[None]:
    """Inside, a statement of this thread's is waited for no longer than ``seconds``, and not where it was given up.

    Whoever executes it gets DelegationTimeout or DownstreamUnavailable, and must close the connection.
    """
    _ask_us()
    _here.given_up, _here.end = given_up, time.monotonic() + seconds
    try:
        yield
    finally:
        del _here.given_up, _here.end


def _ask_us() -> None:
    with _lock:
        if _pymssql.wait_callback is not _wait:
            _others[:] = [_pymssql.wait_callback] if _pymssql.wait_callback else []
            _pymssql.set_wait_callback(_wait)


def _wait(descriptor: int) -> None:
    given_up: threading.Event | None = getattr(_here, "given_up", None)
    if given_up is None:
        for other in _others:
            other(descriptor)
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not poll.poll(_GLANCE_MILLISECONDS):
        if given_up.is_set():
            raise DownstreamUnavailable(detail="nobody waits for the statement any more")
        if time.monotonic() > _here.end:
            raise DelegationTimeout(detail="the statement took too long; its connection was closed")
