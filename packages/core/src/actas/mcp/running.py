"""The calls that run, so that whoever made one can take it back with another request.

There are no sessions here: what belongs together is found by who calls. Nobody's calls are within anybody else's reach,
and where one caller has two of the same id, from two clients, neither is touched: it could be the wrong one.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from actas.core import Session

_Key = tuple[str, str, str | None, str, str | int]


class RunningCalls:
    """Belongs to one event loop; outlives the site that serves."""

    def __init__(self) -> None:
        self._running: dict[_Key, list[Callable[[], None]]] = {}

    @contextmanager
    def listed(self, session: Session, request_id: str | int, take_back: Callable[[], None]) -> Generator[None]:
        """Inside, ``take_back`` is called where the caller takes the request back."""
        key = _key(session, request_id)
        self._running.setdefault(key, []).append(take_back)
        try:
            yield
        finally:
            left = self._running[key]
            left.remove(take_back)
            if not left:
                del self._running[key]

    def take_back(self, session: Session, request_id: str | int) -> None:
        """Take back the one call of this caller that has this id; nothing where there is none, or more than one."""
        found = self._running.get(_key(session, request_id), [])
        if len(found) == 1:
            found[0]()


def _key(session: Session, request_id: str | int) -> _Key:
    # 1 and "1" are two ids (JSON-RPC 2.0), and True would be 1.
    return session.issuer, session.subject, session.client_id, type(request_id).__name__, request_id
