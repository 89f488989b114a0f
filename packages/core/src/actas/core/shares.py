"""How many calls of one user are under way: nobody takes all connections to the service."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

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

    @asynccontextmanager
    async def one_of(self, session: Session) -> AsyncGenerator[None]:
        """While this lasts, a call of ``session``'s user is under way."""
        user = (session.issuer, session.subject)
        share = self._shares.get(user)
        if share is None:
            share = self._shares[user] = _Share(self._most)
        share.calls += 1
        try:
            async with share.places:
                yield
        finally:
            share.calls -= 1
            if not share.calls:
                del self._shares[user]
