"""How a credential is presented: one header, a proof where it is bound, and errors that count by their status."""

import pytest

from actas.core import Credential, PrincipalUnavailable, Secret
from actas.http import HttpClient, HttpSettings, ResponseTooLarge, present, presented

from .test_leftovers import answering

pytestmark = pytest.mark.anyio

URL = "https://api.example/x"


class Key:
    """Stands for a key of ours: the proof says what it was made for."""

    def __init__(self) -> None:
        self.nonces: list[str] = []

    def prove(self, method: str, url: str, token: Secret) -> str:
        return f"{method} {url} {token.reveal()} {''.join(self.nonces[-1:])}."

    def heed(self, url: str, nonce: str) -> None:
        self.nonces.append(nonce)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def credential(token: str = "abc", scheme: str = "Bearer", key: Key | None = None) -> Credential:
    return Credential(token=Secret(token), token_type=scheme, subject="alice", expires_at=0.0, prover=key)


def test_a_token_is_one_header_and_a_bound_one_has_a_proof() -> None:
    assert presented(credential(), "GET", URL) == {"authorization": "Bearer abc"}
    bound = presented(credential(scheme="DPoP", key=Key()), "POST", URL)
    assert bound == {"authorization": "DPoP abc", "dpop": f"POST {URL} abc ."}


@pytest.mark.parametrize(
    "wrong",
    [
        credential("a b"),
        credential("a\r\nx: y"),
        credential(""),
        credential("ä"),
        credential(scheme="Basic"),
        credential(scheme="DPoP"),
        credential(scheme="Bearer", key=Key()),
    ],
)
def test_a_credential_that_cannot_be_presented_is_not(wrong: Credential) -> None:
    with pytest.raises(PrincipalUnavailable):
        presented(wrong, "GET", URL)


async def test_an_error_counts_by_its_status_and_a_success_must_be_readable() -> None:
    client = HttpClient(HttpSettings(max_response_bytes=10))
    large = b"content-length: 1000\r\n\r\n" + b"x" * 1000
    packed = b"content-encoding: gzip\r\ncontent-length: 1\r\n\r\nx"
    for rest in (large, packed):
        async with answering(b"HTTP/1.1 401 Unauthorized\r\n" + rest, []) as origin:
            response = await present(client, "GET", origin, credential(), headers={})
            assert (response.status, response.body) == (401, b"")
    async with answering(b"HTTP/1.1 200 OK\r\n" + large, []) as origin:
        with pytest.raises(ResponseTooLarge):
            await present(client, "GET", origin, credential(), headers={})
    await client.aclose()


@pytest.mark.parametrize(
    ("challenge", "times"),
    [
        (b'www-authenticate: DPoP error="use_dpop_nonce"\r\ndpop-nonce: n1\r\n', 2),
        (b'www-authenticate: DPoP error="use_dpop_nonce"\r\ndpop-nonce: a b\r\n', 1),
        (b'www-authenticate: DPoP error="use_dpop_nonce"\r\n', 1),
        (b"dpop-nonce: n1\r\n", 1),
    ],
)
async def test_a_nonce_that_is_asked_for_is_given_once(challenge: bytes, times: int) -> None:
    client, key = HttpClient(), Key()
    sent: list[str] = []
    prove = key.prove

    def counted(method: str, url: str, token: Secret) -> str:
        sent.append(prove(method, url, token))
        return sent[-1]

    key.prove = counted  # type: ignore[method-assign] # counts
    answer = b"HTTP/1.1 401 Unauthorized\r\n" + challenge + b"content-length: 0\r\n\r\n"
    async with answering(answer, []) as origin:
        response = await present(client, "GET", origin, credential(scheme="DPoP", key=key), headers={})
        assert response.status == 401
        plain = await present(client, "GET", origin, credential(), headers={})
        assert plain.status == 401
    assert len(sent) == times and (times == 1 or sent[1].endswith("n1."))
    await client.aclose()
