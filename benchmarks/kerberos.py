"""What a Kerberos ticket costs: from memory, over a pipeline that does nothing else; and from the KDC, against the same
two exchanges (S4U2Self, S4U2Proxy) by bare python-gssapi, which blocks and so needs a thread in a server. And whether
memory stays as it is over many of them.

The KDC is a real one, a process of its own on the loopback. Runs are interleaved; ratios are the medians of pairs.
"""

import argparse
import asyncio
import gc
import os
import statistics
import time
from dataclasses import dataclass

import gssapi

from actas.core import Action, Audit, DelegationCall, DelegationRegistry, DelegationResult, MemorySink, Pipeline
from actas.core.models import Health, Receipt, Session
from actas.delegation.kerberos.caches import KERBEROS
from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.settings import KerberosSettings
from actas.testing.kdc import KerberosRealm

GATEWAY, WEB = "gateway/mcp.example.com", "HTTP/web.example.com"
ALICE = Session(
    issuer="https://idp.example",
    subject="u-1",
    username="alice",
    legacy_username="alice",
    provider="test",
    permissions=frozenset({"kerberos:delegate"}),
)
_BATCH = 200
FOREVER = float("inf")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """As those of ``s4u2proxy``."""

    target: str


class Nothing:
    """A module that answers at once: what is left is the pipeline."""

    actions = (Action(name="s4u2proxy", description="Does nothing.", parameters=Parameters),)

    async def initialize(self) -> None:
        """Nothing."""

    def principal(self, session: Session) -> str:
        """Hers."""
        return "alice@EXAMPLE.COM"

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Nothing."""
        return DelegationResult(data={}, receipt=Receipt(identity="alice@EXAMPLE.COM", method="in-process"))

    async def health_check(self) -> Health:
        """Well."""
        return Health(healthy=True)

    async def destroy(self) -> None:
        """Nothing."""


async def _warm(module: KerberosDelegation, batches: int) -> None:
    registry = DelegationRegistry()
    registry.register("kerberos", module)
    registry.register("nothing", Nothing())
    pipeline = Pipeline(registry, Audit(MemorySink(10)))

    async def batch(name: str) -> float:
        started = time.perf_counter()
        for _ in range(_BATCH):
            await pipeline.delegate(ALICE, name, "s4u2proxy", {"target": WEB})
        return (time.perf_counter() - started) / _BATCH * 1e6

    await batch("kerberos")
    pairs = [(await batch("kerberos"), await batch("nothing")) for _ in range(batches)]
    ours, bare = (statistics.median(each) for each in zip(*pairs, strict=True))
    over = statistics.median(one - other for one, other in pairs)
    print(f"warm   {ours:6.1f} µs   pipeline alone {bare:6.1f} µs   over it {over:5.1f} µs (target <= 50)")
    ticket = await module.ticket(ALICE, WEB, deadline=FOREVER)
    started = time.perf_counter()
    for _ in range(_BATCH):
        ticket.gss_credentials()
    print(f"fresh credentials of a ticket that is kept {(time.perf_counter() - started) / _BATCH * 1e6:5.1f} µs")


async def _cold(module: KerberosDelegation, realm: KerberosRealm, batches: int) -> None:
    keytab = str(realm.keytab(GATEWAY))
    store: dict[bytes | str, bytes | str] = {"client_keytab": keytab, "ccache": "MEMORY:bench"}
    gateway = gssapi.Name(realm.principal(GATEWAY), gssapi.NameType.kerberos_principal)

    def bare() -> None:
        own = gssapi.Credentials(name=gateway, usage="initiate", store=store, mechs=[KERBEROS])
        user = gssapi.Name("alice@EXAMPLE.COM", gssapi.NameType.kerberos_principal)
        target = gssapi.Name(realm.principal(WEB), gssapi.NameType.kerberos_principal)
        hers = own.impersonate(user, mechs=[KERBEROS])
        gssapi.SecurityContext(name=target, creds=hers, usage="initiate", mech=KERBEROS).step()

    async def ours() -> None:
        await module.discard(ALICE, WEB)
        await module.ticket(ALICE, WEB, deadline=FOREVER)

    async def in_a_thread() -> None:
        await asyncio.to_thread(bare)

    async def at_once() -> None:
        bare()

    runs = (ours, in_a_thread, at_once)
    times: list[list[float]] = []
    for _ in range(batches * 10):
        row: list[float] = []
        for run in runs:
            started = time.perf_counter()
            await run()
            row.append(time.perf_counter() - started)
        times.append(row)
    mine, threaded, alone = (statistics.median(each) * 1e6 for each in zip(*times, strict=True))
    print(
        f"cold   {mine:6.0f} µs   bare gssapi in a thread {threaded:6.0f} µs"
        f"   ratio {mine / threaded:4.2f} (target <= 1.2)"
        f"   holding the event loop up {alone:6.0f} µs   ratio {mine / alone:4.2f}"
    )


async def _memory(module: KerberosDelegation, count: int) -> None:
    sizes: list[float] = []
    for number in range(count):
        await module.discard(ALICE, WEB)
        await module.ticket(ALICE, WEB, deadline=FOREVER)
        if number % (count // 10) == 0:
            gc.collect()
            sizes.append(_resident())
    grown = (sizes[-1] - sizes[1]) * 2**10
    print(
        f"memory over {count} impersonations: {sizes[0]:.1f} MB at first, {sizes[-1]:.1f} MB at last, {grown:+.0f} KB"
    )


def _resident() -> float:
    """Megabytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _all(realm: KerberosRealm, batches: int, count: int) -> None:
    module = KerberosDelegation(
        KerberosSettings(principal=realm.principal(GATEWAY), keytab=str(realm.keytab(GATEWAY)), targets=[WEB])
    )
    try:
        await _warm(module, batches)
        await _cold(module, realm, batches)
        await _memory(module, count)
    finally:
        await module.destroy()


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=50, help="batches of each kind")
    parser.add_argument("--impersonations", type=int, default=10_000, help="for the look at memory")
    arguments = parser.parse_args()
    with KerberosRealm() as realm, realm.in_use():
        realm.add_users("alice")
        realm.add_service(GATEWAY, transition=True)
        realm.add_service(WEB)
        realm.allow(GATEWAY, WEB)
        asyncio.run(_all(realm, arguments.batches, arguments.impersonations))


if __name__ == "__main__":
    main()
