"""Unmodified clients, an authorization server that is not ours, and our server between them."""

import json
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from actas.core import (
    Action,
    DelegationCall,
    DelegationResult,
    Effect,
    Health,
    InsufficientScope,
    MemorySink,
    Pipeline,
    Receipt,
    Session,
)
from actas.core.roles import Permissions, RoleMappings
from actas.mcp import (
    AuthSettings,
    MCPOAuthServer,
    McpSettings,
    Prompt,
    Settings,
    create_delegation_resource,
)
from actas.testing._postgres_programs import free_port
from actas.testing.fixtures import needed_in_ci, oidc_provider
from actas.testing.idp import DemoUser
from actas.testing.node import environment, runnable
from actas.testing.oidc_provider import OidcProvider, Resource

__all__ = ["oidc_provider"]

WIRES = ["legacy", "2026-07-28"]
"""As both SDKs call them: the handshake of 2025-11-25 and before, and the one without it."""
SCOPES = ["shop.read", "shop.order", "shop.haggle"]
USERS = {
    "alice": DemoUser(roles=["staff"], scopes=SCOPES),
    "bob": DemoUser(roles=["staff"], scopes=["shop.read"]),
    "guest": DemoUser(scopes=SCOPES),
}
REDIRECT = "http://127.0.0.1:3000/callback"
"""Where clients want their users sent back to; nobody listens there."""
TYPESCRIPT = Path(__file__).parent / "typescript"
_CLIENT_SECONDS = 60

Step = tuple[str, Mapping[str, Any]] | tuple[str, Mapping[str, Any], Mapping[str, Any]]
"""What a client does: a method of the TypeScript client's, its parameters, and how patient that one is."""
Application = Callable[[str, "Browser", str, Sequence[Step]], Awaitable[list[dict[str, Any]]]]
"""Does the steps at a URL on one of the wires; returns the results as JSON."""


class Shop:
    """Delegates to nobody."""

    actions = (
        Action(name="look", description="Look.", permission="shop:use", scopes=frozenset({"shop.read"})),
        Action(
            name="order",
            description="Order.",
            permission="shop:use",
            scopes=frozenset({"shop.read", "shop.order"}),
            effect=Effect.WRITE,
        ),
        Action(name="wait", description="Takes a while.", permission="shop:use"),
        Action(name="haggle", description="Finds out on its way what it needs.", permission="shop:use"),
    )

    async def initialize(self) -> None: ...

    def principal(self, session: Session) -> str:
        return session.username

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        if call.action.name == "haggle" and "shop.haggle" not in call.session.scopes:
            raise InsufficientScope(frozenset({"shop.haggle"}))
        if call.action.name == "wait":
            await anyio.sleep(2)
        data = f"{call.action.name} as {call.session.username}"
        return DelegationResult(data=data, receipt=Receipt(identity=call.session.username, method="shop"))

    async def health_check(self) -> Health:
        return Health(healthy=True, message="open")

    async def destroy(self) -> None: ...


def _add_contents(server: MCPOAuthServer) -> None:
    """The same order as a resource and as a prompt. Neither names a scope: what it delegates to does."""

    async def order(call: DelegationCall, pipeline: Pipeline) -> object:
        return (await pipeline.delegate(call.session, "shop", "order", {}, tool=call.action.name)).data

    prompt = Action(name="order-prompt", description="Order.", permission="shop:use")
    server.register_prompt(Prompt(prompt, order))
    server.register_resource(
        create_delegation_resource("shop://order", "order", "Order.", module="shop", action="order", arguments={})
    )


@dataclass
class Browser:
    """A user at his browser, signed in at the provider under his name."""

    provider: OidcProvider
    user: str
    asked: list[set[str]] = field(default_factory=list[set[str]])
    """The scopes that he was asked to consent to, each time."""

    def visit(self, url: str) -> str:
        query = parse_qs(urlsplit(url).query)
        self.asked.append(set(query.get("scope", [""])[0].split()) - {"openid", "offline_access"})
        return self.provider.sign_in(url, self.user)


@dataclass
class Shopfront:
    """The shop's running server, and the provider that it trusts."""

    server: MCPOAuthServer
    provider: OidcProvider
    sink: MemorySink

    @property
    def url(self) -> str:
        return self.server.url


