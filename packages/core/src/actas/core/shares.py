"""How many calls of one user are under way: nobody takes all connections to the service."""

import asyncio

from actas.core.models import Session


class _Share:
    def __init__(self, most: int) -> None:
        self.places = asyncio.Semaphore(most)
        self.calls = 0
        """Under way or waiting."""


class Shares:
    """``most`` calls at once for each user. The others of the user's wait, as long as their time lasts."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._shares: dict[tuple[str, str], _Share] = {}

    def one_of(self, session: Session) -> "_Turn":
        """While this lasts, a call of ``session``'s user is under way."""
        return _Turn(self._shares, self._most, (session.issuer, session.subject))


class _Turn:
    """A class of its own, not a generator: it is entered with each call."""

    __slots__ = ("_most", "_share", "_shares", "_user")

    def __init__(self, shares: dict[tuple[str, str], _Share], most: int, user: tuple[str, str]) -> None:
        self._shares, self._most, self._user = shares, most, user

    async def __aenter__(self) -> None:
        share = self._shares.get(self._user)
        if share is None:
            share = self._shares[self._user] = _Share(self._most)
        self._share = share
        share.calls += 1
        try:
            await share.places.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._share.places.release()
        self._leave()

    def _leave(self) -> None:
        self._share.calls -= 1
        if not self._share.calls:
            del self._shares[self._user]
