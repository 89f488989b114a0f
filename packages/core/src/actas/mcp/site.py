"""One configuration, built whole: everything that is made from it, and that goes when it goes.

A server has one site at a time. A reload builds another one beside it, swaps the two between two
requests, and closes the old one when the requests that it was serving have ended.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import orjson

from actas.core import (
    Audit,
    AuditSink,
    Authority,
    ConfigurationError,
    CredentialSource,
    DelegationModule,
    DelegationRegistry,
    Pipeline,
    TicketGranter,
)
from actas.core.latecomer import Latecomer, LateGranter
from actas.http import HttpClient
from actas.mcp import assembly
from actas.mcp.builtin import HEALTH_CHECK, USER_INFO
from actas.mcp.challenge import Challenges
from actas.mcp.config import Configuration
from actas.mcp.cors import Cors
from actas.mcp.endpoint import McpEndpoint, traced
from actas.mcp.entrance import Endpoint, Entrance
from actas.mcp.exchanges import Exchanges
from actas.mcp.guard import Guard
from actas.mcp.inflight import InFlight
from actas.mcp.limits import Limits
from actas.mcp.metadata import Document, metadata_document, metadata_url, publications
from actas.mcp.peer import Peers
from actas.mcp.running import RunningCalls
from actas.mcp.schema import validate_parameters
from actas.mcp.short_way import ShortWay
from actas.mcp.subscriptions import end_streams
from actas.mcp.tools import module_tools
from actas.oauth.authentication import Authenticator
from actas.oauth.binding import BindingChecker
from actas.oauth.denylist import Revocation
from actas.oauth.dpop import ProofVerifier
from actas.oauth.publication import PassedOn
from actas.oauth.replay import MemoryReplayStore, ReplayStore
from actas.oauth.settings import Binding

logger = logging.getLogger(__name__)

_END_SECONDS = 1.0
"""Seconds in which what was cancelled must have ended."""


@dataclass(frozen=True, slots=True)
class CoreContext:
    """The parts that a server is made of, for code that extends it."""

    registry: DelegationRegistry
    pipeline: Pipeline
    audit: Audit
    authenticator: Authenticator


class Site:
    """The parts of one configuration, from the door's side to the modules.

    In this order: make it, add what code adds, :meth:`furnish` it, :meth:`open` it, serve with it, :meth:`close` it.

    Args:
        made: the configuration, valid.
        audit_sink: where the minutes go, in place of what the configuration says; stays the caller's to close.

    Raises:
        ConfigurationError: a part cannot be made. Nothing was started.
    """

    binding: BindingChecker
    entrance: Entrance
    endpoint: Endpoint
    sdk: McpEndpoint
    cors: Cors
    publications: Mapping[str, Document]
    """What is published under ``/.well-known``, by path."""

    def __init__(self, made: Configuration, *, audit_sink: AuditSink | None = None) -> None:
        self.settings = made.settings
        auth = made.settings.auth
        self._owns_sink = audit_sink is None
        audit = Audit(assembly.audit_sink(made) if audit_sink is None else audit_sink, auth.audit.on_failure)
        registry = DelegationRegistry()
        pipeline = Pipeline(
            registry,
            audit,
            validator=validate_parameters,
            timeout=made.settings.mcp.tool_timeout,
            authority=Authority(auth.permissions, assembly.authorizers(made)),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http = HttpClient(auth.http)
        self._store = assembly.shared_store(made.settings.shared)
        self._exchanges = Exchanges(auth, self._store)
        authenticator = Authenticator(
            auth.trusted_idps,
            auth.permissions,
            http=self._http,
            cache_size=auth.token_cache_entries,
            cache_ttl=auth.token_cache_seconds,
            revocation=auth.revocation,
            on_revoked=self._heed_soon,
        )
        self.context = CoreContext(registry, pipeline, audit, authenticator)
        self.limits = Limits(made.settings.limits, audit, assembly.shared_windows(made.settings, self._store))
        self.guard = Guard(pipeline, self.limits)
        self.guard.add([USER_INFO, HEALTH_CHECK])
        self.in_flight = InFlight()
        self._running = RunningCalls()
        self._used_proofs: ReplayStore = MemoryReplayStore(time.time)
        self._nonces = assembly.nonces(auth.dpop)
        self._own = DelegationRegistry()
        self._keeper: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        for module in made.modules:
            late = LateGranter if module.kind.grants_tickets else Latecomer
            created, exchanger = late(module.name, assembly.created(module)), self._exchanges.source(module)
            lender = None if module.tickets_from is None else self._own.get(module.tickets_from)
            self.add_module(
                module.name,
                created,
                prefix=module.prefix,
                tools=module.tools,
                credentials=exchanger,
                providers=module.providers,
                granter=cast("LateGranter | None", lender),
            )
            self._own.register(module.name, created)

    def add_module(
        self,
        name: str,
        module: DelegationModule,
        *,
        prefix: str | None = None,
        tools: Sequence[str] | None = None,
        credentials: CredentialSource | None = None,
        providers: frozenset[str] | None = None,
        granter: TicketGranter | None = None,
    ) -> None:
        """Add a module and its tools; whoever adds it starts and destroys it. Raises ConfigurationError."""
        made = module_tools(name, module, prefix=prefix, only=tools, providers=providers)
        self.context.registry.register(name, module, credentials=credentials, providers=providers, granter=granter)
        self.guard.add(made)

    def inherit(self, predecessor: "Site") -> None:
        """Take over what must outlive a change of the configuration, before :meth:`open`."""
        self.context.authenticator.inherit(predecessor.context.authenticator)
        self.limits.inherit(predecessor.limits)
        self._used_proofs = predecessor._used_proofs
        self._running = predecessor._running
        if self.settings.auth.dpop.nonce_secret is None and predecessor.settings.auth.dpop.nonce_secret is None:
            self._nonces = predecessor._nonces

    async def refuse_to_be_worse(self, predecessor: "Site") -> None:
        """Raises ConfigurationError where a module that works there could not be started here."""
        there = predecessor.context.registry
        late = [name for name, module in self._own.items() if not cast("Latecomer", module).started]
        health = await there.health_check_all([name for name in late if name in there.names()])
        worse = [name for name, each in health.items() if each.healthy]
        if worse:
            raise ConfigurationError(
                [f"delegation.modules.{name}: its downstream does not answer with the new settings" for name in worse]
            )

    def furnish(self, resource: str, *, scopes: list[str] | None = None) -> None:
        """Make what the door needs, when all tools are there.

        Args:
            resource: how clients reach the endpoint.
            scopes: what clients ask for, where something else than our own endpoint is served.
        """
        settings = self.settings.mcp
        where, first = metadata_url(resource), self.guard.first_scopes() if scopes is None else scopes
        scopes = self.guard.scopes() if scopes is None else scopes
        issuers = self.settings.auth.trusted_idps
        dpop_required = all(issuer.security.binding is Binding.DPOP for issuer in issuers)
        challenges = Challenges(where, first, bearer=not dpop_required)
        hosts = assembly.allowed_hosts(settings, resource)
        self.sdk = McpEndpoint(
            name=settings.server_name,
            version=settings.version,
            instructions=settings.instructions,
            guard=self.guard,
            challenges=challenges,
            allowed_hosts=hosts,
            allowed_origins=settings.allowed_origins,
            max_body_bytes=settings.max_body_bytes,
            running=self._running,
        )
        # Spans are made on the SDK's way; whoever traces gets all of them.
        self.endpoint = (
            self.sdk
            if traced()
            else ShortWay(
                self.sdk,
                self.guard,
                challenges,
                server_info=self.sdk.server_info,
                allowed_hosts=hosts,
                running=self._running,
            )
        )
        proofs = ProofVerifier(
            resource,
            store=self._used_proofs,
            nonces=self._nonces,
            require_nonce=self.settings.auth.dpop.require_nonce,
        )
        self.binding = BindingChecker(issuers, proofs)
        self.limits.check_tools(self.guard.tools)
        self.cors = Cors(settings.allowed_origins)
        self.entrance = Entrance(
            self.context.authenticator,
            self.binding,
            Peers(settings.proxies),
            challenges,
            self.context.audit,
            self.limits,
        )
        document = metadata_document(
            resource,
            settings.server_name,
            [issuer.issuer for issuer in issuers],
            scopes,
            dpop_required=dpop_required,
            certificates=settings.sees_certificates,
        )
        passed_on = [PassedOn(self._http, issuer) for issuer in issuers if issuer.publish_metadata]
        self.publications = publications(resource, orjson.dumps(document), passed_on[0].document if passed_on else None)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Open inside. Raises ConfigurationError as :meth:`open` does."""
        await self.open()
        try:
            yield
        finally:
            await self.close()

    def end_streams(self) -> None:
        """End the streams of events, which nothing else would end while their clients listen."""
        self.sdk.end_streams()

    async def open(self) -> None:
        """Start authorisers and modules, fetch the keys, start the SDK. Where that fails, everything is released.

        Raises:
            ConfigurationError: an authoriser, or a module's downstream, is not as configured.
        """
        opened = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(opened))
        try:
            await asyncio.wait([opened, self._keeper], return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            raise
        if self._keeper.done():
            self._keeper.result()

    async def _keep(self, opened: "asyncio.Future[None]") -> None:
        """From the start to the end in one task: the SDK's task group must be left where it was entered."""
        try:
            self._loop = asyncio.get_running_loop()
            self._exchanges.open()
            await self.context.pipeline.authority.initialize()
            await self._own.initialize_all()
            await self.context.authenticator.start()
            async with self.sdk.lifespan():
                opened.set_result(None)
                await self._leave.wait()
        finally:
            await self._release()

    def _heed_soon(self, revoked: list[Revocation]) -> None:
        """``revoked`` is refused already; what goes on beside requests ends too. May be called in any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and all with it
                self._loop.call_soon_threadsafe(self._heed, revoked)

    def _heed(self, revoked: list[Revocation]) -> None:
        self._exchanges.forget(revoked)
        end_streams(self.context.authenticator.denies)

    async def retire(self) -> None:
        """:meth:`finish`, then :meth:`close`."""
        await self.finish()
        await self.close()

    async def finish(self) -> None:
        """Let what runs end, for ``drain_timeout`` at most; then cut it off."""
        self.end_streams()
        if not await self.in_flight.drained(self.settings.mcp.drain_timeout):
            self.in_flight.end()
            await self.in_flight.drained(_END_SECONDS)

    async def close(self) -> None:
        """Release everything, also of a site that was never opened. May be called twice."""
        if self._keeper is None:
            await self._release()
            return
        self._leave.set()
        await asyncio.wait([self._keeper])
        if not self._keeper.cancelled() and (error := self._keeper.exception()) is not None:
            logger.error("closing raised %s", type(error).__name__)

    async def _release(self) -> None:
        try:
            await self._own.destroy_all()
        finally:
            try:
                await self._exchanges.aclose()
                await self.context.pipeline.authority.close()
                await self.context.authenticator.aclose()
                await self._http.aclose()
                await self.limits.aclose()
                if self._store is not None:
                    await self._store.aclose()
            finally:
                if self._owns_sink:
                    await self.context.audit.sink.close()
