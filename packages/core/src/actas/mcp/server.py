"""``MCPOAuthServer``: a configuration in, a running MCP server out."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from pathlib import Path

from mcp.server.subscriptions import ResourceUpdated

from actas.core import (
    AuditSink,
    AuditUnavailable,
    ConfigurationError,
    DelegationModule,
    DelegationRegistry,
    Session,
)
from actas.core.errors import places
from actas.core.latecomer import Latecomer
from actas.core.secret import Secret
from actas.mcp import assembly, stdio
from actas.mcp.config_lines import located
from actas.mcp.door import Door
from actas.mcp.explanation import Arguments, explain
from actas.mcp.listener import Listener, listen
from actas.mcp.probes import Probes
from actas.mcp.prompts import Prompt
from actas.mcp.reload import Watch, record_refusal, refuse_what_is_fixed, succeeded
from actas.mcp.resources import Resource
from actas.mcp.settings import Settings
from actas.mcp.signals import heard
from actas.mcp.site import CoreContext, Site
from actas.mcp.sites import Sites
from actas.mcp.stdio import TokenSource
from actas.mcp.tls import renew, server_context
from actas.mcp.tools import Tool

logger = logging.getLogger(__name__)


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
        self._source = configuration
        self._wanted = asyncio.Event()
        self._watch: Watch | None = None
        if isinstance(configuration, str | Path):  # before it is read: what changes meanwhile has changed
            self._watch = Watch(Path(configuration), self._wanted.set, when=lambda: self.settings.mcp.watch)
        self._sink = audit_sink
        with located(configuration):
            self._sites = Sites(Site(assembly.configuration(configuration), audit_sink=audit_sink))
        tls = self.settings.mcp.tls
        self._tls = None if tls is None else server_context(tls)
        self._shared = DelegationRegistry()
        self._additions: list[Callable[[Site], None]] = []
        self._sealed = False
        self._released = False
        self._running: Listener | None = None
        self._resource = ""
        self._reloading = asyncio.Lock()

    @property
    def settings(self) -> Settings:
        """The configuration that serves now."""
        return self._sites.current.settings

    @property
    def core_context(self) -> CoreContext:
        """The parts that serve now. A reload puts others in their place: ask anew instead of keeping them."""
        return self._sites.current.context

    def register_delegation_module(
        self,
        name: str,
        module: DelegationModule,
        *,
        prefix: str | None = None,
        tools: Iterable[str] | None = None,
        providers: Iterable[str] | None = None,
    ) -> None:
        """Add a module and its tools, before the server starts. It lives as long as the server does.

        Args:
            prefix: of its tools' names; ``name`` where None.
            tools: which of its tools there are: names, or patterns as in the configuration; all where None.
            providers: the trusted identity providers whose users may use it; all where None.

        Raises:
            ConfigurationError: a name is taken, or the server has been started.
        """
        chosen = None if tools is None else list(tools)
        whose = None if providers is None else frozenset(providers)
        kept = Latecomer(name, module)
        self._add(lambda site: site.add_module(name, kept, prefix=prefix, tools=chosen, providers=whose))
        self._shared.register(name, kept)

    def register_tool(self, tool: Tool) -> None:
        """Add one tool. Raises ConfigurationError as :meth:`register_tools` does."""
        self.register_tools([tool])

    def register_tools(self, tools: Iterable[Tool]) -> None:
        """Add tools, before the server starts. Raises ConfigurationError where a name is taken."""
        added = list(tools)
        self._add(lambda site: site.guard.add(added))

    def register_resource(self, resource: Resource) -> None:
        """Add one resource, or a template of some, before the server starts.

        Raises:
            ConfigurationError: its URI or name is taken, or the server has been started.
        """
        self._add(lambda site: site.guard.resources.add([resource]))

    def register_prompt(self, prompt: Prompt) -> None:
        """Add one prompt, before the server starts. Raises ConfigurationError where its name is taken."""
        self._add(lambda site: site.guard.prompts.add([prompt]))

    async def resource_updated(self, uri: str) -> None:
        """Tell everybody who listens to ``uri``, and may, that it has changed."""
        await self._sites.current.guard.resources.bus.publish(ResourceUpdated(uri))

    async def tools_for(self, session: Session) -> list[str]:
        """The names of the tools that ``session`` sees, in their order."""
        return list((await self._sites.current.guard.view(session)).tools)

    async def explain(self, session: Session, arguments: Mapping[str, Arguments] | None = None) -> dict[str, object]:
        """What ``session`` comes to here and why, as JSON, for the operator: :func:`actas.mcp.explanation.explain`."""
        site = self._sites.current
        return await explain(site.context.pipeline, site.guard, site.settings, session, arguments or {})

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
        self._resource = settings.resource_at(settings.port if port is None else port)
        self._sites.current.furnish(self._resource)
        return Door(path=settings.path, current=lambda: self._sites.current, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self) -> AsyncGenerator[None]:
        """Modules and keys are there inside; whatever happens, everything is released."""
        try:
            await self._shared.initialize_all()
            await self._sites.current.open()
            yield
        finally:
            await self.release()

    async def reload(self, configuration: Path | str | Mapping[str, object] | Settings | None = None) -> None:
        """Serve by another configuration from now on; calls that run are finished by the old one.

        Modules and tools that code registered stay as they are. What the configuration names is built anew, whole,
        and started, before the first request comes to it. Secrets are looked up anew.

        Args:
            configuration: the new one; None reads the one that the constructor was given again.

        Raises:
            ConfigurationError: with everything that is wrong. Nothing has changed; it is in the log and the minutes.
        """
        async with self._reloading:
            if self._released or not self._sealed:
                raise ConfigurationError("the server is not running")
            source = self._source if configuration is None else configuration
            try:
                with located(source):
                    site = await self._next_site(source)
            except ConfigurationError as error:
                await record_refusal(self._sites.current.context.audit, error)
                raise
            self._source = source
            await self._sites.replace(site)
            logger.info("the new configuration serves")

    async def _next_site(self, configuration: Path | str | Mapping[str, object] | Settings) -> Site:
        """The site of ``configuration``, open. Whatever is raised, it is released and the current one goes on."""
        # In a thread: files, plug-ins and secret providers may take their time, and requests are being served.
        made = await asyncio.to_thread(assembly.configuration, configuration)
        refuse_what_is_fixed(self.settings, made.settings)
        site = Site(made, audit_sink=self._sink)
        try:
            for addition in self._additions:
                addition(site)
            site.inherit(self._sites.current)
            site.furnish(self._resource)
            await site.open()
            await site.refuse_to_be_worse(self._sites.current)
            if self._tls is not None and made.settings.mcp.tls is not None:
                renew(self._tls, made.settings.mcp.tls)
            await site.context.audit.record(succeeded())
            if self._released:
                raise ConfigurationError("the server was stopped meanwhile")
        except AuditUnavailable as error:
            await site.close()
            raise ConfigurationError(f"auth.audit: {error.message}", detail=error.detail) from error
        except BaseException:
            await site.close()
            raise
        return site

    async def release(self) -> None:
        """Release what the constructor made: for a server that was never started. May be called twice."""
        self._released = True
        try:
            await self._sites.close()
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
        return f"{self.settings.mcp.scheme}://{assembly.bracketed(self.settings.mcp.host)}:{self._running.port}{self.settings.mcp.path}"

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
            door = self.asgi_app(port=listening.getsockname()[1])
            self._running = Listener(
                listening,
                Probes(door, ready=lambda: self._running is not None and not self._running.stopping),
                door.lifespan,
                longest_token=self._longest_token,
                most_connections=lambda: self.settings.limits.connections,
                seconds=lambda: self.settings.mcp.drain_timeout,
                cut_off=self._sites.cut_off,
                tls=self._tls,
            )
            await self._running.start()
        except BaseException:
            self._running = None
            listening.close()
            raise

    async def stop(self) -> None:
        """Stop listening, let running calls finish for ``drain_timeout``, release everything. May be called twice."""
        running = self._running
        try:
            if running is not None:
                self._sites.current.end_streams()
                await running.stop()
        finally:
            self._running = None

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        asyncio.run(self.serve())

    async def serve(self, started: Callable[[str], None] | None = None) -> None:
        """Serve until SIGINT or SIGTERM, or until cancelled; ``started`` is told the URL once it listens.

        The second signal stops at once. SIGHUP reads the configuration anew, and so does a change of its file where
        ``mcp.watch`` says so.
        """
        with heard(hurry=self._hurry, reload=self._wanted.set) as stop:
            await self.start()
            following = asyncio.create_task(self._follow())
            try:
                if started is not None:
                    started(self.url)
                await stop.wait()
            finally:
                following.cancel()
                await asyncio.wait([following])
                await self.stop()

    async def serve_stdio(self, *, token: str | None = None, token_file: Path | str | None = None) -> None:
        """Serve one caller over standard input and output, until the client closes them, or SIGINT or SIGTERM.

        The log goes wherever logging goes; standard output belongs to the protocol. The configuration is not reloaded:
        the process lives and dies with its client.

        Args:
            token: the caller's access token.
            token_file: a file that holds it, in place of ``token``; read for every request, so that it can be renewed.

        Raises:
            ConfigurationError: neither a token nor a file was given, or both; or as :meth:`start`.
            AuthenticationError, SessionRejected: the token is not accepted.
        """
        source = TokenSource(
            given=None if token is None else Secret(token), file=None if token_file is None else Path(token_file)
        )
        self.asgi_app()  # furnishes the site, and nothing is registered any more

        def started(session: Session) -> None:
            logger.info("serving %s over stdio", session.username)

        with heard(hurry=self._sites.cut_off) as stop:
            async with self._lifespan():
                await stdio.serve(self._sites.current, source, started=started, stop=stop)

    async def _follow(self) -> None:
        """Reload when somebody wants it, and when the file changes."""
        async with asyncio.TaskGroup() as group:
            if self._watch is not None:
                group.create_task(self._watch.run())
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                try:
                    await self.reload()
                except ConfigurationError:
                    pass  # told already
                except Exception as error:  # a plug-in's defect must not end what follows the file
                    logger.error("not reloaded, the last good configuration serves on: %s", places(error))

    def _hurry(self) -> None:
        if self._running is not None:
            self._running.hurry()

    def _longest_token(self) -> int:
        return max(issuer.security.max_token_bytes for issuer in self.settings.auth.trusted_idps)

    def _add(self, addition: Callable[[Site], None]) -> None:
        """Do ``addition`` to the site, and to every one that takes its place."""
        if self._sealed:
            raise ConfigurationError(
                "modules and tools are registered before the server starts: what callers see is fixed then"
            )
        addition(self._sites.current)
        self._additions.append(addition)
