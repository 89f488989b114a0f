"""The short way against the SDK's: whatever is sent, both answer alike and keep the same minutes."""

import copy
import json
import os
import random
from typing import Any

import pytest

from actas.core import MemorySink
from actas.core.pipeline import request_id
from actas.mcp import MCPOAuthServer
from actas.mcp.receipts import RECEIPT_KEY
from actas.mcp.short_way import ShortWay
from actas.testing.idp import IdentityProvider
from actas.testing.tokens import make_session

from .conftest import HANDSHAKE, MODERN, InProcess, Toy, request, settings_for

pytestmark = pytest.mark.anyio

ROUNDS = int(os.environ.get("ACTAS_FUZZ_ROUNDS", "4000"))
SESSIONS = [
    make_session("alice", permissions=["toy:use"], scopes=["toy.read"]),
    make_session("bob", permissions=["toy:use", "toy:break"], scopes=["toy.read", "toy.write", "toy.extra"]),
    make_session("guest"),
    make_session("late", permissions=["toy:use"], expires_in=-1),
]
NAMES = ["toy-say", "toy-say", "toy-take", "toy-take", "toy-data", "toy-fail", "toy-crash", "toy-write", "toy-break",
         "user-info", "health-check", "nothing", "", "toy-sayé", "=?base64?dG95LXNheQ==?="]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 1.5, 1e308, 2**53, 2**63, 2**64, -(2**70), "", "x", "toy-say", "é", "\x00", "\ud800",
    "2.0", [], {}, [[]], {"a": None}, {"": 1}, float("nan"), float("inf"), "x" * 300, {"progressToken": 1},
    {"progressToken": True}, {"progressToken": "t"}, {"progressToken": 1.5}, "tools/list", "tools/call", MODERN,
]  # fmt: skip
VERSIONS = [
    MODERN,
    MODERN,
    MODERN,
    MODERN,
    MODERN,
    HANDSHAKE,
    HANDSHAKE,
    HANDSHAKE,
    "2025-06-18",
    "2025-03-26",
    "2024-11-05",
    "1999-01-01",
    "",
]
HEADERS: list[tuple[bytes, list[bytes]]] = [
    (b"host", [b"127.0.0.1:8080", b"localhost:1", b"evil.example", b"", b"127.0.0.1", b"[::1]:8080", b"localhost:"]),
    (b"content-type", [b"application/json", b"application/json; charset=utf-8", b"APPLICATION/JSON", b"text/plain",
                       b"application/json-seq", b""]),
    (b"accept", [b"*/*", b"application/json", b"application/*", b"text/html", b"", b"application/json;q=0",
                 b"\xa0application/json", b"text/event-stream", b"APPLICATION/JSON , x"]),
    (b"mcp-protocol-version", [version.encode() for version in VERSIONS] + [b" 2026-07-28", b"2026-07-28 "]),
    (b"mcp-method", [b"tools/list", b"tools/call", b"", b"TOOLS/LIST", b"tools/call "]),
    (b"mcp-name", [name.encode() for name in NAMES] + [b"toy-say ", b"TOY-SAY", b"\xe9"]),
    (b"content-length", [b"0", b"1", b"x", b"-1", b"+5", b"99999", b"100000", b"", b" 10", "²".encode()]),
    (b"origin", [b"http://localhost", b"https://evil.example", b"null", b""]),
    (b"mcp-session-id", [b"x"]),
    (b"last-event-id", [b"1"]),
    (b"transfer-encoding", [b"chunked"]),
    (b"content-encoding", [b"gzip"]),
    (b"mcp-param-text", [b"x"]),
    (b"x-anything", [b"y"]),
    (b"authorization", [b"Basic x"]),
]  # fmt: skip
RAW = [b"", b"null", b"[]", b"{", b"\xff", b"\xef\xbb\xbf{}", b"{}", b"1", b'"', b"[" * 5000, b'{"a":' * 3000, b"\x00",
       b'{"jsonrpc":"2.0"}', "{}".encode("utf-16")]  # fmt: skip


