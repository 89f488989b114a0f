"""From verified claims to a session, by one provider's mappings."""

from types import MappingProxyType

from actas.core.models import Session
from actas.core.roles import Permissions, RoleMapper
from actas.core.secret import Secret
from actas.oauth.claims import ClaimPath, actors_of, demanded_name, is_name, name_or_none, scopes_of
from actas.oauth.settings import TrustedIssuer


class SessionFactory:
    """Makes the sessions of one provider."""

    def __init__(self, issuer: TrustedIssuer, permissions: Permissions) -> None:
        mappings = issuer.claim_mappings
        self._issuer = issuer.issuer
        self._provider = issuer.name
        self._user_id = ClaimPath(mappings.user_id)
        self._username = ClaimPath(mappings.username)
        self._legacy_username = ClaimPath(mappings.legacy_username) if mappings.legacy_username else None
        self._roles = ClaimPath(mappings.roles)
        self._scopes = ClaimPath(mappings.scopes) if mappings.scopes else None
        self._mapper = RoleMapper(issuer.role_mappings)
        self._permissions = permissions

    def make(self, token: str, claims: dict[str, object], expires_at: float) -> Session:
        """The session that ``claims`` describe. Roles that are not accepted make a rejected one.

        Raises:
            AuthenticationError: a claim that says who this is, or what for, is absent or malformed.
        """
        subject = demanded_name(self._user_id.find(claims), "user_id")
        mapped = self._mapper.map(self._roles.find(claims))
        return Session(
            issuer=self._issuer,
            subject=subject,
            username=name_or_none(self._username.find(claims), "username") or subject,
            provider=self._provider,
            legacy_username=self._legacy_name(claims),
            role=mapped.role,
            custom_roles=mapped.custom_roles,
            permissions=self._permissions.of((mapped.role, *mapped.custom_roles)),
            scopes=self._scopes_of(claims),
            client_id=name_or_none(claims.get("client_id"), "client_id") or name_or_none(claims.get("azp"), "azp"),
            actors=actors_of(claims.get("act")),
            claims=MappingProxyType(claims),
            expires_at=expires_at,
            rejected=mapped.rejection is not None,
            rejection_reason=mapped.rejection,
            token=Secret(token),
        )

    def _legacy_name(self, claims: dict[str, object]) -> str | None:
        value = self._legacy_username.find(claims) if self._legacy_username else None
        return value if isinstance(value, str) and is_name(value) else None

    def _scopes_of(self, claims: dict[str, object]) -> frozenset[str]:
        if self._scopes is not None:
            return scopes_of(self._scopes.find(claims))
        scope = claims.get("scope")
        return scopes_of(claims.get("scp") if scope is None else scope)
