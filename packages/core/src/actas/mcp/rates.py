"""How often something may happen, and counting it in this process."""

import re
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

_NOTATION = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)", re.ASCII)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}

MOST_WINDOWS = 65_536
"""Keys that are counted at a time, for one rate: some 20 MB. Beyond that the oldest window is forgotten."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many within so many seconds."""

    amount: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """The rate that ``600/minute`` stands for.

        Raises:
            ValueError: it is no number from 1 to 999999999 and ``/second``, ``/minute``, ``/hour`` or ``/day``.
        """
        read = _NOTATION.fullmatch(text)
        if read is None:
            raise ValueError("must be a number above 0 and second, minute, hour or day, such as 600/minute")
        return cls(int(read[1]), _SECONDS[read[2]])


class Window:
    """A time that began with the first hit of a key, and how many hits there were."""

    __slots__ = ("count", "ends")

    def __init__(self, ends: float) -> None:
        self.count = 0
        self.ends = ends


class Windows:
    """Fixed windows, all of one length. They end in the order in which they began, so forgetting is cheap.

    Args:
        seconds: how long one lasts.
        most: how many there may be.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, seconds: float, *, most: int = MOST_WINDOWS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._windows: dict[Hashable, Window] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def hit(self, key: Hashable) -> Window:
        """Count one hit of ``key``; its window, this hit included."""
        now = self._clock()
        window = self._windows.get(key)
        if window is None or window.ends <= now:
            window = self._open(key, now)
        window.count += 1
        return window

    def count(self, key: Hashable) -> int:
        """Hits of ``key`` in its window, which is left as it is."""
        window = self._windows.get(key)
        return 0 if window is None or window.ends <= self._clock() else window.count

    def left(self, key: Hashable) -> float:
        """Seconds until the window of ``key`` ends; 0 where there is none."""
        window = self._windows.get(key)
        return 0.0 if window is None else max(0.0, window.ends - self._clock())

    def _open(self, key: Hashable, now: float) -> Window:
        self._windows.pop(key, None)  # so that it goes to the end
        while self._windows:
            oldest = next(iter(self._windows))
            if self._windows[oldest].ends > now and len(self._windows) < self._most:
                break
            del self._windows[oldest]
        window = self._windows[key] = Window(now + self._seconds)
        return window
