"""Exchanged tokens without an exchange, for tests of a module alone."""

import time
from collections.abc import Mapping

from actas.core import Credential, Secret, Session
from actas.testing.idp import IdentityProvider

_SECONDS = 300


class IssuedCredentials:
    """Credentials as an exchange would give them: signed by the provider for one service, about the caller.

    Args:
        provider: signs them.
        audience: the service's.
        client: through whom the caller comes (``client_id``).
    """

    def __init__(self, provider: IdentityProvider, audience: str, *, client: str = "gateway") -> None:
        self.audience = audience
        self._provider, self._client = provider, client
        self.kept: dict[str, Credential] = {}
        """By subject."""
        self.issued = 0
        """How many were made."""

    async def obtain(self, session: Session) -> Credential:
        """The one that is kept for the caller, else a new one."""
        if session.subject not in self.kept:
            self.issued += 1
            token = self._provider.issue(session.subject, audience=self.audience, claims={"client_id": self._client})
            self.kept[session.subject] = Credential(
                token=Secret(token), subject=session.subject, expires_at=time.time() + _SECONDS
            )
        return self.kept[session.subject]

    async def discard(self, session: Session, refused: Credential) -> None:
        """Keep the caller's no more."""
        self.kept.pop(session.subject, None)

    def plan(self, session: Session) -> Mapping[str, object]:
        """Nothing is asked of anybody."""
        return {}
