"""The entry point, the settings, and what is wrong with them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ldap_directory import gateway

from actas.core import ConfigurationError, DelegationModule, Effect, Secret
from actas.delegation.ldap.actions import actions
from actas.delegation.ldap.plugin import actas_module_kinds
from actas.delegation.ldap.servers import Server, parsed
from actas.delegation.ldap.settings import (
    CertificateSettings,
    GroupSettings,
    LdapSettings,
    LimitSettings,
    PermissionSettings,
    PoolSettings,
)

GOOD = LdapSettings(
    urls=["ldaps://ldap.example.com"],
    identity="proxied_authorization",
    authzid="dn:uid={},ou=people,dc=example,dc=com",
    bases=["dc=example,dc=com"],
    attributes=["uid", "cn"],
    service=gateway(),
    probe="probe",
)
(KIND,) = actas_module_kinds()


def test_the_plugin_makes_a_module() -> None:
    assert KIND.name == "ldap" and KIND.settings is LdapSettings and KIND.by_name
    assert isinstance(KIND.create("staff", GOOD), DelegationModule)


def test_tools_that_change_something_are_there_where_they_are_configured_and_say_so() -> None:
    assert [action.name for action in actions(GOOD)] == ["search", "read", "compare", "groups", "whoami"]
    assert {action.effect for action in actions(GOOD)} == {Effect.READ}
    every = actions(replace(GOOD, writable=["mobile"], password_change=True))
    assert {action.name: action.permission for action in every[5:]} == {
        "modify": "ldap:write",
        "change-password": "ldap:password",
    }
    assert {action.effect for action in every[5:]} == {Effect.DESTRUCTIVE}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"urls": []}, "urls"),
        ({"urls": ["http://ldap.example.com"]}, "urls"),
        ({"urls": ["ldaps://"]}, "urls"),
        ({"urls": ["ldaps://a.example/dc=x"]}, "urls"),
        ({"urls": ["ldaps://a.example:99999"]}, "urls"),
        ({"urls": ["ldaps://user@a.example"]}, "urls"),
        ({"urls": ["ldapi://relative"]}, "urls"),
        ({"urls": ["ldap://a.example"], "unencrypted": True}, "unencrypted"),
        ({"urls": ["ldap://localhost.example"], "unencrypted": True}, "unencrypted"),
        ({"authzid": ""}, "authzid"),
        ({"authzid": "uid={}"}, "authzid"),
        ({"authzid": "dn:uid=alice,dc=x"}, "authzid"),
        ({"authzid": "dn:uid={}-x,dc=x"}, "authzid"),
        ({"asked_as": ""}, "asked_as"),
        ({"asked_as": "u:"}, "asked_as"),
        ({"service": None}, "service"),
        ({"certificate": CertificateSettings(certificate="a", key="b")}, "service"),
        ({"identity": "sasl_external"}, "certificate"),
        ({"identity": "kerberos"}, "identity"),
        ({"probe": None}, "probe"),
        ({"probe": "a,b"}, "probe"),
        ({"bases": []}, "bases"),
        ({"bases": ["example.com"]}, "bases"),
        ({"groups": GroupSettings(base="groups")}, "groups.base"),
        ({"groups": GroupSettings(attribute="member)")}, "groups.attribute"),
        ({"groups": GroupSettings(most=0)}, "groups"),
        ({"attributes": []}, "attributes"),
        ({"attributes": ["*"]}, "attributes"),
        ({"attributes": ["cn;lang-de"]}, "attributes"),
        ({"attributes": ["userPassword"]}, "attributes"),
        ({"attributes": ["USERPASSWORD"]}, "attributes"),
        ({"searchable": ["unicodePwd"]}, "searchable"),
        ({"writable": ["userPassword"]}, "writable"),
        ({"writable": ["krbPrincipalKey"]}, "writable"),
        ({"matching_rules": ["x y"]}, "matching_rules"),
        ({"permissions": PermissionSettings(read="")}, "permissions"),
        ({"permissions": PermissionSettings(read="ldap:write")}, "permissions"),
        ({"cursor_key": Secret("short")}, "cursor_key"),
        ({"limits": LimitSettings(seconds=float("nan"))}, "limits.seconds"),
        ({"limits": LimitSettings(page=0)}, "limits.page"),
        ({"pool": PoolSettings(total=0)}, "pool.total"),
        ({"ca_file": "/nowhere/ca.crt"}, "ca_file"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_path(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        KIND.create("staff", replace(GOOD, **fields))
    assert any(problem.startswith(path) for problem in caught.value.problems), caught.value.problems
    assert "gateway-password" not in str(caught.value)


def test_a_file_that_is_no_authority_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no PEM")
    with pytest.raises(ConfigurationError, match="ca_file"):
        KIND.create("staff", replace(GOOD, ca_file=str(tmp_path / "ca.crt")))


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        KIND.create("staff", replace(GOOD, urls=[], bases=[], probe=None))
    assert {problem.partition(":")[0] for problem in caught.value.problems} == {"urls", "bases", "probe"}


def test_urls() -> None:
    assert parsed("ldaps://a.example") == Server("ldaps", "a.example", 636)
    assert parsed("ldap://[::1]:1389/") == Server("ldap", "::1", 1389)
    assert parsed("ldapi://%2Frun%2Fldapi/") == Server("ldapi", "/run/ldapi")
    ours = ("ldap://127.0.0.9", "ldap://[::1]", "ldap://localhost", "ldapi://%2Fldapi")
    assert all(parsed(url).loopback for url in ours) and not parsed("ldap://10.0.0.1").loopback


def test_secrets_print_nowhere() -> None:
    assert "gateway-password" not in repr(GOOD) + repr(vars(KIND.create("staff", GOOD)))


def test_kerberos_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    settings = replace(GOOD, identity="kerberos", service=None, probe=None)
    with pytest.raises(ConfigurationError, match=r"actas-delegation-ldap\[kerberos\]"):
        KIND.create("staff", settings)
