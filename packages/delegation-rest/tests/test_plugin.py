"""The entry point, the settings, and what is wrong with them."""

from dataclasses import replace
from typing import Any

import pytest

from actas.core import ConfigurationError, CredentialUse, DelegationModule, Effect
from actas.delegation.rest.declared import operations
from actas.delegation.rest.plugin import actas_module_kinds
from actas.delegation.rest.settings import (
    HealthSettings,
    LimitSettings,
    OperationSettings,
    PageSettings,
    RequestSettings,
    RestSettings,
)

GET = OperationSettings(path="/customers/{id}", description="One customer.")
GOOD = RestSettings(base_url="https://crm.example/v1/", permission="crm:use", operations={"get-customer": GET})


def test_the_plugin_offers_one_kind_that_needs_a_token_and_makes_a_module() -> None:
    (kind,) = actas_module_kinds()
    assert (kind.name, kind.settings, kind.credential) == ("rest", RestSettings, CredentialUse.REQUIRED)
    assert isinstance(kind.create("crm", GOOD), DelegationModule)


def test_tools_are_called_by_their_operations_and_delegate_and_health() -> None:
    allow = RequestSettings(allow=["GET /a", "HEAD /a"], permission="crm:free", scopes=["crm"])
    made = [each.action for each in operations(replace(GOOD, requests=allow))]
    assert [action.tool or action.name for action in made] == ["get-customer", "delegate", "health"]
    assert [action.permission for action in made] == ["crm:use", "crm:free", "crm:use"]
    assert made[1].effect is Effect.READ and "GET /a; HEAD /a" in made[1].description
    writes = [each.action for each in operations(replace(GOOD, requests=RequestSettings(allow=["POST /a"])))]
    assert writes[1].effect is Effect.DESTRUCTIVE


def table(**fields: Any) -> dict[str, Any]:
    return {"operations": {"get-customer": replace(GET, **fields)}}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"base_url": "http://crm.example"}, "base_url"),
        ({"base_url": "ftp://crm.example"}, "base_url"),
        ({"base_url": "crm.example"}, "base_url"),
        ({"base_url": "https://"}, "base_url"),
        ({"base_url": "https://user:pw@crm.example"}, "base_url"),
        ({"base_url": "https://crm.example/?a=b"}, "base_url"),
        ({"base_url": "https://crm.example/#"}, "base_url"),
        ({"base_url": "https://crm.example/a/../b"}, "base_url"),
        ({"base_url": "https://crm.example:port"}, "base_url"),
        ({"base_url": "https://crm.example:99999"}, "base_url"),
        ({"base_url": "https://crm.example\\@evil.example"}, "base_url"),
        ({"base_url": "https://crm example"}, "base_url"),
        ({"base_url": "https://crm.exämple"}, "base_url"),
        ({"base_url": "https://[::1"}, "base_url"),
        ({"base_url": "https://crm.example/{a}"}, "base_url"),
        ({"permission": None}, "operations.get-customer.permission"),
        ({"operations": {"health": GET}}, "operations.health"),
        ({"operations": {"Get": GET}}, "operations.Get"),
        (table(path="customers"), "operations.get-customer"),
        (table(description="One"), "operations.get-customer.description"),
        (table(query=["id"]), "operations.get-customer"),
        (table(query=["access_token"]), "operations.get-customer"),
        (table(body=True), "operations.get-customer"),
        (table(method="POST", query=["body"]), "operations.get-customer"),
        ({"requests": RequestSettings(allow=[])}, "requests.allow"),
        ({"requests": RequestSettings(allow=["GET x"])}, "requests.allow"),
        ({"health": HealthSettings(path="health")}, "health.path"),
        ({"health": HealthSettings(path="/{x}")}, "health.path"),
        ({"pages": {"nothing": PageSettings()}}, "pages.nothing"),
        ({"pages": {"get-customer": PageSettings(most=0)}}, "pages.get-customer.most"),
        ({"pages": {"get-customer": PageSettings(parameter="access_token")}}, "pages.get-customer.parameter"),
        ({"networks": ["10.0.0.1/8"]}, "networks"),
        ({"limits": LimitSettings(seconds=0)}, "limits.seconds"),
        ({"limits": LimitSettings(seconds=float("nan"))}, "limits.seconds"),
        ({"limits": LimitSettings(attempts=11)}, "limits.attempts"),
        ({"content_types": []}, "content_types"),
        ({"headers": {"Authorization": "x"}}, "headers"),
        ({**table(method="POST"), "pages": {"get-customer": PageSettings()}}, "pages.get-customer"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_path(fields: dict[str, Any], path: str) -> None:
    from actas.core import Secret

    if "headers" in fields:
        fields = {"headers": {name: Secret(value) for name, value in fields["headers"].items()}}
    with pytest.raises(ConfigurationError) as refused:
        operations(replace(GOOD, **fields))
    assert any(problem.startswith(path) for problem in refused.value.problems), refused.value.problems


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        operations(replace(GOOD, base_url="x", permission=None, networks=["y"]))
    assert len(refused.value.problems) == 4
