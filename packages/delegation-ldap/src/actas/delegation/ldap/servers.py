"""The servers of one directory: where they are, what they need of TLS, and which is tried first."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote

_URL = re.compile(
    r"(ldaps?)://(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?))(?::([0-9]{1,5}))?/?"
)
_PORTS = {"ldap": 389, "ldaps": 636}


@dataclass(frozen=True, slots=True)
class Server:
    """One of them. ``host`` is a folder's path where it is a unix socket."""

    scheme: str
    host: str
    port: int = 0

    @property
    def local(self) -> bool:
        """Whether it is a unix socket."""
        return self.scheme == "ldapi"

    @property
    def loopback(self) -> bool:
        """Whether the name or the address is this machine's own, and no other could be meant."""
        if self.local or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parsed(url: str) -> Server:
    """The server at ``url``.

    Raises:
        ValueError: it is no such URL, or one with more than scheme, host and port.
    """
    if url.startswith("ldapi://"):
        path = unquote(url.removeprefix("ldapi://").removesuffix("/"), errors="strict")
        if not path.startswith("/") or "\0" in path:
            raise ValueError("ldapi:// needs the path of the socket, with %2F for each /")
        return Server("ldapi", path)
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("must be ldaps://host, ldap://host or ldapi://%2Fpath, and no more than a port behind it")
    port = int(found[4]) if found[4] else _PORTS[found[1]]
    if not 0 < port < 65536:
        raise ValueError("there is no such port")
    return Server(found[1], found[2] or found[3], port)


class Choice:
    """Remembers which server did last: it is tried first."""

    def __init__(self, servers: list[Server]) -> None:
        self._servers = servers
        self._last = servers[0]

    def in_order(self) -> list[Server]:
        """All servers, the last good one first."""
        return sorted(self._servers, key=lambda server: server != self._last)

    def was_good(self, server: Server) -> None:
        """``server`` did."""
        self._last = server
