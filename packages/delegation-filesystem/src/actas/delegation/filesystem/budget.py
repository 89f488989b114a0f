"""How long work may go on: until a time, and until nobody waits for it any more."""

import threading
import time

from actas.core.errors import DelegationTimeout


class Budget:
    """What each loop asks now and then.

    Args:
        deadline: on :func:`time.monotonic`'s clock.
    """

    __slots__ = ("_stopped", "deadline")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._stopped.set()

    def check(self) -> None:
        """Raises DelegationTimeout where it is over."""
        if self._stopped.is_set():
            raise DelegationTimeout(detail="the work was given up")
        if time.monotonic() > self.deadline:
            raise DelegationTimeout(detail="the deadline passed")
