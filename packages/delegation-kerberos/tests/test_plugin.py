"""The entry point, the settings, and what is wrong with them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerberos_stage import ALICE

from actas.core import ConfigurationError, CredentialUse, DelegationModule, Effect, TicketGranter
from actas.delegation.kerberos import failures
from actas.delegation.kerberos.failures import TargetRefused
from actas.delegation.kerberos.module import KerberosDelegation
from actas.delegation.kerberos.plugin import actas_module_kinds
from actas.delegation.kerberos.settings import HttpServiceSettings, KerberosSettings, LimitSettings
from actas.delegation.kerberos.targets import Targets

SITE = HttpServiceSettings(
    base_url="https://web.example.com/app", description="The company's reports.", allow=["GET /reports/{id}"]
)
GOOD = KerberosSettings(
    principal="gateway/mcp.example.com@EXAMPLE.COM",
    keytab="/etc/actas/gateway.keytab",
    targets=["HTTP/web.example.com", "MSSQLSvc/db.example.com:1433", "ldap/dc1.example.com/example.com"],
    http={"intranet": SITE},
)


def test_the_plugin_offers_one_kind_that_lends_tickets() -> None:
    (kind,) = actas_module_kinds()
    assert (kind.name, kind.settings, kind.grants_tickets) == ("kerberos", KerberosSettings, True)
    assert kind.by_name
    assert (kind.credential, kind.tickets) == (CredentialUse.NEVER, CredentialUse.NEVER)
    made = kind.create("corp", GOOD)
    assert isinstance(made, DelegationModule) and isinstance(made, TicketGranter)


def test_tools_say_what_they_do_and_each_has_a_permission() -> None:
    writes = replace(SITE, allow=["GET /a", "POST /a"], permission="crm:write", scopes=["crm"])
    made = {action.name: action for action in KerberosDelegation(replace(GOOD, http={"a": SITE, "b": writes})).actions}
    assert list(made) == ["s4u2self", "s4u2proxy", "delegate", "http-a", "http-b"]
    assert [action.permission for action in made.values()] == ["kerberos:delegate"] * 3 + ["kerberos:http", "crm:write"]
    assert (made["http-a"].effect, made["http-b"].effect) == (Effect.READ, Effect.WRITE)
    assert made["http-b"].scopes == {"crm"} and "GET /a; POST /a" in made["http-b"].description
    assert "MSSQLSvc/db.example.com:1433@EXAMPLE.COM" in made["s4u2proxy"].description


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"targets": []}, "targets"),
        ({"targets": ["*"]}, "targets"),
        ({"targets": ["HTTP/*"]}, "targets"),
        ({"targets": ["HTTP/*.example.com"]}, "targets"),
        ({"targets": ["HTTP"]}, "targets"),
        ({"targets": ["HTTP/web.example.com@"]}, "targets"),
        ({"targets": ["HTTP/web.example.com@OTHER.EXAMPLE.COM"]}, "targets"),
        ({"targets": ["HTTP/web.example.com\n"]}, "targets"),
        ({"targets": ["HTTP/web\\.example.com"]}, "targets"),
        ({"targets": ["krbtgt/EXAMPLE.COM"]}, "targets"),
        ({"targets": ["KRBTGT/EXAMPLE.COM"]}, "targets"),
        ({"targets": ["kadmin/admin"]}, "targets"),
        ({"keytab": "gateway.keytab"}, "keytab"),
        ({"keytab": ""}, "keytab"),
        ({"permission": ""}, "permission"),
        ({"limits": LimitSettings(threads=0)}, "limits.threads"),
        ({"limits": LimitSettings(kdc_seconds=0)}, "limits.kdc_seconds"),
        ({"limits": LimitSettings(tickets=0)}, "limits.tickets"),
        ({"http": {"In tranet": SITE}}, "http.In tranet"),
        ({"http": {"a": replace(SITE, base_url="http://web.example.com")}}, "http.a.base_url"),
        ({"http": {"a": replace(SITE, base_url="https://user:pw@web.example.com")}}, "http.a.base_url"),
        ({"http": {"a": replace(SITE, base_url="https://web.example.com/?x=1")}}, "http.a.base_url"),
        ({"http": {"a": replace(SITE, base_url="https://other.example.com")}}, "http.a.target"),
        ({"http": {"a": replace(SITE, target="HTTP/other.example.com")}}, "http.a.target"),
        ({"http": {"a": replace(SITE, allow=[])}}, "http.a.allow"),
        ({"http": {"a": replace(SITE, allow=["DELETE /x"])}}, "http.a.allow"),
        ({"http": {"a": replace(SITE, allow=["GET /../x"])}}, "http.a.allow"),
        ({"http": {"a": replace(SITE, description="Reports")}}, "http.a.description"),
        ({"http": {"a": replace(SITE, permission="")}}, "http.a.permission"),
        ({"http": {"a": replace(SITE, networks=["10.0.0.0/33"])}}, "http.a.networks"),
        ({"http": {"a": replace(SITE, seconds=0)}}, "http.a.seconds"),
    ],
)
def test_settings_that_make_no_sense_stop_the_start(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        KerberosDelegation(replace(GOOD, **fields))
    assert [problem for problem in caught.value.problems if problem.startswith(f"{path}:")], caught.value.problems


def test_targets_of_another_realm_are_there_where_it_is_configured() -> None:
    other = "HTTP/web.example.net@OTHER.EXAMPLE.COM"
    made = Targets(replace(GOOD, targets=[other], realms=["OTHER.EXAMPLE.COM"]))
    assert made.found(other) == other
    with pytest.raises(TargetRefused):
        made.found("HTTP/web.example.net")


@given(st.text() | st.text(alphabet="HTP/webxample.comMSQLSvcdb:1433@\\\x00\n*", max_size=60))
def test_only_whole_names_on_the_list_are_found(text: str) -> None:
    listed = {name for target in GOOD.targets for name in (target, f"{target}@EXAMPLE.COM")}
    if text in listed:
        assert Targets(GOOD).found(text).endswith("@EXAMPLE.COM")
        return
    with pytest.raises(TargetRefused):
        Targets(GOOD).found(text)


@pytest.mark.parametrize(
    "target",
    [
        "http/web.example.com", "HTTP/WEB.example.com", "HTTP/web.example.com@EVIL", "HTTP/web.example.com ",
        "HTTP/web.example.com@EXAMPLE.COM@X", "HTTP/web.example.com\x00", "HTTP\\/web.example.com",
        "HTTP/web.example.com/x", "HTTP/\u0456web.example.com", "HTTP/web\u3002example.com", "", "/", "@EXAMPLE.COM",
        "krbtgt/EXAMPLE.COM", "gateway/mcp.example.com", "a" * 100_000,
    ],
    ids=lambda value: ascii(value)[:40],
)  # fmt: skip
def test_a_target_that_only_looks_like_a_listed_one_is_refused(target: str) -> None:
    with pytest.raises(TargetRefused):
        Targets(GOOD).found(target)


@pytest.mark.parametrize("code", [2529638918, -1765328378])
def test_the_librarys_numbers_are_understood_however_wide(code: int) -> None:
    assert failures.number(code) == 6
    assert failures.of_user(code).code == "kerberos_user_unknown"


@pytest.mark.parametrize("code", [0, 1, 2**31, 2**32 - 1, -1])
def test_a_number_that_nobody_knows_is_a_failure_and_not_an_answer(code: int) -> None:
    assert failures.of_user(code).code == failures.of_target(code).code == "kerberos_failed"
    assert failures.of_gateway(code).code == "kerberos_gateway_refused"


def test_alice_is_named_without_asking_anybody() -> None:
    assert KerberosDelegation(GOOD).principal(ALICE) == "alice@EXAMPLE.COM"
