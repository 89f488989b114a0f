"""Web pages of allowed origins can call; others cannot even ask."""

import pytest

from actas.mcp.cors import Cors

from .conftest import WIRES, InProcess, Serve, Stage

pytestmark = pytest.mark.anyio

PAGE = "https://app.example"
ASKED = "authorization, content-type, dpop, mcp-protocol-version, mcp-method, mcp-name, mcp-param-x"


def preflight(origin: str, wanted: str = ASKED) -> dict[str, str]:
    return {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": wanted}


async def test_a_page_of_an_allowed_origin_may_ask_without_a_token(serve: Serve) -> None:
    async with serve(allowed_origins=[PAGE]) as stage:
        answer = await stage.http.options(stage.url, headers=preflight(PAGE))
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-length" not in answer.headers
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-methods"] == "POST"
        assert answer.headers["access-control-allow-headers"] == ASKED
        assert "origin" in answer.headers["vary"].lower()
        assert "access-control-allow-credentials" not in answer.headers
        assert stage.sink.entries() == []


async def test_a_page_may_not_send_just_any_header(serve: Serve) -> None:
    async with serve(allowed_origins=[PAGE]) as stage:
        for wanted in ("x-forwarded-for, cookie, Authorization", "*, authorization", "mcp-, mcp-_x, authorization"):
            answer = await stage.http.options(stage.url, headers=preflight(PAGE, wanted))
            assert answer.headers["access-control-allow-headers"] == "authorization"
        answer = await stage.http.options(stage.url, headers=preflight(PAGE, ", ".join(["mcp-x"] * 2000)))
        assert len(answer.headers["access-control-allow-headers"]) < 500


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{PAGE}.evil.example", f"{PAGE}:8443", "*"])
async def test_a_page_of_another_origin_is_refused_and_can_read_nothing(serve: Serve, origin: str) -> None:
    async with serve(allowed_origins=[PAGE]) as stage:
        for answer in (
            await stage.http.options(stage.url, headers=preflight(origin)),
            await stage.post(stage.token(), headers={"origin": origin}),
        ):
            assert answer.status_code == 403
            assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_where_no_origin_is_allowed_a_preflight_is_refused(stage: Stage) -> None:
    answer = await stage.http.options(stage.url, headers=preflight(PAGE))
    assert answer.status_code == 403
    assert stage.sink.entries() == []


@WIRES
async def test_a_page_can_read_every_answer_and_the_challenge_in_it(serve: Serve, version: str) -> None:
    async with serve(allowed_origins=[PAGE]) as stage:
        alice = stage.token("alice")
        answers = [
            await stage.post(token, version=version, headers={"origin": PAGE}) for token in (None, "x.y.z", alice)
        ]
        answers.append(await stage.call(alice, "toy-write", {"text": "x"}, version=version, headers={"origin": PAGE}))
        assert [each.status_code for each in answers] == [401, 401, 200, 403]
        for each in answers:
            assert each.headers["access-control-allow-origin"] == PAGE
            assert "www-authenticate" in each.headers["access-control-expose-headers"]
            assert "origin" in each.headers["vary"].lower()
        assert all("www-authenticate" in each.headers for each in answers if each.status_code != 200)
        plain = await stage.post(alice, version=version)
        assert "access-control-allow-origin" not in plain.headers


async def test_a_second_origin_header_is_no_origin(serve: Serve) -> None:
    async with serve(allowed_origins=[PAGE]) as stage:
        headers = [(name.encode(), value.encode()) for name, value in preflight(PAGE).items()]
        ask = InProcess(stage.server.asgi_app())
        status, *_ = await ask(b"", [*headers, (b"origin", b"https://evil.example")], method="OPTIONS")
        assert status == 401


def test_any_port_is_digits_and_nothing_else() -> None:
    cors = Cors(["http://localhost:*"])
    ports = {":5173": True, ":": False, "": False, ":1.evil.example": False, ":1@evil.example": False}
    for port, known in ports.items():
        origin = f"http://localhost{port}"
        headers = [(name.encode(), value.encode()) for name, value in preflight(origin).items()]
        answer = cors.answer({"method": "OPTIONS", "headers": headers})
        assert answer is not None
        assert (answer.status == 204) is known, origin
