"""Asking again: when that may help, and after how long."""

import random
from typing import Final

BUSY: Final = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may do better a moment later."""
_PAUSE = 0.1


def pause_after(attempt: int) -> float:
    """Seconds to wait after attempt number ``attempt``, the first being 1: 0.1, then twice that and so on, each give or
    take half so that not all who wait come back together."""
    return _PAUSE * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 -- jitter
