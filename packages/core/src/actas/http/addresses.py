"""Which addresses may be connected to. What was judged is what is called: no second look-up comes in between."""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from actas.http.errors import AddressRefused
from actas.http.library import httpx

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts to which plain `http:` is allowed: nobody sits on the way."""

_REMEMBERED = 10.0
"""Seconds for which a name's judged addresses serve; looking up costs a thread."""
_MOST_NAMES = 100
_MOST_ADDRESSES = 4
"""Addresses of one name that are tried."""
_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
"""All that IANA gives out of IPv6. What lies beside it is old, local, or leads to IPv4 in one more way."""
_NOT_PUBLIC = (ip_network("192.0.0.0/24"), ip_network("192.88.99.0/24"), ip_network("3fff::/20"))
"""Special addresses that the standard library takes for public, in one version or another."""
_NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout)
"""Nothing was sent: another address may be tried, whatever the request does."""


class AddressGuard:
    """Admits addresses of the public internet, and those in ``networks`` (CIDR), the loopback where ``loopback``.

    Raises:
        ValueError: ``networks`` has something that is no network.
    """

    def __init__(self, networks: Iterable[str] = (), *, loopback: bool = False) -> None:
        self._networks = tuple(ip_network(network) for network in networks)
        self._loopback = loopback
        self._known: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    def admits(self, address: str) -> bool:
        """Whether ``address``, or the IPv4 address that is wrapped in it, may be connected to."""
        return all(self._admitted(each) for each in _meant(ip_address(address.partition("%")[0])))

    async def addresses(self, host: str, port: int) -> list[str]:
        """Where ``host`` is.

        Raises:
            AddressRefused: one of its addresses is not admitted: then none is used.
            OSError: it has no address.
        """
        known = self._known.get((host, port))
        if known is not None and known[0] > time.monotonic():
            return known[1]
        found = await asyncio.shield(self._look_up(host, port))
        if not all(self.admits(address) for address in found):
            raise AddressRefused(detail="the host's name leads to an address that is not admitted")
        if len(self._known) >= _MOST_NAMES:
            self._known.clear()
        self._known[host, port] = time.monotonic() + _REMEMBERED, found[:_MOST_ADDRESSES]
        return found[:_MOST_ADDRESSES]

    def _look_up(self, host: str, port: int) -> asyncio.Future[list[str]]:
        """One look-up for all who wait: each takes one of a few threads, for seconds where no name server answers."""
        place = host, port
        look_up = self._under_way.get(place)
        if look_up is None:
            look_up = self._under_way[place] = asyncio.ensure_future(_looked_up(host, port))

            def ended(future: asyncio.Future[list[str]]) -> None:
                del self._under_way[place]
                if not future.cancelled():
                    future.exception()  # whoever waited has it; where nobody did, asyncio shall not complain

            look_up.add_done_callback(ended)
        return look_up

    def prefer(self, host: str, port: int, address: str) -> None:
        """Try ``address`` first from now on: another one of ``host``'s takes no connection."""
        until, known = self._known.get((host, port), (0.0, []))
        if address in known[1:]:
            self._known[host, port] = until, [address, *(each for each in known if each != address)]

    def _admitted(self, address: IPv4Address | IPv6Address) -> bool:
        if any(address in network for network in self._networks):
            return True
        if address.is_loopback:
            return self._loopback
        if isinstance(address, IPv6Address) and address not in _UNICAST:
            return False
        return address.is_global and not address.is_multicast and not any(address in each for each in _NOT_PUBLIC)


class GuardedTransport(httpx.AsyncBaseTransport):
    """Connects to judged addresses alone; the certificate must be the name's all the same."""

    def __init__(self, guard: AddressGuard, *, verify: ssl.SSLContext | bool, limits: "httpx.Limits") -> None:
        self._guard = guard
        self._inner = httpx.AsyncHTTPTransport(verify=verify, limits=limits, trust_env=False)

    async def handle_async_request(self, request: "httpx.Request") -> "httpx.Response":
        """Send ``request`` to the first address that takes the connection. The ``Host`` header stands already."""
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await self._guard.addresses(url.host, port)
        if addresses == [url.host]:
            return await self._inner.handle_async_request(request)
        request.extensions = {**request.extensions, "sni_hostname": url.host}
        waiting = list(addresses)
        while True:
            address = waiting.pop(0)
            request.url = url.copy_with(host=address)
            try:
                response = await self._inner.handle_async_request(request)
            except _NOT_CONNECTED:
                if not waiting:
                    raise
            else:
                self._guard.prefer(url.host, port, address)
                return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


async def _looked_up(host: str, port: int) -> list[str]:
    try:
        return [str(ip_address(host))]
    except ValueError:
        pass
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _meant(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """What a connection to ``address`` may end up at: translators know IPv4 addresses inside of IPv6 ones."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address, address.sixtofour]
    if address in _NAT64:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address]
