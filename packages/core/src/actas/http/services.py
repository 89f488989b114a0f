"""A service that a module calls: which URLs it may have, and a client that reaches no other addresses than its own."""

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from urllib.parse import SplitResult, urlsplit

from actas.http.addresses import LOOPBACK, AddressGuard
from actas.http.client import HttpClient
from actas.http.paths import Template
from actas.http.settings import HttpSettings

_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")


def service_url(url: str) -> SplitResult:
    """``url``, taken apart.

    Raises:
        ValueError: it is none that users' tokens may be sent to; says why.
    """
    try:
        parts = urlsplit(url)
        good = parts.port != 0 and _HOST.fullmatch(parts.hostname or "") is not None
    except ValueError:
        raise ValueError("its host or port is none") from None
    if parts.scheme not in ("https", "http") or not good:
        raise ValueError("must begin with https:// and name a host, in ASCII")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("https is needed; plain http only to the loopback")
    if parts.username is not None or "#" in url or not url.isascii() or not url.isprintable():
        raise ValueError("has no place for credentials, a fragment, or anything but plain ASCII")
    return parts


def base_of(url: str) -> str:
    """``url`` without a slash at its end. Raises ValueError where it is no base for requests."""
    parts = service_url(url)
    if "?" in url:
        raise ValueError("has no place for a query")
    path = parts.path.rstrip("/")
    try:
        if path and Template(path).names:
            raise ValueError("it has no parameters")
    except ValueError as error:
        raise ValueError(f"its path is not one: {error}") from None
    return f"{parts.scheme}://{parts.netloc}{path}"


def network_problems(networks: Iterable[str]) -> Iterator[str]:
    """What is wrong with ``networks``, besides the public internet, in which a service may be."""
    for network in networks:
        try:
            ip_network(network)
        except ValueError:
            yield f"{network!r} is no network such as 10.2.0.0/16"


def client_to(url: str, networks: Iterable[str], settings: HttpSettings) -> HttpClient:
    """A client for the service at ``url``: to addresses of the public internet and in ``networks``, and to the
    loopback where ``url`` names it.

    Raises:
        ConfigurationError: the CA file cannot be read.
        ValueError: ``networks`` has something that is no network.
    """
    return HttpClient(settings, guard=AddressGuard(networks, loopback=urlsplit(url).hostname in LOOPBACK))
