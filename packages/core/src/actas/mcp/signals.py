"""What the process is told from outside: stop, stop at once, read the configuration anew."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Generator

_STOP: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def heard(*, hurry: Callable[[], None], reload: Callable[[], None] | None = None) -> Generator[asyncio.Event]:
    """Inside, SIGINT and SIGTERM set the event that is yielded; the second calls ``hurry``.

    SIGHUP calls ``reload``; without one, it is left alone.
    """
    stop = asyncio.Event()

    def stopped() -> None:
        if stop.is_set():
            hurry()
        stop.set()

    loop = asyncio.get_running_loop()
    handlers = dict.fromkeys(_STOP, stopped)
    if reload is not None:
        handlers[signal.SIGHUP] = reload
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield stop
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
