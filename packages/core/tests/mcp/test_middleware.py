"""The door around a Starlette or FastAPI application that was written without us."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute

from actas.core import Authorization, ConfigurationError, DelegationRefused, MemorySink, Outcome, Session
from actas.mcp import DoorMiddleware, current_pipeline, current_session, requires
from actas.mcp.settings import LimitSettings
from actas.testing.idp import IdentityProvider

from .conftest import ROLES, settings_for
from .serving import Served, serving
from .test_door import Full
from .test_tokens import challenge_of

pytestmark = pytest.mark.anyio

SCOPES = frozenset({"toy.read", "toy.extra"})
BOSS = requires("toy:break")


def api() -> FastAPI:
    """A FastAPI application with a lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.living = True
        yield
        app.state.living = False

    app = FastAPI(lifespan=lifespan)

    @app.get("/whoami")
    async def whoami(request: Request) -> dict[str, object]:
        return {"user": current_session(request).username, "living": request.app.state.living}

    @app.get("/orders/{number}")
    async def order(number: int, session: Annotated[Session, Depends(requires("toy:use", SCOPES))]) -> str:
        return f"{number} for {session.username}"

    @app.get("/boss", dependencies=[Depends(BOSS)])
    def boss() -> str:  # in a thread
        return "boss"

    @app.get("/late")
    async def late(request: Request) -> str:
        Authorization(current_session(request)).require_all_scopes(SCOPES)
        return "late"

    @app.get("/at-last")
    async def at_last(request: Request) -> str:
        await asyncio.sleep(max(0.0, current_session(request).expires_at - time.time()) + 0.1)
        await requires("toy:use")(request)
        return "too late"

    @app.get("/crash")
    async def crash() -> str:
        raise RuntimeError("password=hunter2")

    @app.get("/refused")
    async def refused() -> str:
        raise DelegationRefused(detail="the downstream said no")

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def stream() -> AsyncIterator[bytes]:
            for number in range(3):
                yield f"data: {number}\n\n".encode()
                await asyncio.sleep(0)

        return StreamingResponse(stream(), media_type="text/event-stream")

    @app.get("/health")
    async def health() -> str:
        return "well"

    @app.get("/open/boss", dependencies=[Depends(BOSS)])
    async def open_boss() -> str:
        return "nobody can get here"

    @app.get("/delegate")
    async def delegate(request: Request) -> str:
        return str(len(list(current_pipeline(request).registry.items())))

    return app


def starlette() -> Starlette:
    """The same routes in Starlette, in part mounted."""

    async def whoami(request: Any) -> JSONResponse:
        return JSONResponse({"user": current_session(request).username, "living": True})

    async def order(request: Any) -> JSONResponse:
        session = await requires("toy:use", SCOPES)(request)
        return JSONResponse(f"{request.path_params['number']} for {session.username}")

    async def boss(request: Any) -> JSONResponse:
        await BOSS(request)
        return JSONResponse("boss")

    async def late(request: Any) -> JSONResponse:
        Authorization(current_session(request)).require_all_scopes(SCOPES)
        return JSONResponse("late")

    async def health(request: Any) -> JSONResponse:
        return JSONResponse("well")

    inner = Starlette(routes=[Route("/orders/{number}", order), Route("/boss", boss), Route("/late", late)])
    return Starlette(routes=[Route("/whoami", whoami), Route("/health", health), Mount("/", inner)])


def wrapped(app: Any, **options: Any) -> Any:
    return DoorMiddleware(app, **options)


def added(app: Any, **options: Any) -> Any:
    app.add_middleware(DoorMiddleware, **options)
    return app


Protect = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def protect(idp: IdentityProvider, sink: MemorySink) -> Protect:
    @asynccontextmanager
    async def protect(app: Any, put: Any = added, **options: Any) -> AsyncIterator[Served]:
        def made(port: int) -> Any:
            settings = settings_for(idp.trusted(role_mappings=ROLES), resource=f"http://127.0.0.1:{port}/")
            given = {"public": ["/health", "/open/*"], "scopes": ["toy.read"], "audit_sink": sink, **options}
            return put(app, configuration=settings, **given)

        async with serving(made) as served:
            yield served

    return protect


async def get(served: Served, path: str, token: str | None = None) -> httpx2.Response:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return await served.http.get(served.origin + path, headers=headers)


APPS = pytest.mark.parametrize("app", [api, starlette])
WAYS = pytest.mark.parametrize("put", [added, wrapped])


@APPS
@WAYS
async def test_a_route_knows_who_calls_and_without_a_token_nobody_gets_there(
    protect: Protect, idp: IdentityProvider, app: Any, put: Any
) -> None:
    async with protect(app(), put) as served:
        assert (await get(served, "/whoami", idp.issue("alice"))).json() == {"user": "alice", "living": True}
        for path in ("/whoami", "/nothing", "/orders/7", "/", "/openapi.json", "/health/", "/health/..", "/open"):
            response = await get(served, path)
            assert response.status_code == 401, path
            assert "error" not in challenge_of(response) and challenge_of(response)["scope"] == "toy.read"
        assert challenge_of(await get(served, "/whoami", "bad"))["error"] == "invalid_token"
        assert (await get(served, "/health")).json() == "well"
        assert (await get(served, "/nothing", idp.issue("alice"))).status_code == 404


