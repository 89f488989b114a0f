"""What a tired operator may write, and is told at once, with everything that is wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grpc_protos import shop_file

from actas.core import ConfigurationError, CredentialUse, Secret
from actas.delegation.grpc.channels import target
from actas.delegation.grpc.module import GrpcDelegation
from actas.delegation.grpc.plugin import actas_module_kinds, create
from actas.delegation.grpc.settings import (
    GrpcSettings,
    HealthSettings,
    KeepaliveSettings,
    LimitSettings,
    MethodSettings,
    ReflectionSettings,
    RetrySettings,
    TlsSettings,
)

GET = "shop.v1.Orders/GetOrder"
GOOD = GrpcSettings(
    targets=["orders.example.com:443"], permission="orders:use", descriptors=str(shop_file()), allow=[GET]
)


def test_the_plug_in_offers_one_kind_that_needs_an_exchange() -> None:
    (kind,) = actas_module_kinds()
    assert (kind.name, kind.settings, kind.credential) == ("grpc", GrpcSettings, CredentialUse.REQUIRED)
    assert [action.name for action in create("orders", GOOD).actions] == ["get-order", "health"]


@pytest.mark.parametrize(
    ("targets", "resolved"),
    [
        (["orders.example.com:443"], "dns:///orders.example.com:443"),
        (["Orders_1.example:1"], "dns:///Orders_1.example:1"),
        (["10.0.0.1:443"], "ipv4:10.0.0.1:443"),
        (["10.0.0.1:443", "10.0.0.2:444"], "ipv4:10.0.0.1:443,10.0.0.2:444"),
        (["[::1]:443", "[fe80::1]:1"], "ipv6:[::1]:443,[fe80::1]:1"),
    ],
)
def test_targets_are_what_grpc_resolves(targets: list[str], resolved: str) -> None:
    assert target(targets) == resolved


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"targets": []}, "targets: name one"),
        ({"targets": ["orders.example.com"]}, "write host:port"),
        ({"targets": ["orders.example.com:0"]}, "write host:port"),
        ({"targets": ["orders.example.com:x"]}, "write host:port"),
        ({"targets": ["orders.example.com:99999"]}, "write host:port"),
        ({"targets": ["https://orders.example.com:443"]}, "its host is none"),
        ({"targets": ["unix:/run/x:1"]}, "its host is none"),
        ({"targets": ["::1:443"]}, "its host is none"),
        ({"targets": ["[x]:443"]}, "targets:"),
        ({"targets": [":443"]}, "its host is none"),
        ({"targets": ["a:1,b:2"]}, "its host is none"),
        ({"targets": ["a:1", "b:1"]}, "several must be IP addresses"),
        ({"targets": ["127.0.0.1:1", "[::1]:1"]}, "several must be IP addresses"),
        ({"targets": ["127.0.0.1:1", "127.0.0.1:2"]}, "tls.server_name: needed"),
        ({"plaintext": True}, "plaintext: to the loopback only"),
        ({"plaintext": True, "targets": ["10.0.0.1:1"]}, "plaintext: to the loopback only"),
        ({"plaintext": True, "targets": ["localhost:1"], "tls": TlsSettings(ca_file="x")}, "no meaning with plaintext"),
        ({"tls": TlsSettings(key_file="x")}, "belong together"),
        ({"tls": TlsSettings(ca_file="/none/ca.pem")}, "cannot be read"),
        ({"allow": []}, "names no method"),
        ({"allow": ["shop.v1.Orders/Put"]}, "fits no method"),
        ({"allow": ["shop.v1.Orders/*"], "exclude": ["shop.v1.Orders/X"]}, "exclude: 'shop.v1.Orders/X' fits no"),
        ({"allow": [GET], "exclude": [GET]}, "names no method"),
        ({"allow": ["shop.v1.Orders/*"]}, "Upload: it takes a stream"),
        ({"allow": ["shop.v1.Admin/*"]}, "could be a message of any type"),
        ({"methods": {"shop.v1.Orders/PutOrder": MethodSettings()}}, "allow does not have it"),
        ({"methods": {GET: MethodSettings(tool="Get Order")}}, "write names like get-order"),
        ({"methods": {GET: MethodSettings(tool="health")}}, "the tool health is there already"),
        ({"methods": {GET: MethodSettings(seconds=0)}}, f"methods.{GET}.seconds: must be more than 0"),
        ({"methods": {GET: MethodSettings(items=0)}}, f"methods.{GET}.items: must be more than 0"),
        (
            {"allow": [GET, "shop.v1.Orders/PutOrder"], "methods": {GET: MethodSettings(tool="put-order")}},
            "two methods would be the tool put-order",
        ),
        ({"permission": None}, "no permission"),
        ({"permission": None, "health": HealthSettings(permission="x")}, "no permission: give it one, or the module"),
        (
            {"permission": None, "methods": {GET: MethodSettings(permission="x")}},
            "health.permission: no permission",
        ),
        ({"descriptors": None}, "one of them"),
        ({"reflection": ReflectionSettings()}, "one of them"),
        ({"descriptors": "/none/shop.pb"}, "cannot be read"),
        (
            {"descriptors": None, "reflection": ReflectionSettings(), "allow": ["shop.v1.Orders/*"]},
            "with reflection, write whole names",
        ),
        ({"descriptors": None, "reflection": ReflectionSettings(seconds=0)}, "reflection.seconds: must be"),
        ({"descriptors": None, "reflection": ReflectionSettings(files=0)}, "reflection.files: must be"),
        (
            {"descriptors": None, "reflection": ReflectionSettings(metadata={"X-Key": Secret("a")})},
            "reflection.metadata: 'X-Key'",
        ),
        (
            {"descriptors": None, "reflection": ReflectionSettings(metadata={"x-key": Secret("")})},
            "a value is empty",
        ),
        ({"limits": LimitSettings(seconds=float("inf"))}, "limits.seconds: must be"),
        ({"limits": LimitSettings(seconds=float("nan"))}, "limits.seconds: must be"),
        ({"limits": LimitSettings(response_bytes=-1)}, "limits.response_bytes: must be"),
        ({"limits": LimitSettings(request_bytes=10**9)}, "limits.request_bytes: must be"),
        ({"limits": LimitSettings(depth=65)}, "limits.depth: 64 at most"),
        ({"retries": RetrySettings(attempts=6)}, "retries.attempts: must be 1 to 5"),
        ({"retries": RetrySettings(attempts=0)}, "retries.attempts: must be 1 to 5"),
        ({"retries": RetrySettings(factor=0)}, "retries.factor: must be"),
        ({"keepalive": KeepaliveSettings(seconds=0)}, "keepalive.seconds: must be"),
        ({"metadata": {"authorization": Secret("x")}}, "metadata: 'authorization' is no metadata"),
        ({"metadata": {"Authorization": Secret("x")}}, "metadata: 'Authorization' is no metadata"),
        ({"metadata": {"x-request-id": Secret("x")}}, "metadata: 'x-request-id' is no metadata"),
        ({"metadata": {"x_request.id": Secret("x")}}, "metadata: 'x_request.id' is no metadata"),
        ({"metadata": {"grpc-timeout": Secret("x")}}, "is no metadata"),
        ({"metadata": {":path": Secret("x")}}, "is no metadata"),
        ({"metadata": {"x-bin": Secret("x")}}, "is no metadata"),
        ({"metadata": {"x-key": Secret("a\nb")}}, "not plain ASCII text"),
        ({"identity_metadata": {"authorization": "subject"}}, "identity_metadata: 'authorization' is no metadata"),
        (
            {"metadata": {"x-user": Secret("a")}, "identity_metadata": {"x_user": "subject"}},
            "'x_user' stands in metadata already",
        ),
    ],
)
def test_what_makes_no_sense_stops_the_start_and_is_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        GrpcDelegation(replace(GOOD, **changes))
    assert problem in caught.value.message


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        GrpcDelegation(replace(GOOD, targets=["x"], permission=None, retries=RetrySettings(attempts=9)))
    assert len(caught.value.problems) == 3


def test_an_authorization_for_reflection_is_the_gateways_own() -> None:
    reflection = ReflectionSettings(metadata={"authorization": Secret("Bearer gateway")})
    module = GrpcDelegation(replace(GOOD, descriptors=None, reflection=reflection))
    assert [action.name for action in module.actions] == ["get-order", "describe", "health"]


def test_a_descriptor_file_without_a_service_has_no_tools(tmp_path: Path) -> None:
    (tmp_path / "empty.pb").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="fits no method"):
        GrpcDelegation(replace(GOOD, descriptors=str(tmp_path / "empty.pb")))
