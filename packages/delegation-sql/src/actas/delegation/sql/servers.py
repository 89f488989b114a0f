"""The servers of one database: where they are, in which order they are tried, and which of them will do.

psycopg and libpq can go through several servers themselves. They are gone through here, because only then is it known
of each whether it was away or refused the login: the one is over soon, and the other is the caller's to hear.
"""

from dataclasses import dataclass
from enum import StrEnum


class Wanted(StrEnum):
    """What a server must be."""

    ANY = "any"
    PRIMARY = "primary"
    STANDBY = "standby"
    """A standby if one lets us in; otherwise the primary."""


@dataclass(frozen=True, slots=True)
class Server:
    """One of them."""

    host: str
    port: int

    @property
    def unix_socket(self) -> bool:
        """Whether it is reached over a unix socket: then ``host`` is its folder."""
        return self.host.startswith("/")


def parsed(hosts: str, port: int) -> list[Server]:
    """The servers in ``hosts``, separated by commas, each with a port of its own after a colon, or with ``port``.

    Raises:
        ValueError: a port is none, or a name is empty.
    """
    return [_parsed(host.strip(), port) for host in hosts.split(",")]


def _parsed(host: str, port: int) -> Server:
    if not host.startswith("/") and host.count(":") == 1:  # more of them are an IPv6 address
        host, _, own = host.partition(":")
        port = int(own)
    if not host or not 0 < port < 65536:
        raise ValueError(host)
    return Server(host, port)


class Choice:
    """Remembers which server did last: it is tried first."""

    def __init__(self, servers: list[Server], wanted: Wanted) -> None:
        self._servers = servers
        self._wanted = wanted if len(servers) > 1 else Wanted.ANY
        self._last = servers[0]

    def in_order(self) -> list[Server]:
        """All servers, the last good one first."""
        return sorted(self._servers, key=lambda server: server != self._last)

    def will_do(self, *, is_standby: bool) -> bool:
        """Whether such a server is what is wanted."""
        return self._wanted is Wanted.ANY or is_standby is (self._wanted is Wanted.STANDBY)

    @property
    def others_will_do(self) -> bool:
        """Whether a server that is not what is wanted is better than none."""
        return self._wanted is Wanted.STANDBY

    def was_good(self, server: Server) -> None:
        """``server`` did."""
        self._last = server