@APPS
@WAYS
async def test_the_metadata_is_where_the_challenge_says(
    protect: Protect, idp: IdentityProvider, app: Any, put: Any
) -> None:
    async with protect(app(), put) as served:
        where = challenge_of(await get(served, "/whoami"))["resource_metadata"]
        assert where == f"{served.origin}/.well-known/oauth-protected-resource"
        metadata = (await served.http.get(where)).json()
        assert (metadata["resource"], metadata["scopes_supported"]) == (f"{served.origin}/", ["toy.read"])
        assert metadata["authorization_servers"] == [idp.issuer]
        assert (await served.http.post(where)).status_code == 405


@APPS
@WAYS
@pytest.mark.parametrize("path", ["/orders/7", "/late"])
async def test_a_missing_scope_is_a_403_to_step_up_from(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, app: Any, put: Any, path: str
) -> None:
    async with protect(app(), put) as served:
        response = await get(served, path, idp.issue("alice"))
        assert response.status_code == 403
        challenge = challenge_of(response)
        assert (challenge["error"], challenge["scope"]) == ("insufficient_scope", "toy.extra toy.read")
        assert (sink.entries()[-1].source, sink.entries()[-1].code) == ("http", "insufficient_scope")
        assert (await get(served, path, idp.issue("alice", scopes=list(SCOPES)))).status_code == 200


@APPS
@WAYS
async def test_a_missing_permission_is_a_403_without_a_challenge(
    protect: Protect, idp: IdentityProvider, sink: MemorySink, app: Any, put: Any
) -> None:
    async with protect(app(), put) as served:
        response = await get(served, "/boss", idp.issue("alice"))
        assert (response.status_code, response.json()["error"]) == (403, "permission_denied")
        assert "www-authenticate" not in response.headers and "toy:break" not in response.text
        event = sink.entries()[-1]
        assert (event.code, event.outcome, event.reason) == (
            "permission_denied", Outcome.REFUSED, "needs the permission toy:break"
        )  # fmt: skip
        assert (await get(served, "/boss", idp.issue("bob"))).json() == "boss"


async def test_every_request_is_one_event_that_holds_no_parameter(
    protect: Protect, idp: IdentityProvider, sink: MemorySink
) -> None:
    async with protect(api()) as served:
        token = idp.issue("alice", scopes=list(SCOPES))
        for path in ("/orders/4711?secret=x", "/crash", "/refused", "/nothing", "/orders/4711x"):
            await get(served, path, token)
    events = sink.entries(source="http")
    assert [(e.action, e.tool, e.code, e.outcome) for e in events] == [
        ("GET", "/orders/{number}", None, Outcome.SUCCESS),
        ("GET", "/crash", "http_500", Outcome.FAILED),
        ("GET", "/refused", "http_500", Outcome.FAILED),
        ("GET", None, "http_404", Outcome.REFUSED),
        ("GET", "/orders/{number}", "http_422", Outcome.REFUSED),
    ]
    assert len({event.request_id for event in events}) == 5 and all(event.subject == "alice" for event in events)
    assert "4711" not in repr(events) and "hunter2" not in repr(events)


async def test_a_stream_is_let_through_piece_by_piece(protect: Protect, idp: IdentityProvider) -> None:
    async with protect(api()) as served:
        headers = {"authorization": f"Bearer {idp.issue('alice')}"}
        async with served.http.stream("GET", f"{served.origin}/events", headers=headers) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert [line async for line in response.aiter_lines() if line] == ["data: 0", "data: 1", "data: 2"]


async def test_a_token_that_runs_out_while_a_route_is_busy_is_challenged_anew(
    protect: Protect, idp: IdentityProvider, sink: MemorySink
) -> None:
    async with protect(api()) as served:
        token = idp.issue("alice", expires_in=-58)  # the tolerance for clocks is a minute
        response = await get(served, "/at-last", token)
        assert (response.status_code, challenge_of(response)["error"]) == (401, "invalid_token")
    assert sink.entries()[-1].code == "session_expired"


async def test_a_public_route_that_asks_for_a_permission_lets_nobody_through(
    protect: Protect, idp: IdentityProvider
) -> None:
    async with protect(api()) as served:
        assert (await get(served, "/open/boss")).status_code == 500
        assert (await get(served, "/open/boss", idp.issue("bob"))).status_code == 500


