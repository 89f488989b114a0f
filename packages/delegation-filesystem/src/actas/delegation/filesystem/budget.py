"""How long work may go on: until a time, and until nobody waits for it any more."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from actas.core.errors import DelegationTimeout


class Budget:
    """What each loop asks now and then.

    Args:
        deadline: on :func:`time.monotonic`'s clock.
    """

    __slots__ = ("_at_stop", "_lock", "_stopped", "deadline")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._stopped = False
        self._at_stop: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._stopped = True
            if self._at_stop is not None:
                self._at_stop()

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Generator[None]:
        """While this lasts, :meth:`stop` calls ``stop`` too, for work that cannot ask."""
        with self._lock:
            self._at_stop = stop
            if self._stopped:
                stop()
        try:
            yield
        finally:
            with self._lock:
                self._at_stop = None

    def check(self) -> None:
        """Raises DelegationTimeout where it is over."""
        if self._stopped:
            raise DelegationTimeout(detail="the work was given up")
        if time.monotonic() > self.deadline:
            raise DelegationTimeout(detail="the deadline passed")
