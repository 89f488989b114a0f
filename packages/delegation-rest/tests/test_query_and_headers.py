"""What a caller can write into query and headers, and what stands there whatever he writes."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_gateway import ALICE

from actas.core import Credential, InvalidParameters, PrincipalUnavailable, Secret
from actas.delegation.rest.headers import HeaderRules, problems
from actas.delegation.rest.settings import RestSettings
from actas.http import RequestRefused, presented
from actas.http.query import Style, encoded, pairs, text

CREDENTIAL = Credential(token=Secret("exchanged.to-ken"), subject="alice", expires_at=2e9)


def rules(**fields: Any) -> HeaderRules:
    return HeaderRules(RestSettings(base_url="https://api.example", **fields))


def made(given: dict[str, str] | None = None, method: str = "GET", **fields: Any) -> dict[str, str]:
    sent = rules(**fields).made(ALICE, method, "r-1", given or {}, content_type=None)
    return sent | presented(CREDENTIAL, method, "https://api.example/x")


@pytest.mark.parametrize(
    ("value", "style", "sent"),
    [
        ("a b&c=d", "repeated", "q=a%20b%26c%3Dd"),
        ([1, "a", True], "repeated", "q=1&q=a&q=true"),
        ([1, 2], "comma", "q=1%2C2"),
        ([1, 2], "space", "q=1%202"),
        ([1, 2], "pipe", "q=1%7C2"),
        ({"a": 1, "b": "x]"}, "deep", "q%5Ba%5D=1&q%5Bb%5D=x%5D"),
        ({"a": [1]}, "json", "q=%7B%22a%22%3A%5B1%5D%7D"),
        (None, "repeated", ""),
        (1.5, "repeated", "q=1.5"),
        ([], "repeated", ""),
    ],
)
def test_values_become_text_as_the_service_wants_them(value: object, style: Style, sent: str) -> None:
    assert encoded(pairs("q", value, style)) == sent


@pytest.mark.parametrize(
    ("value", "style"),
    [({"a": 1}, "repeated"), ([[1]], "repeated"), ([None], "comma"), ({"a": {}}, "deep"), ([{}], "repeated")],
)
def test_what_a_style_cannot_say_is_told(value: object, style: Style) -> None:
    with pytest.raises(InvalidParameters):
        encoded(pairs("q", value, style))


@pytest.mark.parametrize("value", [None, [], {}, float("nan"), float("inf"), object()])
def test_only_a_scalar_is_text(value: object) -> None:
    with pytest.raises(InvalidParameters):
        text(value)


@pytest.mark.parametrize(
    "name",
    [
        "access_token",
        "ACCESS_TOKEN",
        " access_token",
        "_method",
        "X-HTTP-Method-Override",
        "access.token",
        "access token",
        "access_token[]",
        "_method[x]",
        "\uff41ccess_token",
    ],
)
def test_no_query_parameter_brings_a_token_or_another_method(name: str) -> None:
    with pytest.raises(RequestRefused):
        encoded([(name, "x")])


@pytest.mark.parametrize("value", ["a\r\nb", "\x00", "\x7f", "\ud800", "x" * 8001])
def test_a_value_with_a_control_character_and_an_endless_one_are_refused(value: str) -> None:
    with pytest.raises(RequestRefused):
        encoded([("q", value)])


@given(st.lists(st.tuples(st.text(max_size=10), st.text(max_size=20)), max_size=5))
def test_no_value_can_begin_another_parameter(given: list[tuple[str, str]]) -> None:
    from urllib.parse import parse_qsl

    try:
        query = encoded(given)
    except RequestRefused:
        return
    assert parse_qsl(query, keep_blank_values=True, strict_parsing=False) == given
    assert query.isascii() and not set(query) & set(' #\r\n"<>')


def test_authorization_is_the_exchanged_token_whatever_else_is_there() -> None:
    sent = made({"Accept-Language": "de"}, caller_headers=["accept-language"])
    assert sent["authorization"] == "Bearer exchanged.to-ken"
    assert sent["accept-language"] == "de" and sent["x-request-id"] == "r-1"
    assert "the-callers-own" not in str(sent)


@pytest.mark.parametrize(
    "header",
    [
        "Authorization",
        "authorization",
        "AUTHORIZATION",
        "X-User",
        "x-user",
        "Cookie",
        "Host",
        "X-Anything",
        "",
        "a b",
        "Authorization ",
    ],
)
def test_a_header_that_is_not_listed_is_refused(header: str) -> None:
    with pytest.raises(RequestRefused):
        made({header: "mallory"}, identity_headers={"X-User": "username"}, caller_headers=["Accept-Language"])


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\x00", "é", "", " a", "a ", "x" * 2000])
def test_a_header_value_that_is_not_plain_is_refused(value: str) -> None:
    with pytest.raises(RequestRefused):
        made({"Accept-Language": value}, caller_headers=["Accept-Language"])


def test_the_same_header_in_two_spellings_is_refused() -> None:
    with pytest.raises(RequestRefused):
        made({"Accept-Language": "de", "accept-language": "en"}, caller_headers=["Accept-Language"])


def test_identity_headers_say_who_the_session_is() -> None:
    sent = made(identity_headers={"X-User": "username", "X-Issuer": "issuer"}, headers={"X-Key": Secret("k")})
    assert (sent["x-user"], sent["x-issuer"], sent["x-key"]) == ("alice", "https://idp.example", "k")


@pytest.mark.parametrize(
    "name", ["", "a\r\nX-Role: admin", "Anna Mü", " x", "bob, admin", "bob;role=admin", 'a"b', None]
)
def test_who_is_not_fit_for_a_header_is_refused(name: Any) -> None:
    session = replace(ALICE, legacy_username=name)
    with pytest.raises(PrincipalUnavailable):
        rules(identity_headers={"X-User": "legacy_username"}).identity(session)


def test_a_key_is_sent_with_what_could_happen_twice_and_never_the_same() -> None:
    key = {"idempotency_header": "Idempotency-Key"}
    first, second = made(method="POST", **key), made(method="POST", **key)
    assert first["idempotency-key"] != second["idempotency-key"]
    assert "idempotency-key" not in made(method="GET", **key)
    assert rules(**key).repeatable("POST") and not rules().repeatable("POST") and rules().repeatable("PUT")


def test_a_request_id_that_is_none_is_not_sent() -> None:
    sent = rules().made(ALICE, "POST", "", {}, content_type="application/json")
    assert "x-request-id" not in sent and sent["content-type"] == "application/json"


@pytest.mark.parametrize(
    "credential", [replace(CREDENTIAL, token_type="DPoP"), replace(CREDENTIAL, token=Secret("a\nb"))]
)
def test_a_credential_that_is_no_bearer_token_is_not_shown(credential: Credential) -> None:
    with pytest.raises(PrincipalUnavailable):
        presented(credential, "GET", "https://api.example/x")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"headers": {"Authorization": Secret("Bearer static")}}, "headers"),
        ({"headers": {"X-A": Secret("a\nb")}}, "headers"),
        ({"identity_headers": {"Host": "username"}}, "identity_headers"),
        ({"caller_headers": ["Cookie"]}, "caller_headers"),
        ({"caller_headers": ["a b"]}, "caller_headers"),
        ({"caller_headers": ["X-User"], "identity_headers": {"x-user": "username"}}, "caller_headers"),
        ({"idempotency_header": "Content-Length"}, "idempotency_header"),
        ({"caller_headers": ["X_User"], "identity_headers": {"X-User": "username"}}, "caller_headers"),
        ({"caller_headers": ["X_HTTP_Method_Override"]}, "caller_headers"),
        ({"caller_headers": ["X-Forwarded-User"]}, "caller_headers"),
        ({"caller_headers": ["X_Remote_User"]}, "caller_headers"),
        ({"caller_headers": ["X-Real-IP"]}, "caller_headers"),
        ({"caller_headers": ["X-User"]}, "caller_headers"),
        ({"caller_headers": ["X_Tenant"], "identity_headers": {"X-Tenant": "issuer"}}, "caller_headers"),
    ],
)
def test_headers_that_must_not_be_configured_are_told(fields: dict[str, Any], path: str) -> None:
    assert [
        problem.partition(":")[0] for problem in problems(RestSettings(base_url="https://a.example", **fields))
    ] == [path]
    assert not list(problems(RestSettings(base_url="https://a.example", headers={"X-A": Secret("b")})))


@pytest.mark.parametrize("style", ["comma", "space", "pipe"])
def test_one_value_of_a_list_cannot_be_two(style: Any) -> None:
    (pair,) = pairs("ids", ["a", 1, True], style)
    assert pair[0] == "ids" and len(re.split(r"[, |]", pair[1])) == 3
    with pytest.raises(InvalidParameters):
        list(pairs("ids", ["a,b c|d"], style))


def test_a_parameter_without_a_name_and_a_number_without_an_end_are_refused() -> None:
    with pytest.raises(RequestRefused):
        encoded([("", "x")])
    with pytest.raises(InvalidParameters):
        list(pairs("n", 10**5000, "repeated"))
