"""What it costs to search a directory as the user, against the same search with plain ldap3.

Both use one TLS connection of the gateway's to the same slapd and the same critical control; the module also hears
from the directory whom it sees, for each call. Batches are interleaved, and ratios are medians of them, of this
process's work (its CPU time, all threads) and of the clock. Plain ldap3 is measured where it blocks whoever calls it,
and in a thread, where an event loop needs it.
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


async def _timed(run: Run, batch: int) -> tuple[float, float]:
    """Seconds of this process's work and of the clock, for each call of a batch."""
    work, start = time.process_time(), time.perf_counter()
    for _ in range(batch):
        await run()
    return (time.process_time() - work) / batch, (time.perf_counter() - start) / batch


async def _compare(server: Slapd, text: str, expected: int, batches: int, batch: int) -> None:
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

    runs: dict[str, Run] = {"plain": plain, "plain, in a thread": hopping, "as the user": as_user}
    for run in runs.values():
        await _timed(run, 30)
    times = {name: list[tuple[float, float]]() for name in runs}
    for _ in range(batches):
        for name, run in runs.items():
            times[name].append(await _timed(run, batch))
    await module.destroy()
    for name, taken in times.items():
        work, clock = (statistics.median(each[which] for each in taken) * 1e3 for which in (0, 1))
        over = ", ".join(
            f"x {peer} {_ratio(times[peer], taken, 0):4.2f} ({_ratio(times[peer], taken, 1):4.2f})"
            for peer in ("plain", "plain, in a thread")
        )
        print(f"{expected:4} entries   {name:20} {work:6.3f} ms of work ({clock:6.3f} ms)   {over}")


def _ratio(peer: list[tuple[float, float]], own: list[tuple[float, float]], which: int) -> float:
    return statistics.median(one[which] / base[which] for base, one in zip(peer, own, strict=True))


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=60, help="batches of 40 calls")
    batches = parser.parse_args().batches
    people = "".join(person(f"u{number}", "mobile: 1") for number in range(100)) + person("alice", "mobile: 2")
    print(f"work, by the clock in brackets; the aim for `as the user` is x plain <= {_TARGET}")
    with Slapd(people + service("gateway", authz_to=AUTHZ_TO)) as server:
        asyncio.run(_compare(server, "(&(objectClass=inetOrgPerson)(uid=alice))", 1, batches, 40))
        asyncio.run(_compare(server, "(uid=u*)", 100, max(1, batches // 3), 10))


if __name__ == "__main__":
    main()
