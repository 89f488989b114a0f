"""Whom a request came through, as proxies write it down: ``X-Forwarded-For`` and ``Forwarded`` (RFC 7239).

Anybody may write anything to the left of what the trusted proxies added. So it is read from the right.
"""

import ipaddress
import re
from collections.abc import Callable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOPS = 16
"""Hops that are looked at, from the right."""

MAX_BYTES = 4096
"""The longest ``Forwarded`` that is read; unlike the other one it must be read from the left."""

_PAIR = re.compile(rb'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;=]+))\s*(?=[;,]|$)')
_ESCAPED = re.compile(rb"\\(.)")
_PORT = re.compile(r"[0-9]{1,5}")


def address_of(text: str) -> Address | None:
    """The IP address in ``text``, with or without brackets and port; None where it is none.

    An IPv4 address that is written as an IPv6 one is the IPv4 one.
    """
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        port = port[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if "%" in host or (port and not _PORT.fullmatch(port)):
        return None
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def x_forwarded_for(value: bytes) -> list[Address | None]:
    """The nearest :data:`MAX_HOPS` hops, the nearest first. None is a hop without an address."""
    hops = value.rsplit(b",", MAX_HOPS)[-MAX_HOPS:]
    return [address_of(hop.strip(b" \t").decode("latin-1")) for hop in reversed(hops)]


def forwarded(value: bytes) -> list[Address | None]:
    """As :func:`x_forwarded_for`, from the ``for`` of each element. A value that is malformed is one such hop."""
    elements = _elements(value) if len(value) <= MAX_BYTES else None
    if elements is None:
        return [None]
    return [address_of(element.get(b"for", "")) for element in reversed(elements)][:MAX_HOPS]


def _elements(value: bytes) -> list[dict[bytes, str]] | None:
    """The pairs of each element, by name in lower case; None where the value is malformed."""
    elements: list[dict[bytes, str]] = [{}]
    at = 0
    while at < len(value):
        found = _PAIR.match(value, at)
        if found is None or found[1].lower() in elements[-1]:
            return None
        text = found[3] if found[2] is None else _ESCAPED.sub(rb"\1", found[2])
        elements[-1][found[1].lower()] = text.decode("latin-1")
        at = found.end()
        if value[at : at + 1] == b",":
            elements.append({})
        at += 1
    return elements


FORMATS: dict[str, Callable[[bytes], list[Address | None]]] = {
    "x-forwarded-for": x_forwarded_for,
    "forwarded": forwarded,
}
"""How a header's value is read, by its name."""
