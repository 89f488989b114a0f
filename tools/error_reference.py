"""Make ``docs/reference/errors.md`` from the error tree: core's, and those of the installed plug-ins of this project.

``python tools/error_reference.py`` writes it; ``--check`` says whether it is current.
"""

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from config_reference import first_party
from config_reference import main as write

from actas.core import (
    ActasError,
    AuditUnavailable,
    AuthenticationError,
    AuthenticationUnavailable,
    ConfigurationError,
    InsufficientScope,
    InvalidProof,
    NonceRequired,
    ServerBusy,
    SessionRejected,
    TooManyRequests,
    UnknownAction,
)
from actas.core.discovery import installed
from actas.http.errors import HttpError
from actas.oauth.metadata import MetadataError
from actas.oauth.reasons import Reason

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "errors.md"
OURS = ("actas.core", "actas.http", "actas.oauth", "actas.mcp")

START = "stops the start, or `actas check` says it; never seen by a caller"
FETCH = "in `actas check --live`, the log and the audit; a caller gets `authentication_unavailable`"
FORMS: Sequence[tuple[type[ActasError] | tuple[type[ActasError], ...], str]] = (
    (ConfigurationError, START),
    (HttpError, FETCH),
    (MetadataError, FETCH),
    (AuthenticationUnavailable, "HTTP 503"),
    ((InvalidProof, NonceRequired), "HTTP 401 with `WWW-Authenticate: DPoP error=…`"),
    (AuthenticationError, "HTTP 401 with `WWW-Authenticate: Bearer error=…`"),
    (SessionRejected, "HTTP 403 without a challenge"),
    (InsufficientScope, "HTTP 403 with a challenge that names all scopes"),
    (UnknownAction, "JSON-RPC error -32602"),
    (TooManyRequests, "HTTP 429 with `Retry-After`"),
    (ServerBusy, "HTTP 503 with `Retry-After`"),
    (AuditUnavailable, "HTTP 503 at the door, tool result in a call"),
    (ActasError, "tool result"),
)
"""How each kind reaches a caller: the first one that fits."""