@asynccontextmanager
async def shop_of(
    provider: OidcProvider, *trusted: Mapping[str, Any], auth: Mapping[str, Any] | None = None, **resource: Any
) -> AsyncIterator[Shopfront]:
    """A server that trusts ``provider``, under each of the ``trusted`` settings and with those of ``auth``; its
    tokens are made as ``resource`` says."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    provider.users |= {name: user for name, user in USERS.items() if name not in provider.users}
    provider.resources[url] = Resource(scopes=SCOPES, **resource)
    provider.changed()
    ordinary = {"role_mappings": RoleMappings(user=["staff"]), "audience": [url]}
    issuers = [provider.trusted(**{**ordinary, **fields}) for fields in trusted or ({},)]
    settings = AuthSettings(trusted_idps=issuers, permissions=Permissions(user=["shop:use"]), **auth or {})
    sink = MemorySink()
    server = MCPOAuthServer(Settings(auth=settings, mcp=McpSettings(port=port)), audit_sink=sink)
    server.register_delegation_module("shop", Shop())
    _add_contents(server)
    await server.start()
    try:
        yield Shopfront(server, provider, sink)
    finally:
        await server.stop()


@pytest.fixture(scope="session")
def provider() -> Iterator[OidcProvider]:
    """One for all tests that leave its keys alone: each shop has a resource of its own there."""
    running = OidcProvider()
    with needed_in_ci():
        running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
async def shop(provider: OidcProvider) -> AsyncIterator[Shopfront]:
    async with shop_of(provider) as running:
        yield running


@pytest.fixture(params=["python", "typescript"])
def application(request: pytest.FixtureRequest) -> Application:
    """An application made with an unmodified SDK."""
    return {"python": python, "typescript": typescript}[request.param]


class ClientFailed(RuntimeError):
    """The TypeScript client gave up."""


class Memory(TokenStorage):
    """Tokens of one application."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@asynccontextmanager
async def python_client(url: str, browser: Browser, wire: str) -> AsyncIterator[Client]:
    """The Python SDK's client with its own OAuth."""
    landed: list[str] = []

    async def redirect(address: str) -> None:
        landed.append(await anyio.to_thread.run_sync(browser.visit, address))

    async def callback() -> AuthorizationCodeResult:
        query = {name: values[0] for name, values in parse_qs(urlsplit(landed.pop()).query).items()}
        return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))

    metadata = OAuthClientMetadata(
        client_name="python", redirect_uris=[AnyUrl(REDIRECT)], token_endpoint_auth_method="none"
    )
    oauth = OAuthClientProvider(url, metadata, Memory(), redirect_handler=redirect, callback_handler=callback)
    async with (
        httpx2.AsyncClient(auth=oauth, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=wire) as client,
    ):
        yield client


async def python(url: str, browser: Browser, wire: str, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The Python SDK."""
    methods: dict[str, Callable[..., Awaitable[Any]]] = {
        "listTools": Client.list_tools,
        "callTool": Client.call_tool,
        "listResources": Client.list_resources,
        "readResource": Client.read_resource,
        "listPrompts": Client.list_prompts,
        "getPrompt": Client.get_prompt,
    }
    results = []
    async with python_client(url, browser, wire) as client:
        for method, parameters, *_ in steps:
            result = await methods[method](client, **parameters)
            results.append(result.model_dump(by_alias=True, exclude_none=True, mode="json"))
    return results


async def typescript(
    url: str, browser: Browser, wire: str, steps: Sequence[Step], *, dpop: bool = False
) -> list[dict[str, Any]]:
    """The TypeScript SDK; with ``dpop`` it asks for tokens that are bound to a key of its own (RFC 9449)."""
    given = json.dumps({"url": url, "redirect": REDIRECT, "wire": wire, "steps": steps, "dpop": dpop})
    return await anyio.to_thread.run_sync(_run_typescript, given, browser)


def _run_typescript(given: str, browser: Browser) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [*runnable(TYPESCRIPT, "client.mjs", Path(folder)), given]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), cwd=folder
        )
        watchdog = Timer(_CLIENT_SECONDS, process.kill)
        watchdog.start()
        try:
            return _converse(process, browser)
        finally:
            watchdog.cancel()
            process.kill()
            process.communicate()


def _converse(process: subprocess.Popen[str], browser: Browser) -> list[dict[str, Any]]:
    results = []
    assert process.stdin is not None and process.stdout is not None
    for line in process.stdout:
        match json.loads(line):
            case {"authorize": address}:
                landed = browser.visit(address)
                with suppress(BrokenPipeError):  # it has given up, and says so in its next line
                    process.stdin.write(landed + "\n")
                    process.stdin.flush()
            case {"result": result}:
                results.append(result)
            case event:
                raise ClientFailed(str(event))
    return results
