"""How far a long call has come, in its own words: a module says it, and whoever waits hears it with the next beat."""

from contextvars import ContextVar


class Progress:
    """What the call has said last."""

    __slots__ = ("message",)

    def __init__(self) -> None:
        self.message = ""


progress: ContextVar[Progress | None] = ContextVar("actas_progress", default=None)
"""Of the call being served; None where nobody waits to hear."""


def note(message: str) -> None:
    """Say how far the call has come, for its caller: a short sentence that holds no data.

    Costs next to nothing, and may be said as often as one likes; nothing where nobody wants to hear."""
    current = progress.get()
    if current is not None:
        current.message = message
