"""What an opaque token costs, against a JWT that is verified here: cached, not cached, and a crowd with one token.

The provider is the embedded one, in a process of its own on the loopback: the time of a lookup is its answer and the
way there, the CPU is ours alone. Interleaved, medians of pairwise ratios. Needs ``actas[oauth,testing]``.
Run: ``python benchmarks/introspection.py [rounds]``.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from actas.core.roles import Permissions, RoleMappings
from actas.core.secret import Secret
from actas.oauth import Authenticator, ClientCredentials, IntrospectionSettings, TrustedIssuer
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.idp_clients import DemoClient

PLAIN = "JWT, verified each time"
SECRET = "benchmark"
TOKENS = 64
CALLS = 200

Task = Callable[[], Awaitable[object]]


def serve() -> None:
    """Be the provider: print the issuer, a JWT and opaque tokens, and answer until standard input ends."""
    alice = DemoUser(roles=["staff"], scopes=["sql:read"])
    with IdentityProvider(users={"alice": alice}) as provider:
        provider.opaque.clients.add(DemoClient("bench", secret=SECRET))
        opaque = [provider.issue_opaque("alice", exp=int(time.time()) + 3000) for _ in range(TOKENS)]
        print(provider.issuer, provider.issue("alice", expires_in=3000), *opaque, flush=True)
        sys.stdin.read()


@dataclass(frozen=True)
class Sample:
    """Microseconds per call."""

    wall: float
    cpu: float


def authenticator(issuer: str, *, cached: bool, signed: bool = False) -> Authenticator:
    """One that trusts ``issuer``, for JWTs and opaque tokens."""
    trusted = TrustedIssuer(
        name="bench",
        issuer=issuer,
        audience=["https://mcp.example/mcp"],
        role_mappings=RoleMappings(user=["staff"]),
        introspection=IntrospectionSettings(
            client=ClientCredentials(id="bench", secret=Secret(SECRET)),
            cache_seconds=300 if cached else 0,
            signed_responses=signed,
        ),
    )
    return Authenticator([trusted], Permissions(user=["sql:read"]), cache_size=1000 if cached else 0)


async def measure(task: Task, calls: int) -> Sample:
    """One sample of ``calls`` calls, one after the other."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        await task()
    return Sample((time.perf_counter() - wall) / calls * 1e6, (time.process_time() - cpu) / calls * 1e6)


def report(samples: dict[str, list[Sample]]) -> None:
    """Print medians, and the medians of the pairwise ratios to :data:`PLAIN`."""
    print(f"{'':44}{'µs':>10}{'µs CPU':>10}{'× JWT':>8}{'× CPU':>8}")
    plain = samples[PLAIN]
    for name, values in samples.items():
        wall, cpu = (statistics.median(getattr(each, kind) for each in values) for kind in ("wall", "cpu"))
        pairs = list(zip(values, plain, strict=True))
        ratio = statistics.median(mine.wall / base.wall for mine, base in pairs)
        ratio_cpu = statistics.median(mine.cpu / max(base.cpu, 0.01) for mine, base in pairs)
        print(f"{name:44}{wall:10.1f}{cpu:10.1f}{ratio:8.2f}{ratio_cpu:8.2f}")


async def run(issuer: str, jwt: str, opaque: list[str], rounds: int) -> None:
    """Measure everything and print the table."""
    verifying, asking = authenticator(issuer, cached=False), authenticator(issuer, cached=False)
    signed, cached = authenticator(issuer, cached=False, signed=True), authenticator(issuer, cached=True)
    turn = iter(range(10**9))

    def next_token() -> str:
        return opaque[next(turn) % len(opaque)]

    async def crowd() -> None:
        token = next_token()
        await asyncio.gather(*(asking.authenticate(token) for _ in range(20)))

    async def many() -> None:
        await asyncio.gather(*(asking.authenticate(token) for token in opaque[:20]))

    for each in (verifying, asking, signed, cached):
        await each.authenticate(jwt)
        await each.authenticate(opaque[0])
    tasks: dict[str, tuple[Task, int, int]] = {
        PLAIN: (lambda: verifying.authenticate(jwt), CALLS * 5, 1),
        "JWT, remembered": (lambda: cached.authenticate(jwt), CALLS * 50, 1),
        "opaque, remembered": (lambda: cached.authenticate(opaque[0]), CALLS * 50, 1),
        "opaque, asked each time": (lambda: asking.authenticate(next_token()), CALLS, 1),
        "opaque, asked, signed answer": (lambda: signed.authenticate(next_token()), CALLS, 1),
        "opaque, 20 callers with one token, each": (crowd, CALLS // 4, 20),
        "opaque, 20 callers with 20 tokens, each": (many, CALLS // 20, 20),
    }
    samples: dict[str, list[Sample]] = {name: [] for name in tasks}
    for number in range(rounds):
        for name in list(tasks)[:: -1 if number % 2 else 1]:
            task, calls, size = tasks[name]
            sample = await measure(task, calls)
            samples[name].append(Sample(sample.wall / size, sample.cpu / size))
    report(samples)
    for each in (verifying, asking, signed, cached):
        await each.aclose()


def main() -> None:
    """Start the provider, measure, stop it."""
    if sys.argv[1:] == ["--serve"]:
        serve()
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as provider:
        assert provider.stdout is not None
        assert provider.stdin is not None
        issuer, jwt, *opaque = provider.stdout.readline().split()
        asyncio.run(run(issuer, jwt, opaque, rounds))
        provider.stdin.close()


if __name__ == "__main__":
    main()