OPERATOR = {
    "configuration": "`actas check` lists every problem with its path.",
    "secret": "Put the secret where the message says that it was looked for: [secrets](../how-to/secrets.md).",
    "plugin": "Install, or uninstall, the distribution that the message names.",
    "http_failed": "See that this server reaches the provider, and trusts its certificate.",
    "http_insecure_url": "Use an `https` URL; plain `http` is for loopback.",
    "provider_metadata": "Compare `issuer`, to the letter, with what the provider's metadata says.",
    "invalid_token": "The audit's `reason` says why ([below](#why-a-token-was-refused)); so does `actas explain`.",
    "authentication_unavailable": "The audit's `reason` says what is wrong; so does `actas check --live`.",
    "invalid_dpop_proof": "The audit's `reason` says what is wrong with it ([below](#why-a-token-was-refused)).",
    "use_dpop_nonce": "Nothing: a DPoP client does as it is told, and goes on.",
    "session_rejected": "Map one of the user's roles in `role_mappings`; where the audit's `reason` says `application` "
    "or `unknown_actor`: [agents and applications](../how-to/agents-and-applications.md).",
    "permission_denied": "The audit's `reason` names the permission, the role or the policy; so does `actas explain`.",
    "authorizer_unavailable": "The audit's `reason` says which authorizer failed, and how; the log has more.",
    "insufficient_scope": "Let the client ask the provider for the scope.",
    "principal_unavailable": "Map `claim_mappings.legacy_username`; `actas whoami` shows who becomes whom.",
    "identity_mismatch": "Treat it as an incident: the downstream let this server in as somebody else.",
    "downstream_unavailable": "See whether the system behind the module is up: the tool `health-check`.",
    "timeout": "`mcp.tool_timeout`, or the plug-in's own limit.",
    "limit_exceeded": "The plug-in's `limits`.",
    "too_many_requests": "The audit's `reason` names the limit: [limits](../how-to/limits.md).",
    "server_busy": "`limits.concurrent`, or one process more.",
    "audit_unavailable": "See that the audit's disk has room and its folder is there.",
    "server_failed": "The protected server's own log; its caller has seen its error as it is.",
    "internal": "Find the request id in the log, and report what stands there.",
    "sql_login_refused": "Give the user a login role in the group that `pg_ident.conf` names; see the server's log.",
    "sql_database_refused": "The user's own grants and policies say no.",
    "sql_statement_refused": "The gate: the user's level, `allowed_functions`, `allowed_types`, `allowed_operators`.",
    "sql_busy": "`pool.total`, `pool.per_user`, `pool.waiting`.",
    "graphql_document_refused": "`limits`, `introspection`; the message says which rule it was.",
    "graphql_document_invalid": "Where it comes often: does `schema_file` still fit the service?",
    "graphql_operation_failed": "Find the request id (`X-Request-Id`) in the service's log; `show_messages`.",
    "graphql_service_refused": "The service's own rules say no to this user as a whole.",
    "graphql_service_busy": "The service's own limits.",
    "graphql_bad_answer": "The audit's `reason` says what was odd: a `url` that redirects, a page instead of JSON.",
    "graphql_answer_too_large": "`limits.response_bytes`, `limits.list_size`.",
    "http_request_refused": "What may be requested: `allow`, `caller_headers`; the audit's `reason` says which rule.",
    "rest_forbidden": "The service's own rules say no to this user; its log has the request id as `X-Request-Id`.",
    "rest_not_found": "Nothing, unless the service hides what the user should see: its own rules.",
    "rest_invalid_request": "Where it comes often: does the service still fit its OpenAPI document?",
    "rest_conflict": "Nothing: the model is told to read again.",
    "rest_busy": "The service's own limits; `limits.attempts` says how often it is asked again.",
    "rest_service_failed": "Find the request id (`X-Request-Id`) in the service's log.",
    "rest_unexpected_answer": "The audit's `reason` says what was odd. `content_types`; a `base_url` that redirects.",
    "rest_answer_too_large": "`limits.response_bytes`, or `pages` for a list.",
    "kerberos_user_unknown": "Is the right claim taken, spelled as the realm spells it? `users`.",
    "kerberos_user_disabled": "The user's account at the KDC.",
    "kerberos_user_not_delegable": "The user is marked sensitive; where it happens to all, the gateway's account.",
    "kerberos_target_refused": "`targets`: whole names, capitals included.",
    "kerberos_target_not_delegable": "The KDC's list for the gateway, or the target's own.",
    "kerberos_target_unknown": "Is the service's name in the realm spelled like that?",
    "kerberos_ticket_rejected": "The target's own keytab: has it the present key, for this name? Its clock.",
    "kerberos_target_unproven": "A proxy in between, or a service without mutual authentication.",
    "kerberos_kdc_unavailable": "`krb5.conf`, DNS, TCP port 88; `limits.threads` where many hang.",
    "kerberos_clock_skew": "NTP here, and at the KDC.",
    "kerberos_gateway_refused": "The keytab: there, readable, with the present key? The gateway's account.",
    "kerberos_http_refused": "The service's own rules say no to this user.",
    "kerberos_http_failed": "Find the request id (`X-Request-Id`) in the service's log.",
    "kerberos_http_unexpected_answer": "The audit's `reason`. A redirect often leads to a login page.",
    "kerberos_path_refused": "`smb.allow`.",
    "kerberos_file_refused": "The permissions of the share and of the file, on the server.",
    "kerberos_shares_busy": "`smb.pool`.",
    "kerberos_file_failed": "The server's status is in the audit's `reason`.",
}
"""What an operator does about a code, where the message does not say it already."""

