"""What is published about the resource that this server is (RFC 9728)."""

from urllib.parse import urlsplit

from actas.mcp.asgi import Scope, Send, respond

_WELL_KNOWN = "/.well-known/oauth-protected-resource"


def metadata_url(resource: str) -> str:
    """Where the metadata of ``resource`` is (RFC 9728 section 3.1: the well-known part goes before the path)."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{'' if parts.path == '/' else parts.path}"


def metadata_document(resource: str, name: str, issuers: list[str], scopes: list[str]) -> dict[str, object]:
    """The metadata of ``resource`` (RFC 9728 section 2)."""
    document: dict[str, object] = {
        "resource": resource,
        "authorization_servers": list(dict.fromkeys(issuers)),
        "bearer_methods_supported": ["header"],
        "resource_name": name,
    }
    return document | {"scopes_supported": scopes} if scopes else document


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
