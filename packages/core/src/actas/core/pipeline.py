"""The road: the one way from a session to a downstream system. READ THIS FIRST.

Every tool goes through :meth:`Pipeline.delegate` (a module's action) or :meth:`Pipeline.call` (a
function of one's own), and both are the same steps::

    can it be recorded? ─▶ start the clock ─▶ authorize ─▶ validate parameters ─▶ ask the authorisers
      ─▶ name the principal ─▶ exchange the token, where the module wants one ─▶ carry out, both within the
      deadline ─▶ demand a receipt ─▶ compare its identity with the principal ─▶ audit ─▶ result

Whatever happens on the way is one of our errors, is in the minutes, and says nothing private.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from actas.core.audit import Audit
from actas.core.authority import Authority
from actas.core.errors import (
    ActasError,
    AuthorizerUnavailable,
    DelegationTimeout,
    IdentityMismatch,
    InternalError,
    InvalidParameters,
    PrincipalUnavailable,
    places,
)
from actas.core.events import AuditEvent, Outcome
from actas.core.lending import Step, equipped
from actas.core.models import Action, Decision, DelegationCall, DelegationResult, JsonSchema, Question, Receipt, Session
from actas.core.protocols import Validator
from actas.core.registry import DelegationRegistry

logger = logging.getLogger(__name__)

Handler = Callable[[DelegationCall], Awaitable[object]]
"""A tool of one's own: gets the call, returns JSON data, or the result of a delegation it made."""

request_id: ContextVar[str] = ContextVar("actas_request_id")
"""The id of the request being served; every event and error of one request carries the same."""


def construct(action: Action, parameters: Mapping[str, object]) -> object:
    """The validator of the standard library: names are checked, types are not, and a JSON Schema cannot be.

    The server puts one in its place that does all of that.
    """
    declared = action.parameters
    if isinstance(declared, JsonSchema):
        raise InvalidParameters(detail=f"{action.name} has a JSON Schema, and this pipeline nothing that checks it")
    try:
        return declared(**parameters)
    except (TypeError, ValueError) as error:
        raise InvalidParameters(detail=f"{type(error).__name__} from {declared.__name__}") from error


@dataclass(frozen=True, slots=True)
class _Road:
    """What differs between a module's action and a function of one's own."""

    source: str
    module: str | None
    tool: str | None
    principal: Callable[[Session], str]
    step: Step


@dataclass(slots=True)
class _Progress:
    """How far one call has come, for the minutes."""

    started: float = field(default_factory=time.monotonic)
    granted: Decision | None = None


