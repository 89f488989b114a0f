"""What is published about the resource that this server is (RFC 9728)."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from actas.oauth.asgi import Scope, Send, respond
from actas.oauth.dpop import PROOF_ALGORITHMS

Document = Callable[[], Awaitable[bytes | None]]
"""Gives a JSON document, or None where there is none at the moment."""

_WELL_KNOWN = "/.well-known/oauth-protected-resource"
_PASSED_ON = "/.well-known/oauth-authorization-server"


def metadata_url(resource: str) -> str:
    """Where the metadata of ``resource`` is (RFC 9728 section 3.1: the well-known part goes before the path)."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{'' if parts.path == '/' else parts.path}"


def metadata_document(
    resource: str, name: str, issuers: list[str], scopes: list[str], *, dpop_required: bool, certificates: bool
) -> dict[str, object]:
    """The metadata of ``resource`` (RFC 9728 section 2).

    Args:
        resource, name: its identifier, and its name for people.
        issuers: whose tokens are accepted.
        scopes: what clients may ask for.
        dpop_required: whether every token must be bound to a DPoP key.
        certificates: whether tokens may be bound to client certificates.
    """
    document: dict[str, object] = {
        "resource": resource,
        "authorization_servers": list(dict.fromkeys(issuers)),
        "bearer_methods_supported": ["header"],
        "resource_name": name,
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
    }
    if scopes:
        document["scopes_supported"] = scopes
    if dpop_required:
        document["dpop_bound_access_tokens_required"] = True
    if certificates:
        document["tls_client_certificate_bound_access_tokens"] = True
    return document


def publications(resource: str, metadata: bytes, passed_on: Document | None) -> Mapping[str, Document]:
    """What is published for ``resource``, by path. Every path is the configuration's: none comes from a request.

    Args:
        metadata: the RFC 9728 document.
        passed_on: an authorization server's metadata (RFC 8414). It is at the root, where MCP 2025-03-26 has it, and
            with the resource's path, where clients look that insert the path as RFC 8414 section 3.1 does.
    """

    async def own() -> bytes:
        return metadata

    places: dict[str, Document] = {urlsplit(metadata_url(resource)).path: own}
    if passed_on is not None:
        path = urlsplit(resource).path
        places |= {_PASSED_ON: passed_on, f"{_PASSED_ON}{'' if path == '/' else path}": passed_on}
    return places


async def publish(scope: Scope, send: Send, document: Document) -> None:
    """Answer a request for a published document; web pages may read it too."""
    if scope["method"] not in ("GET", "HEAD"):
        await respond(send, 405, [(b"allow", b"GET, HEAD")], b"")
        return
    body = await document()
    open_to_all = (b"access-control-allow-origin", b"*")
    if body is None:
        await respond(send, 503, [(b"retry-after", b"30"), (b"cache-control", b"no-store"), open_to_all], b"")
        return
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"max-age=300"),
        open_to_all,
    ]
    await respond(send, 200, headers, body if scope["method"] == "GET" else b"")
