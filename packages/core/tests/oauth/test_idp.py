"""The embedded identity provider, as the demo and a browser's hostile page meet it."""

import socket
import struct
import time
from urllib.parse import urlencode

import pytest

from actas.http import HttpClient
from actas.oauth import Authenticator
from actas.testing.idp import IdentityProvider

pytestmark = pytest.mark.anyio

_FORM = {"content-type": "application/x-www-form-urlencoded"}


async def test_a_user_gets_a_token_without_a_password_and_no_more_scopes_than_granted(
    idp: IdentityProvider, http: HttpClient, authenticator: Authenticator
) -> None:
    for asked, granted in (("", "sql:read"), ("sql:read sql:admin", "sql:read"), ("sql:admin", "")):
        body = urlencode({"user": "alice", "scope": asked, "resource": idp.audience}).encode()
        answer = (await http.request("POST", idp.token_endpoint, headers=_FORM, content=body)).json()
        assert (answer["token_type"], answer["scope"]) == ("Bearer", granted)
        session = await authenticator.authenticate(str(answer["access_token"]))
        assert (session.username, session.scopes) == ("alice", frozenset(granted.split()))


async def test_a_stranger_gets_none(idp: IdentityProvider, http: HttpClient) -> None:
    for body in (b"user=mallory", b"", b"user=", b"\xff\xfe", b"x" * 20_000):
        response = await http.request("POST", idp.token_endpoint, headers=_FORM, content=body)
        assert response.status in (400, 413)
        assert "access_token" not in response.json()


async def test_it_answers_nobody_who_calls_it_by_another_name(idp: IdentityProvider, http: HttpClient) -> None:
    headers = {**_FORM, "host": "rebound.example"}
    response = await http.request("POST", idp.token_endpoint, headers=headers, content=b"user=alice")
    assert response.status == 421


def test_it_listens_on_the_loopback_only(idp: IdentityProvider) -> None:
    port = int(idp.origin.rpartition(":")[2])
    assert idp.origin.startswith("http://127.0.0.1:")
    with socket.socket() as outside:
        outside.settimeout(1)
        assert outside.connect_ex(("127.0.0.2", port)) != 0


async def test_no_private_key_is_published(idp: IdentityProvider, http: HttpClient) -> None:
    body = (await http.request("GET", idp.origin + idp.jwks_path)).body
    assert body.count(b'"kid"') == 4
    for member in (b'"d"', b'"p"', b'"q"', b'"dp"', b'"dq"', b'"qi"'):
        assert member not in body


def test_a_client_that_hangs_up_leaves_no_traceback_and_a_fault_of_ours_does(
    idp: IdentityProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    host, port = idp.origin.removeprefix("http://").split(":")
    for answer, printed in ((b"x" * 5_000_000, False), (None, True)):
        idp.answers["/large"] = answer  # type: ignore[assignment]  # None is the fault
        with socket.create_connection((host, int(port))) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(f"GET /large HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            time.sleep(0.1)
        told = ""
        until = time.monotonic() + (10 if printed else 0.3)
        while time.monotonic() < until and "Traceback" not in told:
            time.sleep(0.02)
            told += capsys.readouterr().err
        assert ("Traceback" in told) is printed, told
    idp.answers.clear()
