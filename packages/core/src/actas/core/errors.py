"""Every error that core raises, in one tree, each with a stable code.

::

    ActasError                      base; nothing else is raised on purpose
     ├── ConfigurationError         the configuration or an installation is wrong; nothing was started
     │    ├── SecretError           a {"$secret": …} cannot be resolved
     │    └── PluginError           a plug-in is missing, claimed twice, misnamed or broken
     ├── AuthenticationError        nobody is known: HTTP 401
     │    └── AuthenticationUnavailable  nor can be, just now: HTTP 503
     │    ├── InvalidProof          the token is bound to a key, and the proof of that key is no good
     │    └── NonceRequired         the proof needs the nonce that this answer brings: make another
     ├── AuthorizationError         somebody is known and may not: HTTP 403
     │    ├── SessionRejected       the token is good, its roles are not accepted
     │    ├── SessionExpired        the token ran out after it was verified
     │    ├── PermissionDenied      the session lacks a permission or role
     │    ├── InsufficientScope     the session lacks scopes: step up and try again
     │    └── AuthorizerUnavailable an authoriser cannot say whether the session may
     ├── InvalidParameters          the parameters do not fit the action
     ├── UnknownAction              no such module or action
     ├── DelegationError            the way downstream
     │    ├── DelegationRefused     the module or the downstream refused this call
     │    ├── PrincipalUnavailable  the session has no name that the downstream could know
     │    ├── CredentialRejected    the downstream did not take the exchanged token
     │    ├── IdentityMismatch      the downstream saw somebody else: the result was thrown away
     │    ├── DownstreamUnavailable the downstream does not answer
     │    ├── DelegationTimeout     the time was up
     │    └── LimitExceeded         too much of something
     ├── TooManyRequests            one user, tool, issuer or address asks too often: HTTP 429
     ├── ServerBusy                 everybody together asks for too much at once: HTTP 503
     ├── AuditUnavailable           the minutes cannot be kept, and the policy is to refuse
     └── InternalError              a defect; the private detail is in the log

``message`` is safe to show to a model, says what to do next, and never contains data, a token or
a configured value. ``detail`` is for the log and the audit. A plug-in derives its own classes
with codes of its own, prefixed with its name.
"""

import math
import traceback
from collections.abc import Iterable
from typing import ClassVar

from actas.core.events import Outcome


class ActasError(Exception):
    """Base class. ``code`` is stable; ``message`` is public; ``detail`` is private."""

    code: ClassVar[str] = "error"
    outcome: ClassVar[Outcome] = Outcome.FAILED
    default_message: ClassVar[str] = "The call failed."

    def __init__(self, message: str | None = None, *, detail: str | None = None) -> None:
        self.message = message or self.default_message
        self.detail = detail
        super().__init__(self.message)


class ConfigurationError(ActasError):
    """The configuration or the installation is wrong. ``problems`` has them all, each with its path."""

    code = "configuration"

    def __init__(self, problems: str | Iterable[str], *, detail: str | None = None) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems), detail=detail)


class SecretError(ConfigurationError):
    """A secret cannot be resolved. Names the configuration path and the secret, never a value."""

    code = "secret"


class PluginError(ConfigurationError):
    """A plug-in is missing, claimed twice, misnamed or broken. Names the distribution at fault."""

    code = "plugin"


class AuthenticationError(ActasError):
    """Nobody is known. ``reason`` is a stable, private word for the audit; callers get one message for all.

    The private ``detail`` begins with it.

    A caller is told nothing that tells issuers, keys or audiences apart (RFC 6750 section 3.1).
    """

    code = "invalid_token"
    outcome = Outcome.REFUSED
    default_message = "The access token is missing, malformed, expired or not for this server. Get a new one."

    def __init__(self, reason: str, message: str | None = None, *, detail: str | None = None) -> None:
        self.reason = reason
        super().__init__(message, detail=f"{reason}: {detail}" if detail else str(reason))


class AuthenticationUnavailable(AuthenticationError):
    """It cannot be found out who is calling. Says nothing against the token: a client that threw it away would only
    ask the provider that is in trouble for another one."""

    code = "authentication_unavailable"
    outcome = Outcome.FAILED
    default_message = "This server cannot check access tokens at the moment. Keep yours and try again later."


class InvalidProof(AuthenticationError):
    """The token is bound to a key, and what should prove that the caller has it does not (RFC 9449 section 7.1)."""

    code = "invalid_dpop_proof"
    default_message = (
        "The DPoP proof is missing, malformed, was used before or is not for this request. Make a new one."
    )


class NonceRequired(AuthenticationError):
    """The proof needs a nonce of this server (RFC 9449 section 9): ``nonce``, which is no secret."""

    code = "use_dpop_nonce"
    default_message = "Make a new DPoP proof, with the nonce that the DPoP-Nonce header gives."

    def __init__(self, reason: str, nonce: str) -> None:
        self.nonce = nonce
        super().__init__(reason)


class AuthorizationError(ActasError):
    """Somebody is known and may not."""

    code = "forbidden"
    outcome = Outcome.REFUSED
    default_message = "You may not do this. Ask whoever administers this server for access."


class SessionRejected(AuthorizationError):
    """The token is good, but its roles are not accepted here."""

    code = "session_rejected"
    default_message = "You are known here but admitted to nothing. Ask whoever administers this server for a role."


