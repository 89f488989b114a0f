"""From verified claims to a session, by one provider's mappings."""

from types import MappingProxyType

from actas.core.models import UNASSIGNED, Actor, Session
from actas.core.roles import MappedRoles, Permissions, RoleMapper
from actas.core.secret import Secret
from actas.oauth.actors import KnownActors, Rights
from actas.oauth.applications import is_application
from actas.oauth.claims import ClaimPath, actors_of, demanded_name, is_name, name_or_none, scopes_of
from actas.oauth.reasons import Reason
from actas.oauth.settings import TrustedIssuer

_NOBODY = Rights(role=UNASSIGNED, custom_roles=(), permissions=frozenset(), scopes=frozenset())


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
        self._actors = KnownActors(issuer)
        self._accepts_applications = issuer.accept_applications

    def make(self, token: str, claims: dict[str, object], expires_at: float) -> Session:
        """The session that ``claims`` describe.

        A rejected one, which has no rights, where the roles, the application or the actor are not accepted.

        Raises:
            AuthenticationError: a claim that says who this is, or what for, is absent or malformed.
        """
        subject = demanded_name(self._user_id.find(claims), "user_id")
        mapped = self._mapper.map(self._roles.find(claims))
        actors = actors_of(claims.get("act"))
        application = is_application(claims)
        rights, rejection = self._judge(mapped, self._scopes_of(claims), actors, application)
        return Session(
            issuer=self._issuer,
            subject=subject,
            username=name_or_none(self._username.find(claims), "username") or subject,
            provider=self._provider,
            legacy_username=None if application else self._legacy_name(claims),
            role=rights.role,
            custom_roles=rights.custom_roles,
            permissions=rights.permissions,
            scopes=rights.scopes,
            client_id=_client_of(claims),
            actors=actors,
            application=application,
            claims=MappingProxyType(claims),
            expires_at=expires_at,
            rejected=rejection is not None,
            rejection_reason=rejection,
            token=Secret(token),
        )

    def _judge(
        self, mapped: MappedRoles, scopes: frozenset[str], actors: tuple[Actor, ...], application: bool
    ) -> tuple[Rights, str | None]:
        """What the session may do, and why it is rejected."""
        if application and not self._accepts_applications:
            return _NOBODY, f"{Reason.APPLICATION}: the token has no user, and accept_applications is not set"
        if mapped.rejection is not None:
            return _NOBODY, mapped.rejection
        of_user = Rights(
            role=mapped.role,
            custom_roles=mapped.custom_roles,
            permissions=self._permissions.of((mapped.role, *mapped.custom_roles)),
            scopes=scopes,
        )
        rights = self._actors.limited(of_user, actors)
        if rights is None:
            return _NOBODY, f"{Reason.UNKNOWN_ACTOR}: the current actor is not one of the provider's actors"
        return rights, None

    def _legacy_name(self, claims: dict[str, object]) -> str | None:
        value = self._legacy_username.find(claims) if self._legacy_username else None
        return value if isinstance(value, str) and is_name(value) else None

    def _scopes_of(self, claims: dict[str, object]) -> frozenset[str]:
        if self._scopes is not None:
            return scopes_of(self._scopes.find(claims))
        scope = claims.get("scope")
        return scopes_of(claims.get("scp") if scope is None else scope)


def _client_of(claims: dict[str, object]) -> str | None:
    return name_or_none(claims.get("client_id"), "client_id") or name_or_none(claims.get("azp"), "azp")
