"""Where a provider's keys are, and where it answers about tokens: authorization server metadata (RFC 8414) and
OpenID Connect discovery."""

from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from actas.core.errors import ActasError
from actas.http import HttpClient, UnexpectedResponse
from actas.oauth.settings import TrustedIssuer

_OAUTH = "/.well-known/oauth-authorization-server"
_OPENID = "/.well-known/openid-configuration"


class MetadataError(ActasError):
    """A provider's metadata is not what it must be."""

    code = "provider_metadata"
    default_message = "The identity provider's metadata cannot be used. Tell whoever administers this server."


def well_known_urls(issuer: str) -> tuple[str, ...]:
    """Where the metadata of ``issuer`` may be: RFC 8414 section 3.1, section 5, and OpenID Connect discovery section 4.

    The well-known part goes between host and path; OpenID Connect appends it instead.
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    places = dict.fromkeys((_OAUTH + path, _OPENID + path, path + _OPENID))
    return tuple(urlunsplit((parts.scheme, parts.netloc, place, "", "")) for place in places)


async def fetch_metadata(http: HttpClient, issuer: TrustedIssuer) -> dict[str, object]:
    """The provider's metadata, from ``discovery_url`` or the first well-known URL that has any.

    Raises:
        MetadataError: the document is about another issuer (RFC 8414 section 3.3), or there is none.
        HttpError: the provider cannot be reached.
    """
    *optional, last = (issuer.discovery_url,) if issuer.discovery_url else well_known_urls(issuer.issuer)
    for url in optional:
        try:
            return _checked(await http.get_json(url), issuer)
        except UnexpectedResponse as error:
            if not 400 <= error.status < 500:
                raise
    return _checked(await http.get_json(last), issuer)


async def fetch_keys(http: HttpClient, issuer: TrustedIssuer) -> Mapping[str, object]:
    """The provider's JWK Set, from ``jwks_uri`` or where its metadata says.

    Raises:
        MetadataError: as :func:`fetch_metadata` and :func:`named_place`.
        HttpError: the provider cannot be reached.
    """
    if issuer.jwks_uri:
        return await http.get_json(issuer.jwks_uri)
    document = await fetch_metadata(http, issuer)
    return await http.get_json(named_place(document, "jwks_uri", issuer.discovery_url or issuer.issuer))


async def fetch_endpoint(http: HttpClient, issuer: TrustedIssuer, member: str, *, mtls: bool = False) -> str:
    """Where one of the provider's endpoints is, as its metadata says: ``token_endpoint`` (RFC 8414 section 2).

    Args:
        http: our client.
        issuer: the provider.
        member: which endpoint.
        mtls: the one for clients with a certificate, where there is one of its own (RFC 8705 section 5).

    Raises:
        MetadataError: as :func:`fetch_metadata` and :func:`named_place`.
        HttpError: the provider cannot be reached.
    """
    document = await fetch_metadata(http, issuer)
    aliases = document.get("mtls_endpoint_aliases")
    if mtls and isinstance(aliases, dict) and member in aliases:
        document = cast("dict[str, object]", aliases)
    return named_place(document, member, issuer.discovery_url or issuer.issuer)


def named_place(document: Mapping[str, object], member: str, source: str) -> str:
    """The URL that ``member`` has in a metadata document that came from the URL ``source``.

    Raises:
        MetadataError: there is none, or one that is not https although ``source`` is.
    """
    place = document.get(member)
    if not isinstance(place, str):
        raise MetadataError(detail=f"the document names no {member}")
    if source.lower().startswith("https:") and not place.lower().startswith("https:"):
        raise MetadataError(detail=f"the document was had by https, and the {member} in it is not https")
    return place


def _checked(document: dict[str, object], issuer: TrustedIssuer) -> dict[str, object]:
    if document.get("issuer") != issuer.issuer:
        raise MetadataError(detail="the document's issuer is not the configured one; a final slash counts")
    return document