class SessionExpired(AuthorizationError):
    """The token ran out after it was verified."""

    code = "session_expired"
    default_message = "The access token has expired. Get a new one."


class PermissionDenied(AuthorizationError):
    """The session lacks a permission or a role. Only ``detail`` says which."""

    code = "permission_denied"


class InsufficientScope(AuthorizationError):
    """The session is entitled but its token lacks scopes (RFC 6750 section 3.1).

    ``scopes`` are *all* that the call needs, not only those that are missing.
    """

    code = "insufficient_scope"
    default_message = "The access token lacks a scope. Step up: ask for a token with the scopes that are named."

    def __init__(self, scopes: Iterable[str], *, detail: str | None = None) -> None:
        self.scopes = frozenset(scopes)
        super().__init__(detail=detail or f"needs {' '.join(sorted(self.scopes))}")


class AuthorizerUnavailable(AuthorizationError):
    """An authoriser failed, was late, or answered nonsense: nobody can say whether the session may."""

    code = "authorizer_unavailable"
    default_message = "This server cannot decide at the moment whether you may do this. Try again later."


class InvalidParameters(ActasError):
    """The parameters do not fit the action. The message names the fields, never their values."""

    code = "invalid_parameters"
    outcome = Outcome.REFUSED
    default_message = "The parameters do not fit. Compare them with the tool's schema."


class UnknownAction(ActasError):
    """No such module or action."""

    code = "unknown_action"
    outcome = Outcome.REFUSED
    default_message = "There is no such action. List the tools to see what there is."


class DelegationError(ActasError):
    """Something went wrong on the way downstream."""

    code = "delegation_failed"


class DelegationRefused(DelegationError):
    """The module or the downstream refused this call. Trying again changes nothing."""

    code = "delegation_refused"
    outcome = Outcome.REFUSED
    default_message = "The system behind this tool refused the call."


class PrincipalUnavailable(DelegationRefused):
    """The session has no name that the downstream could know."""

    code = "principal_unavailable"
    default_message = "Your account has no identity in the system behind this tool. Ask for one to be mapped."


class CredentialRejected(DelegationRefused):
    """The downstream did not take the token that was exchanged for it (HTTP 401), and did nothing.

    A module raises it; the pipeline exchanges anew and tries once more.
    """

    code = "credential_rejected"
    default_message = "The system behind this tool did not accept your access. Sign in anew; report it if that fails."


class IdentityMismatch(DelegationError):
    """The downstream reported another identity than the session's. The result was thrown away."""

    code = "identity_mismatch"
    outcome = Outcome.REFUSED
    default_message = "The system behind this tool did not recognise you as yourself. Report this."


class DownstreamUnavailable(DelegationError):
    """The downstream does not answer."""

    code = "downstream_unavailable"
    default_message = "The system behind this tool does not answer. Try again later."


class DelegationTimeout(DelegationError):
    """The time was up; the downstream was told to stop."""

    code = "timeout"
    default_message = "The call took too long and was stopped. Ask for less."


class LimitExceeded(DelegationError):
    """Too much of something: rows, bytes, concurrent calls."""

    code = "limit_exceeded"
    outcome = Outcome.REFUSED
    default_message = "A limit was reached. Ask for less, or try again later."


class TooManyRequests(ActasError):
    """One user, tool, issuer or address asks too often, or one user for too much at once (RFC 6585 section 4).

    ``retry_after`` is in whole seconds, at least 1.
    """

    code = "too_many_requests"
    outcome = Outcome.REFUSED
    default_message = "Too many requests. Wait for as many seconds as Retry-After says, then try again."

    def __init__(self, retry_after: float, *, detail: str | None = None) -> None:
        self.retry_after = max(1, math.ceil(retry_after))
        super().__init__(detail=detail)


class ServerBusy(ActasError):
    """All callers together ask for more at once than this server takes on. Nothing was looked at."""

    code = "server_busy"
    outcome = Outcome.REFUSED
    default_message = "This server is busy. Try again in a moment."
    retry_after = 1
    """Seconds."""


class AuditUnavailable(ActasError):
    """The minutes cannot be kept, and the policy is to refuse what cannot be recorded."""

    code = "audit_unavailable"
    default_message = "This server cannot record calls at the moment, and refuses those it cannot record."


class InternalError(ActasError):
    """A defect, ours or a plug-in's. Quote the request id: the log has the rest."""

    code = "internal"
    default_message = "The tool failed unexpectedly. Report the request id."


def places(error: BaseException) -> str:
    """Where ``error`` came from, for the log: the types and frames of its whole chain, and none of their texts.

    The text of a foreign exception may hold anything: a token, a password, a row.
    """
    parts: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        parts.append(f"{type(link).__qualname__}\n{''.join(traceback.format_tb(link.__traceback__))}".rstrip())
        link = link.__cause__ or link.__context__
    return "\nafter ".join(parts)


def under(path: str, error: ActasError) -> ConfigurationError:
    """What ``error`` says about a part of the configuration, each problem of it with that part's ``path``."""
    problems = error.problems if isinstance(error, ConfigurationError) else (error.message,)
    return ConfigurationError([f"{path}: {problem}" for problem in problems], detail=error.detail)
