"""The resource server's side of OAuth: access tokens in, sessions out (RFC 9068, RFC 8725, RFC 7662, RFC 8414)."""

from actas.oauth.authentication import Authenticator, IssuerReport
from actas.oauth.client_settings import ClientCredentials
from actas.oauth.reasons import Reason
from actas.oauth.settings import (
    ClaimMappings,
    IntrospectionSettings,
    KnownActor,
    RevocationSettings,
    TokenRules,
    TrustedIssuer,
)

__all__ = [
    "Authenticator",
    "ClaimMappings",
    "ClientCredentials",
    "IntrospectionSettings",
    "IssuerReport",
    "KnownActor",
    "Reason",
    "RevocationSettings",
    "TokenRules",
    "TrustedIssuer",
]
