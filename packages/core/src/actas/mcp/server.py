"""``MCPOAuthServer``: a configuration in, a running MCP server out."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mcp.server.subscriptions import ResourceUpdated

from actas.core import (
    Audit,
    AuditSink,
    ConfigurationError,
    DelegationModule,
    DelegationRegistry,
    Pipeline,
    Session,
)
from actas.http import HttpClient
from actas.mcp import assembly
from actas.mcp.builtin import HEALTH_CHECK, USER_INFO
from actas.mcp.challenge import Challenges
from actas.mcp.door import Door, Endpoint
from actas.mcp.endpoint import McpEndpoint, traced
from actas.mcp.entrance import Entrance
from actas.mcp.guard import Guard
from actas.mcp.listener import Listener, listen, wait_for_signal
from actas.mcp.metadata import metadata_document, metadata_url
from actas.mcp.prompts import Prompt
from actas.mcp.resources import Resource
from actas.mcp.schema import validate_parameters
from actas.mcp.settings import Settings
from actas.mcp.short_way import ShortWay
from actas.mcp.tools import Tool, module_tools
from actas.oauth.authentication import Authenticator


@dataclass(frozen=True, slots=True)
class CoreContext:
    """The parts that a server is made of, for code that extends it."""

    registry: DelegationRegistry
    pipeline: Pipeline
    audit: Audit
    authenticator: Authenticator


class MCPOAuthServer:
    """An MCP server whose tools act as the user who calls them.

    ::

        server = MCPOAuthServer("actas.toml")
        server.register_tool(create_delegation_tool(...))
        server.run()

    Args:
        configuration: a file's path, the content of one, or :class:`Settings`.
        audit_sink: where the minutes go, in place of what the configuration says.

    Raises:
        ConfigurationError: with everything that is wrong. Nothing was started.
    """

    def __init__(
        self, configuration: Path | str | Mapping[str, object] | Settings, *, audit_sink: AuditSink | None = None
    ) -> None:
        made = assembly.configuration(configuration)
        self.settings = made.settings
        audit = Audit(
            assembly.audit_sink(made) if audit_sink is None else audit_sink, made.settings.auth.audit.on_failure
        )
        registry = DelegationRegistry()
        pipeline = Pipeline(registry, audit, validator=validate_parameters, timeout=made.settings.mcp.tool_timeout)
        auth = made.settings.auth
        self._http = HttpClient(auth.http)
        authenticator = Authenticator(
            auth.trusted_idps,
            auth.permissions,
            http=self._http,
            cache_size=auth.token_cache_entries,
            cache_ttl=auth.token_cache_seconds,
        )
        self.core_context = CoreContext(registry, pipeline, audit, authenticator)
        self._guard = Guard(pipeline)
        self._guard.add([USER_INFO, HEALTH_CHECK])
        self._sealed = False
        self._released = False
        self._running: Listener | None = None
        self._end_streams: Callable[[], None] = _nothing
        for module in made.modules:
            self.register_delegation_module(
                module.name, assembly.created(module), prefix=module.prefix, tools=module.tools
            )

    def register_delegation_module(
        self, name: str, module: DelegationModule, *, prefix: str | None = None, tools: Iterable[str] | None = None
    ) -> None:
        """Add a module and its tools, before the server starts.

        Args:
            prefix: of its tools' names; ``name`` where None.
            tools: the actions that become tools; all where None.

        Raises:
            ConfigurationError: a name is taken, or the server has been started.
        """
        self._unsealed()
        made = module_tools(name, module, prefix=prefix, only=tools)
        self.core_context.registry.register(name, module)
        self._guard.add(made)

    def register_tool(self, tool: Tool) -> None:
        """Add one tool. Raises ConfigurationError as :meth:`register_tools` does."""
        self.register_tools([tool])

    def register_tools(self, tools: Iterable[Tool]) -> None:
        """Add tools, before the server starts. Raises ConfigurationError where a name is taken."""
        self._unsealed()
        self._guard.add(tools)

    def register_resource(self, resource: Resource) -> None:
        """Add one resource, or a template of some, before the server starts.

        Raises:
            ConfigurationError: its URI or name is taken, or the server has been started.
        """
        self._unsealed()
        self._guard.resources.add([resource])

    def register_prompt(self, prompt: Prompt) -> None:
        """Add one prompt, before the server starts. Raises ConfigurationError where its name is taken."""
        self._unsealed()
        self._guard.prompts.add([prompt])

    async def resource_updated(self, uri: str) -> None:
        """Tell everybody who listens to ``uri``, and may, that it has changed."""
        await self._guard.resources.bus.publish(ResourceUpdated(uri))

    def tools_for(self, session: Session) -> list[str]:
        """The names of the tools that ``session`` sees, in their order."""
        return list(self._guard.view(session).tools)

    def asgi_app(self, *, port: int | None = None) -> Door:
        """The server as an ASGI application with a lifespan, for a host of your own.

        Args:
            port: where it will be reached, if that is not the configured port and ``resource`` is not set.

        Raises:
            ConfigurationError: the server has been stopped.
        """
        if self._released:
            raise ConfigurationError("a server that was stopped is not started again: make a new one")
        self._sealed = True
        settings = self.settings.mcp
        resource = settings.resource_at(settings.port if port is None else port)
        where = metadata_url(resource)
        scopes = self._guard.scopes()
        challenges = Challenges(where, scopes)
        hosts = assembly.allowed_hosts(settings, resource)
        sdk = McpEndpoint(
            name=settings.server_name,
            version=settings.version,
            instructions=settings.instructions,
            guard=self._guard,
            challenges=challenges,
            allowed_hosts=hosts,
            allowed_origins=settings.allowed_origins,
            max_body_bytes=settings.max_body_bytes,
        )
        self._end_streams = sdk.end_streams
        # Spans are made on the SDK's way; whoever traces gets all of them.
        endpoint: Endpoint = (
            sdk
            if traced()
            else ShortWay(sdk, self._guard, challenges, server_info=sdk.server_info, allowed_hosts=hosts)
        )

        @contextlib.asynccontextmanager
        async def lifespan() -> AsyncGenerator[None]:
            async with self.opened(), sdk.lifespan():
                yield

        issuers = [issuer.issuer for issuer in self.settings.auth.trusted_idps]
        return Door(
            path=settings.path,
            entrance=Entrance(self.core_context.authenticator, challenges, self.core_context.audit),
            metadata=metadata_document(resource, settings.server_name, issuers, scopes),
            metadata_path=urlsplit(where).path,
            endpoint=endpoint,
            lifespan=lifespan,
        )

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Modules and keys are there inside; whatever happens, everything is released."""
        context = self.core_context
        try:
            await context.registry.initialize_all()
            await context.authenticator.start()
            yield
        finally:
            await self.release()

    async def release(self) -> None:
        """Release what the constructor made: for a server that was never started. May be called twice."""
        self._released = True
        context = self.core_context
        try:
            await context.registry.destroy_all()
        finally:
            try:
                await context.authenticator.aclose()
                await self._http.aclose()
            finally:
                await context.audit.sink.close()

    @property
    def is_running(self) -> bool:
        """Whether :meth:`start` has been called and :meth:`stop` has not."""
        return self._running is not None

    @property
    def url(self) -> str:
        """Where the MCP endpoint listens. Raises RuntimeError where it does not."""
        if self._running is None:
            raise RuntimeError("the server is not running: call start() first")
        return f"http://{assembly.bracketed(self.settings.mcp.host)}:{self._running.port}{self.settings.mcp.path}"

    async def start(self) -> None:
        """Listen, and return when requests are served.

        Raises:
            ConfigurationError: the port is taken, or a module or its downstream is not as configured.
        """
        if self._running is not None:
            raise ConfigurationError("the server is running already")
        settings = self.settings.mcp
        listening = listen(settings.host, settings.port)
        try:
            app = self.asgi_app(port=listening.getsockname()[1])
            longest = max(issuer.security.max_token_bytes for issuer in self.settings.auth.trusted_idps)
            self._running = Listener(listening, app, longest_token=longest)
            await self._running.start()
        except BaseException:
            self._running = None
            listening.close()
            raise

    async def stop(self) -> None:
        """Stop listening, let running calls finish, release everything. May be called twice."""
        running, self._running = self._running, None
        if running is not None:
            self._end_streams()
            await running.stop()

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        asyncio.run(self.serve())

    async def serve(self, started: Callable[[str], None] | None = None) -> None:
        """Serve until SIGINT or SIGTERM, or until cancelled; ``started`` is told the URL once it listens."""
        await self.start()
        try:
            if started is not None:
                started(self.url)
            await wait_for_signal()
        finally:
            await self.stop()

    def _unsealed(self) -> None:
        if self._sealed:
            raise ConfigurationError(
                "modules and tools are registered before the server starts: what callers see is fixed then"
            )


def _nothing() -> None:
    """There are no streams yet."""
