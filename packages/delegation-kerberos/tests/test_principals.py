"""From a session to a principal: whatever stands in a token, it names one user in a configured realm, or nobody."""

import re
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kerberos_stage import ALICE, user

from actas.core import ConfigurationError, PrincipalUnavailable, Session
from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.principals import Principal, Principals, is_users, problems
from actas.delegation.kerberos.settings import KerberosSettings, UserSettings

GATEWAY = "gateway/mcp.example.com@EXAMPLE.COM"


def settings(realms: list[str] | None = None, **users: Any) -> KerberosSettings:
    return KerberosSettings(
        principal=GATEWAY,
        keytab="/etc/actas/gateway.keytab",
        targets=["HTTP/web.example.com"],
        realms=realms or [],
        users=UserSettings(**users),
    )


PLAIN = settings()
DOMAINS = settings(
    ["OTHER.EXAMPLE.COM"],
    forms={
        "CORP\\{user}": "{user}@EXAMPLE.COM",
        "{user}@contractors.example.com": "x-{user}@OTHER.EXAMPLE.COM",
        "{user}": "{user}",
    },
    upn_suffixes=["example.net"],
)


def name_of(name: str | None, written: KerberosSettings = PLAIN) -> Principal:
    return Principals(written).of(replace(ALICE, legacy_username=name))


@pytest.mark.parametrize(
    ("name", "written", "principal"),
    [
        ("alice", PLAIN, Principal("alice@EXAMPLE.COM")),
        ("Alice.Liddell_2-x", PLAIN, Principal("Alice.Liddell_2-x@EXAMPLE.COM")),
        ("a" * 64, PLAIN, Principal(f"{'a' * 64}@EXAMPLE.COM")),
        ("CORP\\alice", DOMAINS, Principal("alice@EXAMPLE.COM")),
        ("corp\\alice", DOMAINS, Principal("alice@EXAMPLE.COM")),
        ("alice@Contractors.Example.com", DOMAINS, Principal("x-alice@OTHER.EXAMPLE.COM")),
        ("alice", DOMAINS, Principal("alice@EXAMPLE.COM")),
        ("alice.liddell@example.net", DOMAINS, Principal("alice.liddell@example.net", enterprise=True)),
        ("alice@EXAMPLE.NET", DOMAINS, Principal("alice@EXAMPLE.NET", enterprise=True)),
    ],
)
def test_a_name_means_what_the_operator_wrote(name: str, written: KerberosSettings, principal: Principal) -> None:
    assert name_of(name, written) == principal


HOSTILE = [
    "alice@EVIL", "alice@EXAMPLE.COM", "alice@EXAMPLE.COM@EVIL", "alice/admin", "alice/admin@EXAMPLE.COM",
    "HTTP/web.example.com", "krbtgt", "KRBTGT", "krbtgt/EXAMPLE.COM", "kadmin", "K/M", "alice\\@EVIL", "EVIL\\alice",
    "CORP\\\\alice", "CORP\\", "\\alice", "CORP\\alice@EVIL", "CORP\\alice/admin", "alice\x00", "alice\x00bob", "a\nb",
    "alice\n", " alice", "alice ", "", "a" * 65, "a" * 10_000, "alice$", "WEB01$", "-alice", ".alice", "alice.",
    "..", ".", "al*ce", "alice;bob", "alice,bob", "alice#", "alice:1", "alice%00", "al\u0456ce", "\u0430lice",
    "alice\u200b", "\uff41lice",
    "al\u212ace", "a\u0301lice", "\u202ealice", "al\ud800ice", "alice@example.net@example.net",
    "alice@example.net/x", "alice@sub.example.net", "alice@example.netx", "@example.net", "alice@example\u3002net",
    "x\\{user}", "{user}", "krbtgt@example.net", "KRBTGT@Example.net", "CORP\\krbtgt", "kadmin@contractors.example.com",
]  # fmt: skip


@pytest.mark.parametrize("written", [PLAIN, DOMAINS], ids=["plain", "domains"])
@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_that_is_not_plainly_one_users_is_nobodys(name: str, written: KerberosSettings) -> None:
    with pytest.raises(PrincipalUnavailable) as caught:
        name_of(name, written)
    assert not name or name.isspace() or name in ("-", ".") or name not in caught.value.message


@given(st.text() | st.text(alphabet="alice@EXAMPL.COMcorp\\/{}$\x00\n\u0430.-_", max_size=40))
@example("alice@example.net")
@example("CORP\\krbtgt")
def test_whatever_is_written_the_principal_is_one_of_a_realm_that_was_configured(name: str) -> None:
    for written in (PLAIN, DOMAINS):
        try:
            principal = name_of(name, written)
        except PrincipalUnavailable:
            continue
        local, realm = re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9._-]*)@([A-Za-z.]+)", principal.name).groups()  # type: ignore[union-attr] -- it must
        assert realm.lower() == "example.net" if principal.enterprise else realm in ("EXAMPLE.COM", "OTHER.EXAMPLE.COM")
        assert local.lower() not in ("krbtgt", "kadmin", "changepw", "kiprop")
        assert local.removeprefix("x-") in name


