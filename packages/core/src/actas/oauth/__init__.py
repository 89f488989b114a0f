"""The resource server's side of OAuth: access tokens in, sessions out (RFC 9068, RFC 8725, RFC 8414)."""

from actas.oauth.authentication import Authenticator, IssuerReport
from actas.oauth.reasons import Reason
from actas.oauth.settings import ClaimMappings, TokenRules, TrustedIssuer

__all__ = ["Authenticator", "ClaimMappings", "IssuerReport", "Reason", "TokenRules", "TrustedIssuer"]
