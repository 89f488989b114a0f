"""The service for tests believes tokens that the provider signed for it, and nothing else."""

from collections.abc import Iterator

import httpx2
import pytest

from actas.testing.idp import IdentityProvider
from actas.testing.token_service import Answered, Asked, TokenService
from actas.testing.tokens import tampered, unsigned

AUDIENCE = "https://notes.example"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as running:
        yield running


@pytest.fixture
def service(provider: IdentityProvider) -> Iterator[TokenService]:
    def echo(asked: Asked) -> Answered:
        return Answered({"user": asked.user, "sent": asked.json() if asked.body else None}, 201)

    with TokenService(provider, AUDIENCE, echo) as running:
        yield running


def ask(service: TokenService, authorization: str | None, **more: object) -> httpx2.Response:
    headers = {} if authorization is None else {"authorization": authorization}
    return httpx2.request("POST", f"{service.url}/notes", headers=headers, trust_env=False, timeout=10, **more)


def test_it_knows_the_user_by_the_token(provider: IdentityProvider, service: TokenService) -> None:
    for user in ("alice", "bob"):
        answer = ask(service, f"Bearer {provider.issue(user, audience=AUDIENCE)}", json={"user": "carol"})
        assert (answer.status_code, answer.json()) == (201, {"user": user, "sent": {"user": "carol"}})
    assert [(asked.user, asked.method, asked.target) for asked in service.seen] == [
        ("alice", "POST", "/notes"),
        ("bob", "POST", "/notes"),
    ]


@pytest.mark.parametrize(
    "token",
    ["none", "another audience", "another issuer", "expired", "tampered", "unsigned", "another scheme", "rubbish"],
)
def test_it_lets_nobody_in_without_one_that_is_for_it(
    provider: IdentityProvider, service: TokenService, token: str
) -> None:
    good = provider.issue("alice", audience=AUDIENCE)
    authorization = {
        "none": None,
        "another audience": f"Bearer {provider.issue('alice')}",
        "another issuer": f"Bearer {provider.issue('alice', audience=AUDIENCE, claims={'iss': 'https://evil.example'})}",
        "expired": f"Bearer {provider.issue('alice', audience=AUDIENCE, expires_in=-5)}",
        "tampered": f"Bearer {tampered(good)}",
        "unsigned": f"Bearer {unsigned(provider.claims('alice', aud=AUDIENCE))}",
        "another scheme": f"DPoP {good}",
        "rubbish": "Bearer x.y.z",
    }[token]
    assert ask(service, authorization).status_code == 401
    assert not service.seen


def test_it_says_how_it_is_to_anybody(service: TokenService) -> None:
    assert httpx2.get(f"{service.url}/health", trust_env=False).json() == {"healthy": True}


def test_in_an_outage_nobody_answers_not_even_on_a_connection_that_was_kept(
    provider: IdentityProvider, service: TokenService
) -> None:
    address = service.url
    with httpx2.Client(trust_env=False, timeout=10) as client:
        assert client.get(f"{address}/health").status_code == 200
        with service.outage():
            for _ in range(2):
                with pytest.raises(httpx2.TransportError):
                    client.get(f"{address}/health")
        assert service.url == address
        assert client.get(f"{address}/health").status_code == 200
