"""What is published about the resource that this server is (RFC 9728)."""

from urllib.parse import urlsplit

from actas.mcp.asgi import Scope, Send, respond
from actas.oauth.dpop import PROOF_ALGORITHMS

_WELL_KNOWN = "/.well-known/oauth-protected-resource"


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


async def publish(document: bytes, scope: Scope, send: Send) -> None:
    """Answer a request for ``document``."""
    if scope["method"] not in ("GET", "HEAD"):
        await respond(send, 405, [(b"allow", b"GET, HEAD")], b"")
        return
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(document)),
        (b"cache-control", b"max-age=300"),
        (b"access-control-allow-origin", b"*"),
    ]
    await respond(send, 200, headers, document if scope["method"] == "GET" else b"")
