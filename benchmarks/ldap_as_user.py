"""What it costs to search a directory as the user, against the same search with plain ldap3.

Both use one TLS connection of the gateway's to the same slapd and the same critical control; the module also hears
from the directory whom it sees, for each call. Calls are interleaved in pairs, and the ratio is the median of the
pairs'. ``hop`` is the way into a thread and back, which plain ldap3 needs too where there is an event loop.
"""

import argparse
import asyncio
import ssl
import statistics
import time
import warnings
from collections.abc import Awaitable, Callable

from actas.core import DelegationCall, Secret, Session
from actas.delegation.ldap.actions import Search
from actas.delegation.ldap.module import LdapDelegation
from actas.delegation.ldap.settings import LdapSettings, PoolSettings, ServiceSettings
from actas.testing.slapd import Slapd, person, service
from actas.testing.slapd_lines import AUTHZ_TO, GATEWAY, SUFFIX

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of pyasn1's, in ldap3
    import ldap3

_PEOPLE = f"ou=people,{SUFFIX}"
_ALICE = f"dn:uid=alice,{_PEOPLE}"
_ATTRIBUTES = ["uid", "cn", "mobile"]
_TARGET = 1.2
Run = Callable[[], Awaitable[object]]


def _plain(server: Slapd, text: str) -> Callable[[], object]:
    tls = ldap3.Tls(
        validate=ssl.CERT_REQUIRED, version=ssl.PROTOCOL_TLS_CLIENT, ca_certs_file=str(server.authority.certificate)
    )
    peer = ldap3.Server("localhost", port=server.tls_port, use_ssl=True, tls=tls, get_info=ldap3.NONE)
    connection = ldap3.Connection(peer, GATEWAY, "gateway-password", client_strategy=ldap3.SAFE_SYNC, auto_bind=True)
    control = [("2.16.840.1.113730.3.4.18", True, _ALICE.encode())]

    def search() -> object:
        return connection.search(_PEOPLE, text, attributes=_ATTRIBUTES, controls=control)

    return search


def _module(server: Slapd) -> LdapDelegation:
    return LdapDelegation(
        LdapSettings(
            urls=[server.ldaps_url],
            identity="proxied_authorization",
            authzid=f"dn:uid={{}},{_PEOPLE}",
            bases=[SUFFIX],
            attributes=_ATTRIBUTES,
            service=ServiceSettings(dn=GATEWAY, password=Secret("gateway-password")),
            probe="alice",
            ca_file=str(server.authority.certificate),
            pool=PoolSettings(total=1),
        )
    )


async def _timed(run: Run) -> tuple[float, float]:
    """Seconds by the clock, and of this process's work."""
    work, start = time.process_time(), time.perf_counter()
    await run()
    return time.perf_counter() - start, time.process_time() - work


async def _compare(server: Slapd, text: str, expected: int, pairs: int) -> None:
    module, search = _module(server), _plain(server, text)
    await module.initialize()
    session = Session(
        issuer="i", subject="a", username="alice", provider="p", legacy_username="alice",
        permissions=frozenset({"ldap:read"}),
    )  # fmt: skip
    action = module.actions[0]

    async def as_user() -> None:
        asked = Search(filter=text, base=_PEOPLE, attributes=_ATTRIBUTES, limit=500)
        deadline = time.monotonic() + 30
        call = DelegationCall(session=session, action=action, parameters=asked, deadline=deadline, request_id="r")
        result = await module.delegate(call)
        data = result.data
        if result.receipt.identity != _ALICE or not isinstance(data, dict) or data["count"] != expected:
            raise SystemExit("somebody else answered, or something else")

    async def plain() -> None:
        search()

    async def hopping() -> None:
        await asyncio.to_thread(search)

    runs: dict[str, Run] = {"plain": plain, "as the user": as_user, "plain, in a thread": hopping}
    for _ in range(30):
        for run in runs.values():
            await run()
    times = {name: list[tuple[float, float]]() for name in runs}
    for _ in range(pairs):
        for name, run in runs.items():
            times[name].append(await _timed(run))
    await module.destroy()
    for name, taken in times.items():
        ratios = [
            statistics.median(one[which] / base[which] for base, one in zip(times["plain"], taken, strict=True))
            for which in (0, 1)
        ]
        wall, work = (statistics.median(each[which] for each in taken) * 1e3 for which in (0, 1))
        print(
            f"{expected:4} entries   {name:20} {wall:6.3f} ms ({work:6.3f} ms of work)   "
            f"ratio {ratios[0]:5.2f} ({ratios[1]:5.2f})" + (f"   target <= {_TARGET}" if name == "as the user" else "")
        )


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=400, help="pairs of calls for each line")
    pairs = parser.parse_args().pairs
    people = "".join(person(f"u{number}", "mobile: 1") for number in range(100)) + person("alice", "mobile: 2")
    with Slapd(people + service("gateway", authz_to=AUTHZ_TO)) as server:
        asyncio.run(_compare(server, "(&(objectClass=inetOrgPerson)(uid=alice))", 1, pairs))
        asyncio.run(_compare(server, "(uid=u*)", 100, pairs // 4))


if __name__ == "__main__":
    main()
