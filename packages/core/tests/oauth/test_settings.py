"""What an operator writes about a provider, and what is said when it cannot be meant."""

from collections.abc import Callable
from typing import Any

import pytest

from actas.oauth.settings import ClaimMappings, KnownActor, RevocationSettings, TokenRules, TrustedIssuer


def issuer(**written: Any) -> TrustedIssuer:
    return TrustedIssuer(**{"name": "demo", "issuer": "https://idp.test", "audience": ["https://mcp.test"], **written})


IMPOSSIBLE: list[tuple[Callable[[], object], str]] = [
    (lambda: ClaimMappings(username=""), "username must name a claim"),
    (lambda: TokenRules(clock_tolerance=-1), "clock_tolerance must be"),
    (lambda: TokenRules(max_token_age=-1), "max_token_age must be"),
    (lambda: TokenRules(max_token_age=float("nan")), "max_token_age must be"),
    (lambda: TokenRules(token_types=[]), "token_types must name at least one"),
    (lambda: issuer(issuer=""), "name and issuer must not be empty"),
    (lambda: issuer(audience=[]), "audience must name at least one"),
    (lambda: issuer(audience=[""]), "audience must name at least one"),
    (lambda: issuer(algorithms=[]), "algorithms must name at least one"),
    (lambda: issuer(algorithms=["HS256"]), "HS256 is not accepted"),
    (lambda: issuer(algorithms=["none"]), "none is not accepted"),
    (lambda: issuer(issuer="our-idp"), "issuer is not a URL"),
    (lambda: issuer(issuer="http://[::1"), "issuer is not a URL"),
    (lambda: issuer(issuer="our-idp", jwks_uri="https://idp.test/keys", publish_metadata=True), "publish_metadata:"),
    (lambda: issuer(jwks_uri="file:///keys"), "jwks_uri must be an http or https URL"),
    (lambda: issuer(keys_refresh_interval=0), "keys_refresh_interval must be"),
    (lambda: issuer(keys_refresh_interval=90_000), "keys_refresh_interval must be"),
    (lambda: issuer(keys_refresh_cooldown=0), "keys_refresh_cooldown must be"),
    (lambda: issuer(actors=[KnownActor(subject="bot"), KnownActor(subject="bot", issuer="https://idp.test")]), "twice"),
    (lambda: KnownActor(subject=""), "subject"),
    (lambda: RevocationSettings(path=""), "path"),
]


@pytest.mark.parametrize(("made", "problem"), IMPOSSIBLE)
def test_what_cannot_be_meant_is_refused_and_named(made: Callable[[], object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        made()
