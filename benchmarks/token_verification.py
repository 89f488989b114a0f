"""What verifying a token costs, in units of the bare signature check.

Interleaved on one thread, CPU time, medians of pairwise ratios: absolute figures move with the machine, ratios
hold. Needs ``actas[oauth,testing]`` and ``pyjwt``. Run: ``python benchmarks/token_verification.py [rounds]``.
"""

import asyncio
import gc
import hashlib
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, cast

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry

from actas.core.roles import Permissions, RoleMappings
from actas.oauth import Authenticator
from actas.oauth.jwt import decode_base64url
from actas.testing.idp import DemoUser, IdentityProvider

ALGORITHMS = ("RS256", "ES256", "Ed25519")
SECONDS_PER_SAMPLE = 0.02
RAW = "cryptography, signature alone"

Task = Callable[[], object]


def completed(coroutine: Coroutine[Any, Any, object]) -> object:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it waits")


def provider() -> IdentityProvider:
    """An identity provider whose tokens have 15 claims and some 1.2 KB."""
    claims: dict[str, object] = {
        "auth_time": int(time.time()) - 30,
        "sid": str(uuid.uuid4()),
        "tenant": {"id": str(uuid.uuid4()), "name": "acme", "region": "eu-central-1"},
        "email": "alice.liddell@example.com",
        "groups": [f"/departments/engineering/team-{number}" for number in range(4)],
    }
    scopes = ["openid", "profile", "sql:read", "sql:write"]
    alice = DemoUser(roles=["staff", "analyst", "on-call"], scopes=scopes, claims=claims)
    return IdentityProvider(users={"alice": alice}, algorithms=ALGORITHMS)


def raw_check(algorithm: str, key: Any, message: bytes, signature: bytes) -> Task:
    """The bare signature check, everything decoded beforehand."""
    if algorithm == "RS256":
        scheme, digest = padding.PKCS1v15(), hashes.SHA256()
        return lambda: key.verify(signature, message, scheme, digest)
    if algorithm == "ES256":
        der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        ecdsa = ec.ECDSA(hashes.SHA256())
        return lambda: key.verify(der, message, ecdsa)
    return lambda: key.verify(signature, message)


async def tasks_for(algorithm: str, idp: IdentityProvider) -> dict[str, Task]:
    """What is compared for ``algorithm``."""
    token = idp.issue("alice", algorithm=algorithm)
    encoded = token.encode()
    message, _, last = encoded.rpartition(b".")
    key: Any = import_key(cast(dict[str, str | list[str]], idp.key(algorithm).public()))  # Any: of three kinds
    registry = JWSRegistry(algorithms=[algorithm])
    checks = joserfc_jwt.JWTClaimsRegistry(
        leeway=60, iss={"essential": True, "value": idp.issuer}, aud={"essential": True, "value": idp.audience},
        exp={"essential": True}, sub={"essential": True},
    )  # fmt: skip
    issuer = idp.trusted(role_mappings=RoleMappings(user=["staff"]))
    permissions = Permissions(user=["sql:read"])
    uncached, cached = (Authenticator([issuer], permissions, cache_size=size) for size in (0, 100))
    for authenticator in (uncached, cached):
        await authenticator.authenticate(token)
    pyjwt_algorithm = "EdDSA" if algorithm == "Ed25519" else algorithm
    pyjwt_token = token
    if algorithm == "Ed25519":
        pyjwt_token = idp.issue("alice", algorithm=algorithm, headers={"alg": "EdDSA"})

    def with_pyjwt() -> object:
        return pyjwt.decode(
            pyjwt_token, key.public_key, algorithms=[pyjwt_algorithm], audience=idp.audience, issuer=idp.issuer,
            leeway=60, options={"require": ["exp", "iss", "aud", "sub"]},
        )  # fmt: skip

    def with_joserfc() -> None:
        checks.validate(joserfc_jwt.decode(token, key, registry=registry).claims)

    print(f"\n{algorithm}: {len(token)} bytes, {len(idp.claims('alice'))} claims")
    return {
        RAW: raw_check(algorithm, key.public_key, message, decode_base64url(last)),
        "actas, verified claims": lambda: completed(uncached.verify(token)),
        "actas, session, no cache": lambda: completed(uncached.authenticate(token)),
        "actas, session from cache": lambda: cached.cached(encoded),
        "joserfc jwt.decode + claims registry": with_joserfc,
        "PyJWT decode": with_pyjwt,
        "SHA-256 of the token": lambda: hashlib.sha256(encoded).digest(),
    }


def measure(tasks: dict[str, Task], rounds: int) -> dict[str, list[float]]:
    """Microseconds of CPU per run, for every round; the order turns round each time."""
    repeats: dict[str, int] = {}
    for name, task in tasks.items():
        start = time.thread_time()
        for _ in range(100):
            task()
        repeats[name] = max(20, int(SECONDS_PER_SAMPLE / (time.thread_time() - start) * 100))
    samples: dict[str, list[float]] = {name: [] for name in tasks}
    gc.disable()
    for number in range(rounds):
        for name in list(tasks)[:: -1 if number % 2 else 1]:
            task, count = tasks[name], repeats[name]
            start = time.thread_time()
            for _ in range(count):
                task()
            samples[name].append((time.thread_time() - start) / count * 1e6)
        gc.collect()
    gc.enable()
    return samples


def report(samples: dict[str, list[float]]) -> None:
    """Print medians, and the median of the pairwise ratios to the bare check."""
    print(f"  {'':40}{'µs CPU':>9}{'ratio':>8}")
    for name, values in samples.items():
        ratio = statistics.median(mine / raw for mine, raw in zip(values, samples[RAW], strict=True))
        print(f"  {name:40}{statistics.median(values):9.2f}{ratio:8.2f}")


async def main() -> None:
    """Measure every algorithm and print the tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with provider() as idp:
        for algorithm in ALGORITHMS:
            report(measure(await tasks_for(algorithm, idp), rounds))


if __name__ == "__main__":
    asyncio.run(main())
