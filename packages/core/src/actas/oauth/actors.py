"""What is left of a user's rights when somebody else acts: what the actor may do, too (RFC 8693 section 4.1).

The actor is the outermost ``act``. The ones inside it say who acted before, and give and take nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from actas.core.models import UNASSIGNED, Actor
from actas.oauth.settings import TrustedIssuer


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a session may do."""

    role: str
    custom_roles: tuple[str, ...]
    permissions: frozenset[str]
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Limits:
    permissions: frozenset[str]
    roles: frozenset[str]
    scopes: frozenset[str] | None


class KnownActors:
    """The actors of one provider."""

    def __init__(self, issuer: TrustedIssuer) -> None:
        self._issuer = issuer.issuer
        self._limits = {
            (actor.issuer or issuer.issuer, actor.subject): _Limits(
                frozenset(actor.permissions),
                frozenset(actor.roles),
                None if actor.scopes is None else frozenset(actor.scopes),
            )
            for actor in issuer.actors
        }

    def limited(self, rights: Rights, chain: Sequence[Actor]) -> Rights | None:
        """What of ``rights`` the current actor of ``chain`` has too; all of it without an actor.

        None: the actor is not known. An ``act`` without ``iss`` means the provider's own.
        """
        if not chain:
            return rights
        limits = self._limits.get((chain[0].issuer or self._issuer, chain[0].subject))
        if limits is None:
            return None
        return Rights(
            role=rights.role if rights.role in limits.roles else UNASSIGNED,
            custom_roles=tuple(role for role in rights.custom_roles if role in limits.roles),
            permissions=rights.permissions & limits.permissions,
            scopes=rights.scopes if limits.scopes is None else rights.scopes & limits.scopes,
        )