@given(st.text(alphabet="abcABC012._-@\\", max_size=12), st.text(alphabet="abcABC012._-@\\", max_size=12))
def test_two_names_are_one_principals_only_where_the_operators_forms_say_so(one: str, other: str) -> None:
    try:
        first, second = name_of(one), name_of(other)
    except PrincipalUnavailable:
        return
    assert (first == second) == (one == other)


def test_the_name_may_come_from_a_claim_of_the_token() -> None:
    written = settings(claim="upn", upn_suffixes=["example.net"])
    session = replace(ALICE, claims=MappingProxyType({"upn": "bob@example.net"}))
    assert Principals(written).of(session) == Principal("bob@example.net", enterprise=True)
    for claims in ({}, {"upn": None}, {"upn": ["bob@example.net"]}, {"upn": {"a": 1}}, {"upn": 7}, {"upn": True}):
        with pytest.raises(PrincipalUnavailable):
            Principals(written).of(replace(ALICE, claims=MappingProxyType(claims)))


def test_without_a_name_there_is_no_principal_and_no_other_name_serves() -> None:
    with pytest.raises(PrincipalUnavailable):
        name_of(None)
    with pytest.raises(PrincipalUnavailable):
        Principals(PLAIN).of(Session(issuer="https://idp.example", subject="alice", username="alice", provider="test"))


def test_an_application_has_none() -> None:
    with pytest.raises(PrincipalUnavailable):
        Principals(PLAIN).of(replace(ALICE, application=True))


def test_the_gateway_itself_is_nobody_to_act_as() -> None:
    written = replace(PLAIN, principal="svc-actas@EXAMPLE.COM")
    for name in ("svc-actas", "SVC-ACTAS"):
        with pytest.raises(PrincipalUnavailable):
            name_of(name, written)


def test_a_parameter_is_never_a_name() -> None:
    module = KerberosDelegation(PLAIN)
    assert module.principal(user("alice")) == "alice@EXAMPLE.COM"
    fields = {field for action in module.actions for field in getattr(action.parameters, "__annotations__", {})}
    assert fields == {"target", "action", "targetSPN"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (replace(PLAIN, principal="gateway"), "principal:"),
        (replace(PLAIN, principal="gateway@"), "principal:"),
        (replace(PLAIN, principal="a/b/c@EXAMPLE.COM"), "principal:"),
        (replace(PLAIN, principal="gate way@EXAMPLE.COM"), "principal:"),
        (settings(["EVIL REALM"]), "realms:"),
        (settings([""]), "realms:"),
        (settings(forms={"alice": "{user}"}), "users.forms:"),
        (settings(forms={"{user}{user}": "{user}"}), "users.forms:"),
        (settings(forms={"{user}\u0430": "{user}"}), "users.forms:"),
        (settings(forms={"{user}\n": "{user}"}), "users.forms:"),
        (settings(forms={"{user}": "alice"}), "users.forms:"),
        (settings(forms={"{user}": "{user}/admin"}), "users.forms:"),
        (settings(forms={"{user}": "{user}@OTHER.EXAMPLE.COM"}), "neither the gateway's nor among realms"),
        (settings(forms={}), "users:"),
        (settings(upn_suffixes=["@example.com"]), "users.upn_suffixes:"),
        (settings(claim=""), "users.claim:"),
    ],
)
def test_settings_that_make_no_sense_are_told(written: KerberosSettings, said: str) -> None:
    assert any(said in problem for problem in problems(written))
    with pytest.raises(ConfigurationError) as caught:
        KerberosDelegation(written)
    assert any(said in problem for problem in caught.value.problems)


def test_settings_that_make_sense_are_not() -> None:
    for written in (PLAIN, DOMAINS, settings(forms={}, upn_suffixes=["example.net"])):
        assert list(problems(written)) == []


@pytest.mark.parametrize(
    ("found", "its"),
    [
        ("alice@EXAMPLE.COM", True),
        ("alice.liddell\\@example.net@EXAMPLE.COM", True),
        ("a\\/b@EXAMPLE.COM", True),
        ("gateway/mcp.example.com@EXAMPLE.COM", False),
        ("HTTP/web.example.com@EXAMPLE.COM", False),
        ("alice/admin@EXAMPLE.COM", False),
        ("a\\\\/b@EXAMPLE.COM", False),
        ("WEB01$@EXAMPLE.COM", False),
        ("krbtgt@EXAMPLE.COM", False),
        ("KRBTGT/EXAMPLE.COM@EXAMPLE.COM", False),
    ],
)
def test_what_an_enterprise_name_turns_out_to_be_is_a_users(found: str, its: bool) -> None:
    assert is_users(found, GATEWAY) is its


def test_no_enterprise_name_turns_out_to_be_the_gateway() -> None:
    assert not is_users("svc-mcp@EXAMPLE.COM", "svc-mcp@EXAMPLE.COM")
    assert not is_users("SVC-MCP@EXAMPLE.COM", "svc-mcp@EXAMPLE.COM")
    assert is_users("svc-mcp@EXAMPLE.COM", GATEWAY)
