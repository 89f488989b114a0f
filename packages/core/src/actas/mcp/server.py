"""``MCPOAuthServer``: a configuration in, a running MCP server out."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from pathlib import Path

from actas.core import AuditSink, ConfigurationError, DelegationModule, DelegationRegistry, Session
from actas.mcp import assembly
from actas.mcp.door import Door
from actas.mcp.listener import Listener, listen, wait_for_signal
from actas.mcp.settings import Settings
from actas.mcp.site import CoreContext, Site
from actas.mcp.tools import Tool


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
        self._sink = audit_sink
        self._site = Site(assembly.configuration(configuration), audit_sink=audit_sink)
        self._shared = DelegationRegistry()
        self._additions: list[Callable[[Site], None]] = []
        self._sealed = False
        self._released = False
        self._running: Listener | None = None

    @property
    def settings(self) -> Settings:
        """The configuration that serves now."""
        return self._site.settings

    @property
    def core_context(self) -> CoreContext:
        """The parts that serve now. A reload puts others in their place: ask anew instead of keeping them."""
        return self._site.context

    def register_delegation_module(
        self, name: str, module: DelegationModule, *, prefix: str | None = None, tools: Iterable[str] | None = None
    ) -> None:
        """Add a module and its tools, before the server starts. It lives as long as the server does.

        Args:
            prefix: of its tools' names; ``name`` where None.
            tools: the actions that become tools; all where None.

        Raises:
            ConfigurationError: a name is taken, or the server has been started.
        """
        chosen = None if tools is None else list(tools)
        self._add(lambda site: site.add_module(name, module, prefix=prefix, tools=chosen))
        self._shared.register(name, module)

    def register_tool(self, tool: Tool) -> None:
        """Add one tool. Raises ConfigurationError as :meth:`register_tools` does."""
        self.register_tools([tool])

    def register_tools(self, tools: Iterable[Tool]) -> None:
        """Add tools, before the server starts. Raises ConfigurationError where a name is taken."""
        added = list(tools)
        self._add(lambda site: site.guard.add(added))

    async def tools_for(self, session: Session) -> list[str]:
        """The names of the tools that ``session`` sees, in their order."""
        return list((await self._site.guard.view(session)).tools)

    @property
    def tools(self) -> Mapping[str, Tool]:
        """All tools by name, whoever sees them."""
        return self._site.guard.tools

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
        self._site.furnish(settings.resource_at(settings.port if port is None else port))
        return Door(path=settings.path, current=lambda: self._site, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self) -> AsyncGenerator[None]:
        """Modules and keys are there inside; whatever happens, everything is released."""
        try:
            await self._shared.initialize_all()
            await self._site.open()
            yield
        finally:
            await self.release()

    async def release(self) -> None:
        """Release what the constructor made: for a server that was never started. May be called twice."""
        self._released = True
        try:
            await self._site.close()
        finally:
            try:
                await self._shared.destroy_all()
            finally:
                if self._sink is not None:
                    await self._sink.close()

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

    def _add(self, addition: Callable[[Site], None]) -> None:
        """Do ``addition`` to the site, and to every one that takes its place."""
        if self._sealed:
            raise ConfigurationError(
                "modules and tools are registered before the server starts: what callers see is fixed then"
            )
        addition(self._site)
        self._additions.append(addition)
