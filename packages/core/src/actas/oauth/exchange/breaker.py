"""A provider that is down is not asked by everybody who needs it: a few find out, the others are told at once."""

import time
from collections.abc import Callable

FAILURES = 5
"""In a row, until the provider is left alone."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds; each pause is twice the one before."""


class Breaker:
    """Counts failures in a row. Closed: everybody may ask. Open: nobody, until the pause is over; then one may try.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._closed_until = float("-inf")
        self._trying_until = float("-inf")

    @property
    def open(self) -> bool:
        """Whether the provider is being left alone."""
        return self._failures >= FAILURES

    def admits(self, patience: float) -> bool:
        """Whether to ask now. The one who may try is expected back within ``patience`` seconds."""
        if not self.open:
            return True
        now = self._clock()
        if now < self._closed_until or now < self._trying_until:
            return False
        self._trying_until = now + patience
        return True

    def succeeded(self) -> None:
        """The provider answered, whatever it said."""
        self._failures = 0
        self._pause = FIRST_PAUSE
        self.left()

    def left(self) -> None:
        """Whoever asked did not wait for the answer, which says nothing about the provider: another may try."""
        self._trying_until = float("-inf")

    def failed(self, pause: float | None = None) -> bool:
        """It did not. ``pause``: seconds for which it asked to be left alone itself.

        Returns:
            Whether it is left alone from now on, and was not before.
        """
        before = self.open
        self._failures = FAILURES if pause is not None else self._failures + 1
        self.left()
        if self.open:
            self._closed_until = self._clock() + min(pause if pause is not None else self._pause, LONGEST_PAUSE)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return self.open and not before
