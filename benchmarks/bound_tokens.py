"""What it costs to hold a token to its client, beside a plain bearer token: ``nox -s bench -- bound_tokens``.

The door's identification alone, without a network: the token is remembered, the proof is new each time. Interleaved
on one thread, CPU time, medians of pairwise ratios: absolute figures move with the machine, ratios hold. The bare
signature check stands beside each, everything decoded beforehand.
"""

import asyncio
import base64
import gc
import statistics
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from token_verification import completed, raw_check

from actas.core import Audit, NullSink, Session
from actas.core.models import new_id
from actas.core.pipeline import request_id
from actas.core.roles import Permissions, RoleMappings
from actas.mcp import AuthSettings, McpSettings, ProxySettings, Settings
from actas.mcp.challenge import Challenges
from actas.mcp.entrance import Entrance
from actas.mcp.metadata import metadata_url
from actas.mcp.peer import Peers
from actas.oauth import Authenticator
from actas.oauth.binding import BindingChecker
from actas.oauth.dpop import ProofVerifier
from actas.oauth.jwt import decode_base64url
from actas.oauth.nonces import Nonces
from actas.oauth.replay import MemoryReplayStore
from actas.testing.dpop import ProofKey
from actas.testing.idp import DemoUser, IdentityProvider
from actas.testing.pki import CertificateAuthority

ALGORITHMS = ("ES256", "Ed25519", "RS256")
BEARER = "plain bearer"
REQUESTS = 200
"""For each sample; each has a proof of its own."""

Scope = dict[str, Any]
Sample = Callable[[], Callable[[], object]]
"""Prepares requests, which is not measured, and returns what is."""


def scope(token: str, scheme: str, *more: tuple[bytes, bytes], **parts: object) -> Scope:
    """A request as a client sends it."""
    headers = [
        (b"host", b"127.0.0.1:1"),
        (b"content-type", b"application/json"),
        (b"accept", b"application/json, text/event-stream"),
        (b"mcp-protocol-version", b"2026-07-28"),
        (b"mcp-method", b"tools/call"),
        (b"authorization", f"{scheme} {token}".encode()),
        *more,
    ]
    return {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "client": ("127.0.0.1", 1), **parts}


def identified(entrance: Entrance, requests: list[Scope]) -> Callable[[], object]:
    """Let all of them in."""

    def run() -> None:
        for request in requests:
            if not isinstance(completed(entrance.identify(request)), Session):
                raise SystemExit("somebody was not let in")

    return run


def dpop(entrance: Entrance, idp: IdentityProvider, url: str, algorithm: str) -> tuple[Sample, Sample]:
    """Requests with proofs, and the bare check of one proof's signature."""
    key = ProofKey(algorithm)
    token = idp.issue("alice", claims=key.confirmation)

    def proof() -> bytes:
        return key.proof(token, url, claims={"iat": time.time()}).encode()

    def requests() -> Callable[[], object]:
        return identified(entrance, [scope(token, "DPoP", (b"dpop", proof())) for _ in range(REQUESTS)])

    message, _, signature = proof().rpartition(b".")
    public: Any = key.key.public_key if algorithm != "RS256" else key.key.raw_value.public_key()  # Any: of three kinds
    check = raw_check(algorithm, public, message, decode_base64url(signature))

    def bare() -> Callable[[], object]:
        return lambda: [check() for _ in range(REQUESTS)]

    return requests, bare


def certificates(entrance: Entrance, idp: IdentityProvider, pem: str) -> dict[str, Sample]:
    """Requests with a certificate, as our own TLS and as a proxy gives it."""
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    thumbprint = base64.urlsafe_b64encode(sha256(der).digest()).rstrip(b"=").decode()
    token = idp.issue("alice", claims={"cnf": {"x5t#S256": thumbprint}})
    own = scope(token, "Bearer", client=("203.0.113.1", 1), extensions={"tls": {"client_cert_chain": (pem,)}})
    passed = scope(token, "Bearer", (b"client-cert", b":" + base64.b64encode(der) + b":"))
    return {
        "mTLS, TLS of our own": lambda: identified(entrance, [own] * REQUESTS),
        "mTLS, Client-Cert from a proxy": lambda: identified(entrance, [passed] * REQUESTS),
    }


def measure(samples: dict[str, Sample], rounds: int) -> dict[str, list[float]]:
    """Microseconds of CPU per request, for every round; the order turns round each time."""
    spent: dict[str, list[float]] = {name: [] for name in samples}
    gc.disable()
    for number in range(rounds + 1):
        for name in list(samples)[:: -1 if number % 2 else 1]:
            run = samples[name]()
            start = time.thread_time()
            run()
            if number:  # the first one warms up
                spent[name].append((time.thread_time() - start) / REQUESTS * 1e6)
        gc.collect()
    gc.enable()
    return spent


def report(spent: dict[str, list[float]]) -> None:
    """Print medians, and the median of the pairwise ratios to plain bearer."""
    print(f"  {'':36}{'µs CPU':>9}{'× bearer':>10}")
    for name, values in spent.items():
        ratio = statistics.median(mine / plain for mine, plain in zip(values, spent[BEARER], strict=True))
        print(f"  {name:36}{statistics.median(values):9.2f}{ratio:10.1f}")


async def main() -> None:
    """Measure and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    request_id.set(new_id())
    with TemporaryDirectory() as folder, IdentityProvider(users={"alice": DemoUser(roles=["staff"])}) as idp:
        issuer = idp.trusted(role_mappings=RoleMappings(user=["staff"]))
        settings = Settings(
            auth=AuthSettings(trusted_idps=[issuer], permissions=Permissions(user=["x"]), token_cache_seconds=300),
            mcp=McpSettings(port=0, proxies=ProxySettings(trusted=["127.0.0.1"], certificate_header="client-cert")),
        )
        url = settings.mcp.resource_at(1)
        authenticator = Authenticator([issuer], settings.auth.permissions, cache_ttl=300)
        await authenticator.start()
        proofs = ProofVerifier(
            url, store=MemoryReplayStore(time.time), nonces=Nonces(None, time.time), require_nonce=False
        )
        entrance = Entrance(
            authenticator,
            BindingChecker([issuer], proofs),
            Peers(settings.mcp.proxies),
            Challenges(metadata_url(url), []),
            Audit(NullSink()),
        )
        pem = CertificateAuthority(Path(folder)).issue_client("alice").certificate.read_text()
        bearer = scope(idp.issue("alice"), "Bearer")
        samples: dict[str, Sample] = {BEARER: lambda: identified(entrance, [bearer] * REQUESTS)}
        for algorithm in ALGORITHMS:
            requests, bare = dpop(entrance, idp, url, algorithm)
            samples |= {f"DPoP, {algorithm}": requests, f"  {algorithm} signature alone": bare}
        samples |= certificates(entrance, idp, pem)
        report(measure(samples, rounds))
        await authenticator.aclose()


if __name__ == "__main__":
    asyncio.run(main())
