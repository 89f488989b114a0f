"""Does a token stand for an application and no user? The one set of rules, for all providers.

In this order, the first that says something decides:

1. ``idtyp`` (Entra ID, an optional claim): ``app`` is an application, ``user`` is none.
2. ``gty`` (Auth0) or ``grant_type`` (UAA) is ``client-credentials``, with either hyphen; a ``sub`` that ends with
   ``@clients`` (Auth0).
3. ``preferred_username`` or ``username`` begins with ``service-account-`` (Keycloak).
4. ``sub`` is the client itself: ``client_id`` (RFC 9068 section 2.2; Cognito), ``azp``, ``cid`` (Okta), ``appid``.
5. Entra ID (``tid`` and ``oid`` are there) without ``scp``: somebody's scopes are in every token that has a user.

A user who is mistaken for an application loses by it; an application that is mistaken for a user would have what the
provider's mappings give it. Therefore the rules rather see an application too many. They read claims that were
verified, and never raise.
"""

from collections.abc import Mapping

_GRANTS = frozenset({"client-credentials", "client_credentials"})
_CLIENT_CLAIMS = ("client_id", "azp", "cid", "appid")
_SERVICE_ACCOUNT = "service-account-"


def is_application(claims: Mapping[str, object]) -> bool:
    """Whether the token with these claims has no user behind it."""
    kind = claims.get("idtyp")
    if kind in ("app", "user"):
        return kind == "app"
    subject = claims.get("sub")
    if any(_names_grant(claims.get(name)) for name in ("gty", "grant_type")):
        return True
    if isinstance(subject, str) and subject.endswith("@clients"):
        return True
    names = (claims.get("preferred_username"), claims.get("username"))
    if any(isinstance(name, str) and name.startswith(_SERVICE_ACCOUNT) for name in names):
        return True
    if isinstance(subject, str) and any(claims.get(name) == subject for name in _CLIENT_CLAIMS):
        return True
    return "tid" in claims and "oid" in claims and "scp" not in claims


def _names_grant(value: object) -> bool:
    if isinstance(value, str):
        return not _GRANTS.isdisjoint(value.split())
    return isinstance(value, list) and any(grant in value for grant in _GRANTS)