@pytest.mark.parametrize(
    "path",
    [
        "/open/../boss", "/open/%2e%2e/boss", "/open/%252e%252e/boss", "/open/%25252e./boss", "/open\\..\\boss",
        "/open/..%2fboss", "/open/..%5cboss", "/open/..;/boss", "/open/..;x=1/boss", "/open/.;/../boss", "/open/%2e/x",
        "//open/x", "/Open/x", "/open%00/x", "/./open/x", "/health/", "/health;x", "//health", "/health/..",
        "/health%20",
    ],
)  # fmt: skip
async def test_no_spelling_of_a_path_is_public_that_could_be_read_as_another(protect: Protect, path: str) -> None:
    """To the byte as the client sends it: an application may normalise or decode what the door saw once more."""
    async with protect(api()) as served:
        host, port = served.origin.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n".encode())
        status = (await reader.read()).split(b" ", 2)[1]
        writer.close()
        assert status in (b"401", b"400"), path


async def test_without_minutes_nothing_is_answered(protect: Protect, idp: IdentityProvider) -> None:
    full = Full()
    async with protect(api(), audit_sink=full) as served:
        token = idp.issue("alice")
        assert (await get(served, "/whoami", token)).status_code == 200
        full.full = True
        for _ in range(2):
            response = await get(served, "/whoami", token)
            assert (response.status_code, response.json()["error"]) == (503, "audit_unavailable")
        full.full = False
        assert (await get(served, "/whoami", token)).status_code == 200


async def test_paths_are_those_of_the_application_wherever_it_is_mounted(
    protect: Protect, idp: IdentityProvider
) -> None:
    def mounted(app: Any, **options: Any) -> Any:
        return DoorMiddleware(Starlette(routes=[Mount("/api", app)]), **{**options, "public": ["/api/health"]})

    async with protect(starlette(), mounted) as served:
        assert (await get(served, "/api/health")).json() == "well"
        assert (await get(served, "/health")).status_code == 401
        assert (await get(served, "/api/whoami", idp.issue("alice"))).json()["user"] == "alice"
    for root, path, passes in (("/api", "/api/health", True), ("/api", "/health", True), ("/ap", "/api/health", False)):
        sent: list[dict[str, Any]] = []
        app = DoorMiddleware(starlette(), settings_for(idp.trusted()), public=["/health"], audit_sink=MemorySink())
        app._opened = True
        scope = {"type": "http", "method": "GET", "path": path, "root_path": root, "headers": [], "query_string": b""}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any, sent: list[dict[str, Any]] = sent) -> None:
            sent.append(message)

        await app(scope, receive, send)
        assert (sent[0]["status"] == 200) is passes
        await app._site.close()


async def test_a_websocket_is_refused(idp: IdentityProvider) -> None:
    async def socket(websocket: Any) -> None:
        raise AssertionError("nobody gets here")

    app = DoorMiddleware(
        Starlette(routes=[WebSocketRoute("/ws", socket)]), settings_for(idp.trusted()), audit_sink=MemorySink()
    )
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {idp.issue('alice')}".encode())]
    await app({"type": "websocket", "path": "/ws", "headers": headers}, None, send)  # type: ignore[arg-type]  # unread
    assert sent == [{"type": "websocket.close", "code": 1008}]
    await app._site.close()


async def test_the_door_is_shut_until_the_lifespan_has_begun(idp: IdentityProvider) -> None:
    app = DoorMiddleware(api(), settings_for(idp.trusted()), audit_sink=MemorySink())
    with pytest.raises(RuntimeError, match="the lifespan of the application"):
        await app({"type": "http", "path": "/whoami", "headers": []}, None, None)  # type: ignore[arg-type]  # unread
    await app._site.close()


async def test_what_is_wrong_with_the_configuration_stops_the_start(idp: IdentityProvider) -> None:
    for public in ("health", "/a*", "/*", "*", ""):
        with pytest.raises(ConfigurationError, match="is no path"):
            DoorMiddleware(api(), settings_for(idp.trusted()), public=[public], audit_sink=MemorySink())
    app = Starlette(middleware=[Middleware(DoorMiddleware, configuration={"auth": {}})])
    with pytest.raises(ConfigurationError, match="trusted_idps"):
        await app({"type": "lifespan", "app": app}, None, None)  # type: ignore[arg-type]  # unread


@APPS
async def test_limits_hold_before_an_application_too(idp: IdentityProvider, sink: MemorySink, app: Any) -> None:
    def made(port: int) -> Any:
        settings = settings_for(idp.trusted(role_mappings=ROLES), resource=f"http://127.0.0.1:{port}/")
        limited = replace(settings, limits=LimitSettings(per_user="2/hour", concurrent=1))
        return added(app(), configuration=limited, audit_sink=sink)

    async with serving(made) as served:
        answers = [await get(served, "/whoami", idp.issue("alice")) for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]
        assert int(answers[-1].headers["retry-after"]) > 1
        assert (await get(served, "/nothing", idp.issue("bob"))).status_code == 404
        assert (await get(served, "/whoami", idp.issue("bob"))).status_code == 200
    assert [each.code for each in sink.entries(source="limits")] == ["too_many_requests"]
