"""What is published about the resource that this server is (RFC 9728)."""

from urllib.parse import urlsplit

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
