"""How many connections are kept open, and which one goes when one more comes."""

from collections.abc import Callable
from typing import Protocol


class Closable(Protocol):
    """What can be closed."""

    def abort(self) -> None:
        """Close at once."""
        ...


class Places:
    """At most so many. Those whose request has not arrived can be closed for a new one, the longest silent first.

    Who opens connections and says nothing thus pushes out himself, and whoever else says nothing; a connection whose
    request is being served stays.

    Args:
        most: how many.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._silent: dict[Closable, None] = {}
        self._served: set[Closable] = set()

    def __len__(self) -> int:
        return len(self._silent) + len(self._served)

    def opened(self, connection: Closable) -> bool:
        """A new connection: whether there is a place for it."""
        if len(self) >= self._most():
            if not self._silent:
                return False
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            oldest.abort()
        self._silent[connection] = None
        return True

    def silent(self, connection: Closable) -> None:
        """It waits for a request, or for the rest of one."""
        if connection in self._served:
            self._served.discard(connection)
            self._silent[connection] = None

    def served(self, connection: Closable) -> None:
        """Its request has arrived and is being served."""
        if connection in self._silent:
            del self._silent[connection]
            self._served.add(connection)

    def closed(self, connection: Closable) -> None:
        """It is gone. May be said twice."""
        self._silent.pop(connection, None)
        self._served.discard(connection)