HEAD = """\
# Errors

<!-- Made by tools/error_reference.py from the classes' docstrings. Change those, then run it. -->

Codes are stable: write rules for them, not for messages. A message is safe to show to a model and says what to do
next. What is private stands in the audit, as `reason`.

How an error reaches a caller:

| form | looks like |
|---|---|
| tool result | a result with `isError`, and in `structuredContent` `{"error": {"code", "message", "requestId"}}` |
| JSON-RPC error | an `error` with code and message: the same for what is hidden and what is not there |
| the same, for resources and prompts | in place of a tool result: `{"code", "requestId"}` is in its `data` |
| HTTP 401, 403, 429, 503 | a body `{"error": code, "error_description": message}` |

`requestId` is the `request_id` of the [audit](audit.md). A request without any token gets a 401 without `error` in its
challenge (RFC 6750 section 3.1), recorded as `missing_token`.
"""

REASONS = """\
## Why a token was refused

Callers get `invalid_token` whatever was wrong with a token (RFC 6750 section 3.1), `invalid_dpop_proof` or
`use_dpop_nonce` whatever was wrong with a proof, `authentication_unavailable` where nothing is known against the token,
`session_rejected` where it is genuine and admitted to nothing. The audit's `reason` begins with one of these words, and
`actas explain` shows it.

| reason | |
|---|---|
"""


def render() -> str:
    """The whole page."""
    parts = [HEAD, _chapter("## All servers", errors_in(OURS))]
    for name in first_party():
        plugin = installed()[name]
        package = plugin.target.partition(":")[0].rpartition(".")[0]
        errors = errors_in([package])
        parts += [_chapter(f"## Modules of kind `{name}`", errors)] if errors else []
    reasons = member_descriptions(Reason)
    parts.append(REASONS + "".join(f"| `{reason}` | {_cell(reasons[reason.name])} |\n" for reason in Reason))
    return "\n".join(parts)


def errors_in(packages: Iterable[str]) -> list[type[ActasError]]:
    """Every error class of these packages, in the order of the tree."""
    packages = list(packages)
    for package in packages:
        _import_all(package)
    return [each for each in _tree(ActasError) if any(f"{each.__module__}.".startswith(f"{p}.") for p in packages)]


def form(error: type[ActasError]) -> str:
    """How ``error`` reaches a caller."""
    return next(text for kind, text in FORMS if issubclass(error, kind))


def member_descriptions(words: type) -> dict[str, str]:
    """The docstring under each member of an enumeration."""
    (tree,) = ast.parse(inspect.getsource(words)).body
    assert isinstance(tree, ast.ClassDef)
    return {
        target.id: inspect.cleandoc(text)
        for statement, after in pairwise(tree.body)
        if isinstance(statement, ast.Assign) and isinstance(target := statement.targets[0], ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(text := after.value.value, str)
    }


def _import_all(package: str) -> None:
    root = importlib.import_module(package)
    for info in pkgutil.walk_packages(root.__path__, f"{package}."):
        importlib.import_module(info.name)


def _tree(root: type[ActasError]) -> Iterator[type[ActasError]]:
    yield root
    for each in root.__subclasses__():
        yield from _tree(each)


def _chapter(title: str, errors: Sequence[type[ActasError]]) -> str:
    lines = [title, "", "| code | what it is | form | message | for the operator |", "|---|---|---|---|---|"]
    for error in errors:
        own = "what is wrong, each problem with its path" if issubclass(error, ConfigurationError) else ""
        cells = [f"`{error.code}`", _about(error), form(error), own or error.default_message]
        lines.append("| " + " | ".join(_cell(cell) for cell in [*cells, OPERATOR.get(error.code, "")]) + " |")
    return "\n".join([*lines, ""])


def _about(error: type[ActasError]) -> str:
    """The first paragraph of the docstring; the base class has one for programmers."""
    return "The base of all; never raised itself." if error is ActasError else (error.__doc__ or "").split("\n\n")[0]


def _cell(text: str) -> str:
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


if __name__ == "__main__":
    sys.exit(write(PAGE, render))