class Pipeline:
    """Carries out actions as the session's user.

    Args:
        registry: the modules.
        audit: where the minutes go.
        validator: makes parameters from what the caller sent.
        timeout: seconds for an action that names none.
        authority: decides who may; one that has roles, permissions and scopes alone where None.
    """

    def __init__(
        self,
        registry: DelegationRegistry,
        audit: Audit,
        *,
        validator: Validator = construct,
        timeout: float = 30.0,
        authority: Authority | None = None,
    ) -> None:
        self.registry = registry
        self.audit = audit
        self.authority = authority or Authority()
        self._validate = validator
        self._timeout = timeout

    async def delegate(
        self, session: Session, module: str, action: str, parameters: Mapping[str, object], *, tool: str | None = None
    ) -> DelegationResult:
        """Carry out one action of one module as ``session``'s user.

        Args:
            parameters: as the caller sent them, not yet validated.
            tool: the name under which it was called, for the minutes.

        Raises:
            ActasError: refused or failed; recorded either way.
        """
        source = f"delegation:{module}"
        try:
            target, declared = self.registry.get(module), self.registry.action(module, action)
        except ActasError as error:
            await self.audit.record(_event(session, action, source, tool, error=error))
            raise
        step = equipped(target.delegate, self.registry.credentials(module), self.registry.granter(module))
        road = _Road(source, module, tool, target.principal, step)
        return await self._carry_out(session, declared, parameters, road)

    async def call(
        self,
        session: Session,
        action: Action,
        parameters: Mapping[str, object],
        handler: Handler,
        *,
        source: str = "tool",
    ) -> DelegationResult:
        """Carry out a tool of one's own in this process: the same road, its receipt says ``in-process``.

        Args:
            source: what it is, for the minutes: ``tool``, ``resource``, ``prompt``.
        """

        async def step(call: DelegationCall) -> DelegationResult:
            answer = await handler(call)
            data, via = (answer.data, answer.receipt) if isinstance(answer, DelegationResult) else (answer, None)
            details = {**via.details, "via": via.method, "as": via.identity} if via else {}
            receipt = Receipt(identity=call.session.subject, method="in-process", details=details)
            return DelegationResult(data=data, receipt=receipt)

        road = _Road(source, None, action.name, lambda session: session.subject, step)
        return await self._carry_out(session, action, parameters, road)

    async def refuse(
        self, session: Session, action: str, error: ActasError, *, tool: str | None = None, source: str = "tool"
    ) -> None:
        """Record that a call was refused before it got here. Raises AuditUnavailable as any record does."""
        await self.audit.record(_event(session, action, source, tool, error=error))

    async def _carry_out(
        self, session: Session, action: Action, parameters: Mapping[str, object], road: _Road
    ) -> DelegationResult:
        await self.audit.ready()
        progress = _Progress()
        try:
            result = await self._attempt(session, action, parameters, road, progress)
        except ActasError as error:
            failure = error
        except (KeyboardInterrupt, GeneratorExit):
            raise  # this process, or this coroutine, ends here and now
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and _cancelled():
                await self._record(session, action, road, progress, outcome=Outcome.CANCELLED)
                raise
            # A defect of a module or a tool, sys.exit() and a cancellation of its own making included.
            logger.error("request %s: %s raised %s", current_request(), action.name, places(error))
            failure = InternalError(detail=f"{type(error).__name__} in {action.name}")
        else:
            await self._record(session, action, road, progress, receipt=result.receipt)
            return result
        await self._record(session, action, road, progress, error=failure)
        raise _bare(failure)

    async def _attempt(
        self, session: Session, action: Action, parameters: Mapping[str, object], road: _Road, progress: _Progress
    ) -> DelegationResult:
        granted = self.authority.authorize(session, action, now=time.time())
        timeout = self._timeout if action.timeout is None else action.timeout
        call = DelegationCall(
            session=session,
            action=action,
            parameters=self._validate(action, parameters),
            deadline=progress.started + timeout,
            request_id=current_request(),
        )
        if self.authority.authorizers:
            granted = await self._confirmed(granted, call, road)
        progress.granted = granted
        principal = road.principal(session)
        if not isinstance(principal, str) or not principal:  # pyright: ignore[reportUnnecessaryIsInstance] -- foreign code
            raise PrincipalUnavailable(detail=f"the module named {principal!r} as the principal")
        limit = asyncio.timeout(call.remaining(time.monotonic()))
        try:
            async with limit:
                result = await road.step(call)
        except Exception:
            if not limit.expired():
                raise
            # Also where the module answered the cancellation with an error of its own.
            raise DelegationTimeout(detail=f"{action.name} did not end within {timeout:g} s") from None
        return _proven(result, principal)

    async def _confirmed(self, granted: Decision, call: DelegationCall, road: _Road) -> Decision:
        """Ask the authorisers, who have seen the validated parameters. They have no longer than the call."""
        tool = road.tool or call.action.name
        question = Question(
            session=call.session, tool=tool, module=road.module, action=call.action, parameters=call.parameters
        )
        limit = asyncio.timeout(call.remaining(time.monotonic()))
        try:
            async with limit:
                return await self.authority.confirm(granted, question)
        except TimeoutError:
            raise AuthorizerUnavailable(detail="the call's time was up before all authorizers had answered") from None

    async def _record(
        self,
        session: Session,
        action: Action,
        road: _Road,
        progress: _Progress,
        *,
        error: ActasError | None = None,
        outcome: Outcome | None = None,
        receipt: Receipt | None = None,
    ) -> None:
        event = _event(
            session,
            action.name,
            road.source,
            road.tool,
            error=error,
            outcome=outcome,
            granted=progress.granted,
            receipt=receipt,
            ms=(time.monotonic() - progress.started) * 1000,
        )
        await self.audit.record(event)


def _bare(error: ActasError) -> ActasError:
    """``error`` without what it came from: whoever prints an error with its causes, or with the variables of its
    frames as error trackers do, would print tokens, passwords and rows."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _proven(result: object, principal: str) -> DelegationResult:
    """The result, if its receipt names ``principal``. Plug-ins are foreign code: nothing is taken on trust."""
    if not isinstance(result, DelegationResult) or not isinstance(result.receipt, Receipt):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InternalError(
            detail=f"the module returned {type(result).__name__}, not a DelegationResult with a receipt"
        )
    identity = result.receipt.identity
    if not isinstance(identity, str) or identity != principal:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise IdentityMismatch(detail=f"expected {principal!r}, the downstream saw {identity!r}")
    return result


def _cancelled() -> bool:
    """Whether somebody asked this task to stop; a module can raise CancelledError without."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def current_request() -> str:
    """The id of the request being served; empty outside of one."""
    return request_id.get("")


def _event(
    session: Session,
    action: str,
    source: str,
    tool: str | None,
    *,
    error: ActasError | None = None,
    outcome: Outcome | None = None,
    granted: Decision | None = None,
    receipt: Receipt | None = None,
    ms: float | None = None,
) -> AuditEvent:
    return AuditEvent.of(
        session,
        source=source,
        action=action,
        outcome=outcome or (error.outcome if error else Outcome.SUCCESS),
        request_id=current_request(),
        tool=tool,
        code=error.code if error else None,
        reason=error.detail if error else None,
        granted_by=granted.reason if granted else None,
        receipt=receipt,
        duration_ms=ms,
    )