class Fuzzer:
    """Makes requests, most of them nearly right."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def request(self) -> tuple[bytes | list[bytes], list[tuple[bytes, bytes]], dict[str, Any]]:
        pick = self.random
        version = pick.choice(VERSIONS)
        method = pick.choices(["tools/call", "tools/list", "ping", "server/discover", "x"], [12, 5, 1, 1, 1])[0]
        params = {} if method != "tools/call" else {"name": pick.choice(NAMES), "arguments": self.arguments()}
        named, body = request(method, params, version)
        headers = [(name.encode(), value.encode()) for name, value in named.items()]
        headers.append((b"host", b"127.0.0.1:8080"))
        while pick.random() < 0.22:
            self.spoil(body)
        content = self.encoded(body)
        headers.append((b"content-length", str(len(content)).encode()))
        while pick.random() < 0.2:
            self.spoil_headers(headers)
        options: dict[str, Any] = {}
        if pick.random() < 0.02:
            options["query"] = b"a=b"
        if pick.random() < 0.02:
            options["method"] = pick.choice(["GET", "PUT", "DELETE", "OPTIONS"])
        if pick.random() < 0.03:
            options["disconnects"] = True
        if pick.random() < 0.15:
            cuts = sorted(pick.randrange(len(content) + 1) for _ in range(pick.randint(1, 3)))
            return [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)], headers, options
        return content, headers, options

    def arguments(self) -> dict[str, Any]:
        pick = self.random
        good: dict[str, Any] = {"text": "x"}
        return pick.choice(
            [{}, good, good, {"text": "x", "times": 3}, {"value": pick.choice(VALUES)}, {"text": pick.choice(VALUES)},
             {"module": "toy"}, {"module": "nothing"}]
        )  # fmt: skip

    def spoil(self, body: dict[str, Any]) -> None:
        """Change one thing somewhere."""
        pick = self.random
        where: dict[str, Any] = body
        while True:
            inner = [value for value in where.values() if isinstance(value, dict)]
            if not inner or pick.random() < 0.4:
                break
            where = pick.choice(inner)
        key = pick.choice([*where, "extra", "id", "_meta"])
        if pick.random() < 0.3:
            where.pop(key, None)
        else:
            where[key] = copy.deepcopy(pick.choice(VALUES))

    def encoded(self, body: dict[str, Any]) -> bytes:
        pick = self.random
        if pick.random() < 0.03:
            return pick.choice(RAW)
        text = json.dumps(body, ensure_ascii=pick.random() < 0.5)
        content = text.encode("utf-8", "surrogatepass")
        if pick.random() < 0.03:
            content = content.replace(b'"id"', b'"id": 5, "id"')
        if pick.random() < 0.02:
            content = content.replace(b"1", b"1e999").replace(b"{}", b"[" * 190 + b"]" * 190)
        if pick.random() < 0.06:
            at = pick.randrange(len(content))
            content = content[:at] + bytes([pick.randrange(256)]) + content[at + pick.randint(0, 1) :]
        return content

    def spoil_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        pick = self.random
        name, values = pick.choice(HEADERS)
        at = next((index for index, (known, _) in enumerate(headers) if known == name), None)
        if at is None or pick.random() < 0.2:
            headers.insert(pick.randrange(len(headers) + 1), (name, pick.choice(values)))
        elif pick.random() < 0.4:
            del headers[at]
        else:
            headers[at] = (name, pick.choice(values))


def plain(headers: dict[bytes, bytes], body: bytes) -> tuple[bytes | None, object]:
    try:
        content: object = json.loads(body)
    except ValueError:
        content = body
    return headers.get(b"content-type"), content


def minutes(sink: MemorySink) -> list[tuple[object, ...]]:
    events = sink.entries()
    sink.clear()
    return [(e.source, e.outcome, e.action, e.subject, e.tool, e.code, e.reason, e.receipt) for e in events]


class Ways:
    """Both endpoints over one guard."""

    def __init__(self, idp: IdentityProvider, sink: MemorySink, toy: Toy) -> None:
        self.server = MCPOAuthServer(settings_for(idp.trusted()), audit_sink=sink)
        self.server.register_delegation_module("toy", toy)
        self.sink, self.toy = sink, toy
        self.door = self.server.asgi_app(port=8080)
        short = self.server._sites.current.endpoint  # pyright: ignore[reportPrivateUsage] -- the two ways, without the door
        assert isinstance(short, ShortWay)
        sdk = short._endpoint  # pyright: ignore[reportPrivateUsage]
        self.taken_short = 0

        async def counted(*request: Any) -> None:
            self.taken_short -= 1
            await sdk(*request)

        setattr(short, "_endpoint", counted)  # noqa: B010 -- passes on, and is no McpEndpoint
        self.short, self.sdk = InProcess(short), InProcess(sdk)

    async def ask(self, way: InProcess, session: Any, sent: Any) -> tuple[object, ...]:
        body, headers, options = sent
        context = request_id.set("r")
        try:
            status, got, content = await way(body, list(headers), extra=(session,), **options)
        finally:
            request_id.reset(context)
        self.taken_short += way is self.short
        calls = list(self.toy.calls)
        self.toy.calls.clear()
        return status, *plain(got, content), minutes(self.sink), calls


@pytest.fixture
def ways(idp: IdentityProvider, sink: MemorySink, toy: Toy) -> Ways:
    return Ways(idp, sink, toy)


# The SDK warns of bad hosts and logs defects at length; both ways do so in the same words.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
async def test_the_short_way_answers_as_the_sdk_does_and_keeps_the_same_minutes(
    ways: Ways, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    fuzzer = Fuzzer(int(os.environ.get("ACTAS_FUZZ_SEED", "7")))
    answered: dict[object, int] = {}
    async with ways.door.lifespan():
        for number in range(ROUNDS):
            sent = fuzzer.request()
            session = fuzzer.random.choice(SESSIONS)
            short = await ways.ask(ways.short, session, sent)
            sdk = await ways.ask(ways.sdk, session, sent)
            assert short == sdk, f"request {number} of {session.username}: {sent}"
            answered[short[0]] = answered.get(short[0], 0) + 1
            if short[0] == 500:
                assert sent[2].get("disconnects"), sent  # the SDK tells a client that has gone
    assert ways.taken_short > ROUNDS / 5
    assert {400, 403, 404, 421} <= answered.keys()


DATA: list[Any] = [
    None, True, 0, 1.5, -0.0, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400, "", "text", "é\x00\u2028", [], {},
    {"a": None, "b": [None, {"c": None}]}, [1, [2, [3]]], {"result": {"result": None}}, {"_meta": {"x": None}},
    {"error": None, "isError": True}, float("nan"), {"n": [float("inf"), -float("inf")]}, {"big": [2**64, 2**100]},
    (1, 2), {"k" * 5000: "v" * 5000},
]  # fmt: skip


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE, "2025-06-18", "2025-03-26"])
async def test_whatever_a_module_returns_both_ways_say_the_same(ways: Ways, version: str) -> None:
    headers, body = sent_call("toy-data", version)
    async with ways.door.lifespan():
        for answer in [*DATA, *(nested(depth) for depth in range(100, 252, 7)), ["row" * 100] * 5000]:
            ways.toy.answer = answer
            short = await ways.ask(ways.short, SESSIONS[0], (body, headers, {}))
            assert short == await ways.ask(ways.sdk, SESSIONS[0], (body, headers, {})), repr(answer)[:80]
            assert short[0] == 200
            content: Any = short[2]
            assert content["result"]["isError"] is False, repr(answer)[:80]
            assert content["result"]["_meta"][RECEIPT_KEY] == {"identity": "alice", "method": "toy", "details": {}}


NO_JSON: list[Any] = [
    b"hunter2", object(), {1: "a"}, {"a": {2**70: 1}}, "\ud800", {"\udfff": 1}, [{"x": {1, 2}}], 10**5000,
    *(nested(depth) for depth in (*range(252, 262), 300, 3000)),
]  # fmt: skip


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_what_is_no_json_is_a_clear_internal_error_recorded_once(
    ways: Ways, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers, body = sent_call("toy-data", version)
    circular: list[object] = []
    circular.append(circular)
    async with ways.door.lifespan():
        for answer in [*NO_JSON, circular]:
            ways.toy.answer = answer
            short = await ways.ask(ways.short, SESSIONS[0], (body, headers, {}))
            assert short == await ways.ask(ways.sdk, SESSIONS[0], (body, headers, {})), repr(answer)[:80]
            content: Any = short[2]
            assert content["result"]["isError"] is True, repr(answer)[:80]
            assert content["result"]["structuredContent"]["error"]["code"] == "internal"
            assert len(short[3]) == 1  # type: ignore[arg-type]  # the minutes
    assert "what toy-data returned is no JSON" in caplog.text
    assert "hunter2" not in caplog.text


async def test_integers_of_any_size_and_nulls_arrive_unchanged(ways: Ways) -> None:
    headers, body = sent_call("toy-data", MODERN)
    ways.toy.answer = {"big": 2**100, "none": None, "nan": float("nan")}
    async with ways.door.lifespan():
        _, _, content, *_ = await ways.ask(ways.short, SESSIONS[0], (body, headers, {}))
    result: Any = content
    assert result["result"]["structuredContent"] == {"big": 2**100, "none": None, "nan": None}
    assert json.loads(result["result"]["content"][0]["text"]) == {"big": 2**100, "none": None, "nan": None}


async def test_a_body_longer_than_it_says_is_never_taken_the_short_way(ways: Ways) -> None:
    headers, body = sent_call("toy-say", MODERN)
    headers[-1] = (b"content-length", str(len(body)).encode())
    async with ways.door.lifespan():
        for chunks in ([body, b" "], [body + b"x"], [b"", body[:5], body[5:], b"", b" " * 70_000]):
            sent = (chunks, headers, {})
            short = await ways.ask(ways.short, SESSIONS[0], sent)
            assert short == await ways.ask(ways.sdk, SESSIONS[0], sent)


async def test_a_body_without_end_is_not_read_to_the_end(ways: Ways) -> None:
    headers, body = sent_call("toy-say", MODERN)
    chunks = [body, *[b" " * 60_000] * 1000]
    left = list(chunks)

    async def app(scope: Any, receive: Any, send: Any, session: Any) -> None:
        async def counted() -> Any:
            left.pop()
            return await receive()

        await ways.short._app(scope, counted, send, session)  # pyright: ignore[reportPrivateUsage]

    async with ways.door.lifespan():
        status, *_ = await ways.ask(InProcess(app), SESSIONS[0], (chunks, headers, {}))
    assert status == 413
    assert len(chunks) - len(left) < 50


async def test_a_client_that_leaves_in_the_middle_of_the_body_has_nothing_carried_out(ways: Ways) -> None:
    headers, body = sent_call("toy-data", MODERN)
    async with ways.door.lifespan():
        for way in (ways.short, ways.sdk):
            for sent in ([body[:10]], [body], []):
                answer = await ways.ask(way, SESSIONS[0], (sent, headers, {"disconnects": True}))
                assert answer[-1] == []
                assert answer[-2] == []


def sent_call(name: str, version: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    named, message = request("tools/call", {"name": name, "arguments": {}}, version)
    body = json.dumps(message).encode()
    headers = [(key.encode(), value.encode()) for key, value in named.items()]
    return [*headers, (b"host", b"127.0.0.1:8080"), (b"content-length", str(len(body)).encode())], body
