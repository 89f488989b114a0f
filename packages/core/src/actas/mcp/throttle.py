"""Failed authentications of one address: after so many, unknown tokens from there are not even looked at."""

import ipaddress
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256

from actas.core import ServerBusy, TooManyRequests
from actas.mcp.rates import Rate, Windows

_MOST_GOOD = 10_000
"""Tokens remembered as good, by their SHA-256."""
_IPV6_SITE = 64
"""Bits of an IPv6 address that one subscriber cannot change."""


def network_of(address: str) -> str:
    """What counts as one address: IPv4 as it is, also inside of IPv6; otherwise a /64, which one subscriber has whole.

    Whatever is no address stays as it is, cut.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((int(parsed) >> _IPV6_SITE << _IPV6_SITE, _IPV6_SITE)))
        parsed = parsed.ipv4_mapped
    return str(parsed)


class Throttle:
    """Counts failed authentications.

    Tokens that were good once are still looked at, wherever they come from: somebody who fails on purpose does not
    lock out those who share his address (docs/decisions/0047-throttled-addresses.md).

    Args:
        rate: what an address may fail; None throttles nobody.
        at_once: unknown tokens that are looked at at a time. A provider that is slow to say what they are, and
            strangers who send them, leave the other places to those who are known.
    """

    def __init__(self, rate: Rate | None, at_once: int) -> None:
        self._at_once = at_once
        self._looked_at = 0
        self._rate = rate
        self._failures = None if rate is None else Windows(rate.seconds)
        self._good: dict[bytes, None] = {}

    def inherit(self, predecessor: "Throttle") -> None:
        """Count on where another configuration's throttle stopped, and know the tokens that it found good."""
        self._good = predecessor._good
        if self._rate is not None and predecessor._rate is not None and self._rate.seconds == predecessor._rate.seconds:
            self._failures = predecessor._failures

    @contextmanager
    def looking_at(self, address: str, token: bytes) -> Generator[None]:
        """Look at an unknown ``token`` from ``address``; without an error in here it is good.

        Raises:
            TooManyRequests: it is not to be looked at.
            ServerBusy: as many are being looked at as may be.
        """
        self._check(address, token)
        if self._looked_at >= self._at_once:
            raise ServerBusy(detail=f"{self._looked_at} unknown tokens are being looked at")
        self._looked_at += 1
        try:
            yield
        finally:
            self._looked_at -= 1
        self._passed(token)

    def _check(self, address: str, token: bytes) -> None:
        if self._rate is None or self._failures is None:
            return
        network = network_of(address)
        if self._failures.count(network) >= self._rate.amount and sha256(token).digest() not in self._good:
            raise TooManyRequests(self._failures.left(network), detail="failed_authentications_per_address")

    def failed(self, address: str, token: bytes | None = None) -> None:
        """Count a failure, and believe ``token`` no longer."""
        if self._failures is not None:
            self._failures.hit(network_of(address))
            if token is not None:
                self._good.pop(sha256(token).digest(), None)

    def _passed(self, token: bytes) -> None:
        if self._failures is not None:
            digest = sha256(token).digest()
            self._good.pop(digest, None)  # so that it goes to the end
            if len(self._good) >= _MOST_GOOD:
                del self._good[next(iter(self._good))]
            self._good[digest] = None
