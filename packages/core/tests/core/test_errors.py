"""The error tree: stable codes, public messages, private details."""

import traceback

import pytest

from actas.core import (
    ActasError,
    AuthenticationError,
    AuthorizationError,
    ConfigurationError,
    DelegationError,
    DelegationRefused,
    InsufficientScope,
    Outcome,
    PermissionDenied,
    PrincipalUnavailable,
    SessionRejected,
)
from actas.core import errors as module
from actas.core.errors import places

TREE = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, ActasError)]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [error.code for error in TREE]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


def test_the_codes_stay_what_clients_and_auditors_know() -> None:
    assert {error.__name__: error.code for error in TREE} == {
        "ActasError": "error",
        "AuditUnavailable": "audit_unavailable",
        "AuthenticationError": "invalid_token",
        "AuthenticationUnavailable": "authentication_unavailable",
        "AuthorizationError": "forbidden",
        "AuthorizerUnavailable": "authorizer_unavailable",
        "ConfigurationError": "configuration",
        "DelegationError": "delegation_failed",
        "DelegationRefused": "delegation_refused",
        "DelegationTimeout": "timeout",
        "CredentialRejected": "credential_rejected",
        "DownstreamUnavailable": "downstream_unavailable",
        "IdentityMismatch": "identity_mismatch",
        "InsufficientScope": "insufficient_scope",
        "InternalError": "internal",
        "InvalidParameters": "invalid_parameters",
        "InvalidProof": "invalid_dpop_proof",
        "LimitExceeded": "limit_exceeded",
        "NonceRequired": "use_dpop_nonce",
        "PermissionDenied": "permission_denied",
        "PluginError": "plugin",
        "PrincipalUnavailable": "principal_unavailable",
        "SecretError": "secret",
        "ServerBusy": "server_busy",
        "SessionExpired": "session_expired",
        "SessionRejected": "session_rejected",
        "TooManyRequests": "too_many_requests",
        "UnknownAction": "unknown_action",
    }


def test_the_private_detail_is_in_no_printed_form() -> None:
    error = DelegationRefused("Ask for less.", detail="password=hunter2")
    printed = str(error) + repr(error) + "".join(traceback.format_exception(error))
    assert error.message == "Ask for less."
    assert error.detail == "password=hunter2"
    assert "hunter2" not in printed


def test_a_message_is_never_empty() -> None:
    assert all(error.default_message for error in TREE)
    assert ActasError("").message == ActasError.default_message


def test_a_caller_is_told_the_same_whatever_was_wrong_with_the_token() -> None:
    wrong_key, wrong_audience = AuthenticationError("signature"), AuthenticationError("audience", detail="for x")
    assert str(wrong_key) == str(wrong_audience)
    assert (wrong_key.reason, wrong_key.detail) == ("signature", "signature")
    assert (wrong_audience.reason, wrong_audience.detail) == ("audience", "audience: for x")


def test_a_step_up_names_every_scope_that_is_needed() -> None:
    error = InsufficientScope(["b", "a"])
    assert error.scopes == {"a", "b"}
    assert error.detail == "needs a b"


def test_a_configuration_error_tells_all_problems_at_once() -> None:
    error = ConfigurationError(f"a.{name}: wrong" for name in "xyz")
    assert error.problems == ("a.x: wrong", "a.y: wrong", "a.z: wrong")
    assert str(error) == "a.x: wrong\na.y: wrong\na.z: wrong"
    assert ConfigurationError("just one").problems == ("just one",)


@pytest.mark.parametrize("error", [AuthenticationError, AuthorizationError, SessionRejected, PrincipalUnavailable])
def test_what_a_rule_forbids_is_refused_not_failed(error: type[ActasError]) -> None:
    assert error.outcome is Outcome.REFUSED


def test_the_tree_lets_a_caller_catch_by_kind() -> None:
    assert issubclass(PermissionDenied, AuthorizationError)
    assert issubclass(PrincipalUnavailable, DelegationRefused)
    assert issubclass(DelegationRefused, DelegationError)
    assert DelegationError.outcome is Outcome.FAILED


def test_the_places_of_an_error_name_types_and_frames_but_no_text() -> None:
    def connect(secret: str) -> None:
        raise OSError(f"cannot log in with {secret}")

    def start() -> None:
        try:
            connect("hunter" + str(2))
        except OSError as cause:
            raise ValueError(str(cause)) from cause

    with pytest.raises(ValueError, match="hunter2") as caught:
        start()
    text = places(caught.value)
    assert text.startswith("ValueError\n")
    assert "after OSError" in text
    assert "in connect" in text
    assert "hunter2" not in text


def test_the_places_of_an_error_that_causes_itself_end() -> None:
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    assert places(first) == "ValueError\nafter KeyError"
