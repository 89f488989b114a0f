"""What a policy comes to for one call: seen or not, allowed or not, carried out on the one road."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar, cast

import mcp_types as types
from mcp.shared.exceptions import MCPError

from actas.core import (
    ActasError,
    Action,
    AuthorizationError,
    InsufficientScope,
    InvalidParameters,
    Outcome,
    PermissionDenied,
    Pipeline,
    Session,
    UnknownAction,
)
from actas.mcp.caller import Exchange
from actas.mcp.policy import Kind, Policy
from actas.mcp.visibility import hidden

_Result = TypeVar("_Result")


class StepUp(MCPError):
    """An :class:`InsufficientScope` in a form that an MCP server lets through."""

    def __init__(self, error: InsufficientScope) -> None:
        scope = " ".join(sorted(error.scopes))
        super().__init__(types.INVALID_REQUEST, error.message, {"error": error.code, "scope": scope})
        self.insufficient = error


class ServerFailed(ActasError):
    """The protected server answered with an error of its own, which its caller was given as it is."""

    code = "server_failed"
    default_message = "The server behind the door answered with an error."
    outcome = Outcome.FAILED

    def __init__(self, *, result: object = None, error: Exception | None = None) -> None:
        super().__init__(detail="an error result" if error is None else type(error).__name__)
        self.result = result
        self.error = error


class Ruling:
    """Applies a policy.

    Args:
        policy: the rules.
        pipeline: the road that every call takes: authorised anew, within its time, recorded.
    """

    def __init__(self, policy: Policy, pipeline: Pipeline) -> None:
        self._policy = policy
        self._pipeline = pipeline

    async def sees(self, session: Session, kind: Kind, name: str) -> Action | None:
        """What ``name`` needs, if the policy lets ``session`` know of it; the server may still not have it."""
        action, why = await self._judged(session, kind, name)
        return action if why is None else None

    async def unknown(self, session: Session, method: str, kind: Kind, name: str) -> MCPError:
        """The same for what is hidden, what no rule allows and what is not there; the minutes tell them apart."""
        action, why = await self._judged(session, kind, name)
        error: ActasError = UnknownAction(detail="no rule of the policy fits it, or the server does not have it")
        if action is not None and why is not None:
            error = PermissionDenied(detail=why)
        await self._pipeline.refuse(session, method, error, tool=name, source=kind)
        if kind == "method":
            return MCPError(types.METHOD_NOT_FOUND, "Method not found", name)
        data = {"uri": name} if kind == "resource" else None
        return MCPError(types.INVALID_PARAMS, f"Unknown {kind}. List the {kind}s to see what there is.", data)

    async def _judged(self, session: Session, kind: Kind, name: str) -> tuple[Action | None, str | None]:
        """What ``name`` needs, and why it is hidden. Authorisers are asked the same whether there is a rule or not."""
        action = self._policy.action(kind, name)
        asked = action or Action(name=name, description="")
        (why,) = await hidden(self._pipeline, session, [asked], source=kind, always_ask=True)
        return action, why

    async def carry_out(
        self, exchange: Exchange, action: Action, source: str, work: Callable[[], Awaitable[_Result]]
    ) -> _Result:
        """Let the server do its ``work``, and hand on what came of it, an error of its own included.

        Raises:
            ActasError: it may not be done, or not be recorded, or took too long.
        """

        async def step(_: object) -> object:
            exchange.decided = True
            try:
                result = await work()
            except Exception as error:
                insufficient = _insufficient(error)
                raise ServerFailed(error=error) if insufficient is None else insufficient from None
            if isinstance(result, dict) and cast("dict[str, object]", result).get("isError") is True:
                raise ServerFailed(result=cast("object", result))
            return cast("object", result)

        try:
            done = await self._pipeline.call(exchange.session, action, {}, step, source=source)
        except ServerFailed as failure:
            if failure.error is not None:
                raise failure.error from None
            return cast("_Result", failure.result)
        return cast("_Result", done.data)


def answered(exchange: Exchange, error: ActasError) -> MCPError:
    """What is answered to ``error``: by the door in the server's place, or by MCP."""
    exchange.refuse(error)
    if isinstance(error, InsufficientScope):
        return StepUp(error)
    code = types.INVALID_REQUEST if isinstance(error, AuthorizationError) else types.INTERNAL_ERROR
    code = types.INVALID_PARAMS if isinstance(error, InvalidParameters) else code
    return MCPError(code, error.message, {"error": error.code})


def completed(ref: object) -> tuple[Kind, object]:
    """What a ``completion/complete`` is about, by its ``ref``."""
    named: Mapping[str, object] = cast("Mapping[str, object]", ref) if isinstance(ref, Mapping) else {}
    match named.get("type"):
        case "ref/prompt":
            return "prompt", named.get("name")
        case "ref/resource":
            return "resource", named.get("uri")
        case _:
            return "prompt", None


def _insufficient(error: BaseException | None) -> InsufficientScope | None:
    """The InsufficientScope that ``error`` is, carries or was raised from."""
    for _ in range(10):  # a chain can be a ring
        if error is None:
            return None
        if isinstance(error, StepUp):
            return error.insufficient
        if isinstance(error, InsufficientScope):
            return error
        error = error.__cause__
    return None
