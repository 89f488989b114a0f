"""A session described in a file, without a token: to test roles and policies, in CI for example."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import cast

from actas.core import ConfigurationError, Permissions, Session
from actas.mcp.config_file import read_file
from actas.mcp.schema import Problems, read_settings
from actas.mcp.settings import AuthSettings
from actas.oauth.claims import ClaimPath
from actas.oauth.sessions import SessionFactory
from actas.oauth.settings import TrustedIssuer

_DEEPEST = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    """Who is calling, as a token would say it. The provider's mappings turn it into a session, as they do a token."""

    subject: str
    """The user's id, where `claim_mappings.user_id` looks for it."""
    provider: str | None = None
    """The name of the trusted identity provider; may be left out where there is one."""
    username: str | None = None
    """The user's name, where `claim_mappings.username` looks for it."""
    roles: list[str] | None = None
    """The provider's roles, not ours, where `claim_mappings.roles` looks for them."""
    scopes: list[str] | None = None
    """The token's scopes."""
    client_id: str | None = None
    """The client that got the token."""
    actors: list[str] = field(default_factory=list[str])
    """Subjects of the `act` chain, the current actor first."""
    claims: dict[str, object] = field(default_factory=dict[str, object])
    """Any other claims."""


def read_session(path: Path, auth: AuthSettings) -> Session:
    """The session that the file describes.

    Raises:
        ConfigurationError: with everything that is wrong with the file.
        AuthenticationError: a token with these claims would be refused.
    """
    problems = Problems()
    described = read_settings(SessionDescription, read_file(path), "", problems)
    if described is None:
        raise ConfigurationError([f"{path}: {problem}" for problem in problems])
    issuer = _issuer(described, auth.trusted_idps, problems)
    _check(described.claims, "claims", problems)
    if issuer is not None and not problems:
        claims = _claims(described, issuer, problems)
        if not problems:
            return session_of(claims, issuer, auth.permissions)
    raise ConfigurationError([f"{path}: {problem}" for problem in problems])


def session_of(claims: dict[str, object], issuer: TrustedIssuer, permissions: Permissions) -> Session:
    """The session of a token of ``issuer`` with ``claims``. Raises AuthenticationError."""
    return SessionFactory(issuer, permissions).make("", claims, math.inf)


def _issuer(described: SessionDescription, issuers: list[TrustedIssuer], problems: Problems) -> TrustedIssuer | None:
    if described.provider is None and len(issuers) == 1:
        return issuers[0]
    found = next((each for each in issuers if each.name == described.provider), None)
    if found is None:
        what = "is required" if described.provider is None else "is none of the trusted identity providers"
        problems.add("provider", f"{what}; there are {', '.join(each.name for each in issuers)}")
    return found


def _claims(described: SessionDescription, issuer: TrustedIssuer, problems: Problems) -> dict[str, object]:
    mappings = issuer.claim_mappings
    claims = {"iss": issuer.issuer, "aud": list(issuer.audience), **described.claims}
    said: dict[str, tuple[str, object]] = {
        "subject": (mappings.user_id, described.subject),
        "username": (mappings.username, described.username),
        "roles": (mappings.roles, described.roles),
        "scopes": (mappings.scopes or "scope", None if described.scopes is None else " ".join(described.scopes)),
        "client_id": ("client_id", described.client_id),
        "actors": ("act", _chain(described.actors)),
    }
    for name, (path, value) in said.items():
        if value is None:
            continue
        if ClaimPath(path).find(claims) is not None:
            problems.add(name, f"claims has {path} already: say it once")
        elif not _put(claims, path, value):
            problems.add(name, f"there is no room for {path} in claims")
    return claims


def _put(claims: dict[str, object], path: str, value: object) -> bool:
    """Put ``value`` where a token would have it: at the path's dots in nested objects, a URL as it is."""
    *outer, last = [path] if "://" in path else path.split(".")
    place = claims
    for step in outer:
        inner = place.setdefault(step, {})
        if not isinstance(inner, dict):
            return False
        place = cast("dict[str, object]", inner)
    place[last] = value
    return True


def _chain(actors: list[str]) -> object:
    chain: object = None
    for actor in reversed(actors):
        chain = {"sub": actor} if chain is None else {"sub": actor, "act": chain}
    return chain


def _check(value: object, path: str, problems: Problems, depth: int = 0) -> None:
    """Claims are JSON: TOML has more than that."""
    if depth > _DEEPEST:
        problems.add(path, f"is nested more than {_DEEPEST} deep")
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[str, object]", value).items():
            _check(item, f"{path}.{key}", problems, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            _check(item, f"{path}[{index}]", problems, depth + 1)
    elif isinstance(value, date | time) or (isinstance(value, float) and not math.isfinite(value)):
        problems.add(path, "is nothing that a token can hold: write a number or a string")
