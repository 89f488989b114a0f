"""What the conformance suite is given of a module, and how it runs and asks it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from actas.core import (
    Action,
    Audit,
    CredentialSource,
    DelegationCall,
    DelegationModule,
    DelegationRegistry,
    DelegationResult,
    MemorySink,
    Pipeline,
    Secret,
    Session,
    TicketGranter,
)
from actas.core.lending import Lent
from actas.core.models import new_id
from actas.mcp.schema import validate_parameters

T = TypeVar("T")

TOKEN = "eyJhbGciOiJub25lIn0.conformance-token-that-nobody-may-see"  # noqa: S105 -- opens nothing
"""The token that every session carries here; where it turns up, a real one would."""

BLOCKED = 1.0
"""Seconds by which an event loop may be late; beyond, something blocked it."""

NAME = "under-test"
"""What the module is called in the pipeline."""


def renamed(session: Session, name: str) -> Session:
    """``session`` with ``name`` wherever a module could take a name from, its claims excepted."""
    return replace(session, subject=name, username=name, legacy_username=name)


def user(name: str, *permissions: str) -> Session:
    """A session of somebody called ``name`` wherever a module could look, with ``permissions``."""
    return Session(
        issuer="https://idp.example",
        subject=name,
        username=name,
        legacy_username=name,
        provider="test",
        role="user",
        permissions=frozenset(permissions),
    )


@dataclass(frozen=True, kw_only=True)
class ModuleKit:
    """How to make a module, and who and what to try it with."""

    make: Callable[[], DelegationModule]
    """Makes a fresh module, not initialised, on a downstream that works."""
    alice: Session
    """A user of that downstream with the permissions and scopes for every action."""
    bob: Session
    """Another one."""
    parameters: Mapping[str, Mapping[str, object]]
    """For each action, by name: parameters that do no harm and work for both."""
    settings: type | None = None
    """The plug-in's settings; None for a module that is registered by hand."""
    plugin: str | None = None
    """The Python module that the plug-in's entry point names."""
    heavy_imports: Sequence[str] = ()
    """What must not be imported with it: drivers, clients."""
    rename: Callable[[Session, str], Session] = renamed
    """Gives a session another name; for a module that takes names from elsewhere, such as a claim."""
    slow: tuple[str, Mapping[str, object]] | None = None
    """An action, by name, and parameters with which it takes at least ten seconds."""
    make_dead: Callable[[], DelegationModule] | None = None
    """Makes the module on a downstream that does not answer."""
    outage: Callable[[], AbstractContextManager[None]] | None = None
    """While this lasts, the downstream of ``make`` does not answer; afterwards it is as before."""
    denied: tuple[str, Mapping[str, object]] | None = None
    """An action, by name, and parameters with which the downstream itself lets bob do something, and not alice."""
    credentials: CredentialSource | None = None
    """What stands in for the token exchange, for a module that needs a credential."""
    granter: TicketGranter | None = None
    """Who lends the users' tickets, for a module that presents some."""
    grace: float = 5.0
    """Seconds within which it must stop, release, or say how it is."""
    patience: float = 30.0
    """Seconds within which it must start, or carry out a harmless action."""

    def users(self) -> tuple[Session, Session]:
        """alice and bob, each with a token."""
        return replace(self.alice, token=Secret(TOKEN)), replace(self.bob, token=Secret(TOKEN))

    async def secrets(self) -> list[str]:
        """What nobody may ever see: the callers' token, and those that were exchanged for it."""
        if self.credentials is None:
            return [TOKEN]
        held = [await self.credentials.obtain(session) for session in self.users()]
        return [TOKEN, *(credential.token.reveal() for credential in held)]


@asynccontextmanager
async def running(kit: ModuleKit) -> AsyncGenerator[DelegationModule, None]:
    """A module, initialised; destroyed at the end. In the caller's own task, as the server does it."""
    module = kit.make()
    try:
        await bounded(module.initialize(), kit.patience, "initialize()")
        yield module
    finally:
        await bounded(module.destroy(), kit.grace, "destroy()")


async def bounded(work: Awaitable[T], seconds: float, what: str) -> T:
    """What ``work`` gives. Raises AssertionError where it takes more than ``seconds``."""
    started = time.monotonic()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            answer = await work
        if time.monotonic() - started <= seconds + BLOCKED:
            return answer
    except TimeoutError:
        if not limit.expired():
            raise
    raise AssertionError(f"{what} did not end within {seconds:g} s")


def declared(module: DelegationModule, name: str) -> Action:
    """The action called ``name``. Raises AssertionError where there is none."""
    for action in module.actions:
        if action.name == name:
            return action
    raise AssertionError(f"the kit has parameters for {name!r}, which is no action of the module")


def harmless(kit: ModuleKit, action: Action) -> object:
    """The kit's parameters for ``action``, as its dataclass."""
    if action.name not in kit.parameters:
        raise AssertionError(f"the kit has no parameters for the action {action.name!r}")
    return validate_parameters(action, kit.parameters[action.name])


async def a_call(kit: ModuleKit, session: Session, action: Action, parameters: object) -> DelegationCall:
    """A call that has the kit's patience, and a credential where the kit has a source of them."""
    credential = None if kit.credentials is None else await kit.credentials.obtain(session)
    deadline = time.monotonic() + kit.patience
    return DelegationCall(
        session=session,
        action=action,
        parameters=parameters,
        deadline=deadline,
        request_id=new_id(),
        credential=credential,
        tickets=None if kit.granter is None else Lent(kit.granter, session, deadline),
    )


async def ask(
    kit: ModuleKit, module: DelegationModule, session: Session, action: Action, parameters: object = None
) -> DelegationResult:
    """Call the module directly: harmlessly, where no parameters are given."""
    given = harmless(kit, action) if parameters is None else parameters
    call = await a_call(kit, session, action, given)
    return await bounded(module.delegate(call), kit.patience, f"delegate() of {action.name}")


def road_to(
    module: DelegationModule,
    timeout: float = 30.0,
    credentials: CredentialSource | None = None,
    granter: TicketGranter | None = None,
) -> tuple[Pipeline, MemorySink]:
    """A real pipeline with the module registered as :data:`NAME`, and what it records."""
    registry, sink = DelegationRegistry(), MemorySink()
    registry.register(NAME, module, credentials=credentials, granter=granter)
    return Pipeline(registry, Audit(sink), validator=validate_parameters, timeout=timeout), sink
