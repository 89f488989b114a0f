"""What the start proves, and what it says where the proof fails: with the words that an operator has to write."""

import time

import pytest
from ldap_directory import NAME, PEOPLE, ask, dn, gateway, module_for, user

from actas.core import ConfigurationError, DownstreamUnavailable
from actas.delegation.ldap.actions import WhoAmI
from actas.delegation.ldap.module import LdapDelegation
from actas.delegation.ldap.settings import CertificateSettings
from actas.testing.slapd import LINES, Slapd, person, service
from actas.testing.slapd_lines import AUTHZ_TO, POLICY, SUFFIX

pytestmark = pytest.mark.anyio


async def refusal(module: LdapDelegation) -> str:
    with pytest.raises(ConfigurationError) as caught:
        await module.initialize()
    await module.destroy()
    return caught.value.message


async def test_a_gateway_that_may_act_as_nobody_does_not_start_and_says_what_to_write(own_directory: Slapd) -> None:
    module = module_for(own_directory, service=gateway("powerless"))
    said = await refusal(module)
    assert "does not let the gateway act as this user" in said
    ldif = said[said.index("dn: ") :]
    assert ldif == (f"dn: cn=powerless,ou=services,{SUFFIX}\nchangetype: modify\nreplace: authzTo\nauthzTo: {AUTHZ_TO}")
    own_directory.modify(f"{ldif}\n")
    module = module_for(own_directory, service=gateway("powerless"))
    await module.initialize()
    assert (await ask(module, "alice", WhoAmI())).data == {"seen_as": f"dn:{dn('alice')}"}
    await module.destroy()


@pytest.mark.parametrize("name", ["onelevel", "regex"])
async def test_a_gateway_that_may_act_as_who_does_not_exist_does_not_start_and_says_what_to_write(
    own_directory: Slapd, name: str
) -> None:
    said = await refusal(module_for(own_directory, service=gateway(name)))
    assert "a user who does not exist" in said and AUTHZ_TO in said
    own_directory.modify(said[said.index("dn: ") :] + "\n")
    module = module_for(own_directory, service=gateway(name))
    await module.initialize()
    await module.destroy()


async def test_a_server_that_heeds_no_authz_to_does_not_start_it() -> None:
    lines = LINES.replace(POLICY, "authz-policy none\n")
    with Slapd(person("probe") + service("gateway", authz_to=AUTHZ_TO), lines=lines) as server:
        assert "authz-policy to" in await refusal(module_for(server))


async def test_a_probe_that_is_not_in_the_directory_or_the_gateway_itself_proves_nothing(directory: Slapd) -> None:
    assert "does not let the gateway act as this user" in await refusal(module_for(directory, probe="ghost"))
    itself = module_for(directory, service=None, certificate=certificate(directory), probe="gateway", authzid=SERVICES)
    assert "is the gateway itself" in await refusal(itself)


async def test_another_name_than_the_directorys_does_not_start(directory: Slapd) -> None:
    said = await refusal(module_for(directory, authzid=f"dn:uid={{}},ou=elsewhere,{SUFFIX}", asked_as="u:{}"))
    assert said.startswith("authzid: the directory sees somebody else")


async def test_a_wrong_password_an_unknown_authority_and_another_host_do_not_start(
    directory: Slapd, own_directory: Slapd
) -> None:
    from dataclasses import replace

    from actas.core import Secret

    stranger = str(own_directory.authority.certificate)
    for changed in (
        {"service": replace(gateway(), password=Secret("wrong"))},
        {"ca_file": stranger},
        {"ca_file": None},
        {"urls": [directory.ldaps_url.replace("localhost", "127.0.0.2")]},
        {"urls": [directory.ldap_url], "ca_file": stranger},
        {"urls": ["ldaps://localhost:1"]},
    ):
        module = module_for(directory, **changed)
        with pytest.raises(DownstreamUnavailable) as caught:
            await module.initialize()
        assert "password" not in (caught.value.detail or "").replace("gateway-password", "?? password")
        await module.destroy()


SERVICES = f"dn:cn={{}},ou=services,{SUFFIX}"


def certificate(server: Slapd, name: str = "gateway") -> CertificateSettings:
    files = server.issue_client(name)
    return CertificateSettings(certificate=str(files.certificate), key=str(files.key))


@pytest.mark.parametrize("identity", ["proxied_authorization", "sasl_external"])
async def test_a_client_certificate_is_enough(directory: Slapd, identity: str) -> None:
    module = module_for(directory, identity=identity, service=None, certificate=certificate(directory))
    await module.initialize()
    for who in ("alice", "bob", "alice"):
        result = await ask(module, who, WhoAmI())
        assert result.data == {"seen_as": f"dn:{dn(who)}"} and result.receipt.method == identity
    await module.destroy()


async def test_sasl_external_proves_the_same(own_directory: Slapd) -> None:
    for name, word in (("powerless", "does not let the gateway"), ("onelevel", "a user who does not exist")):
        files = certificate(own_directory, name)
        module = module_for(own_directory, identity="sasl_external", service=None, certificate=files)
        assert word in await refusal(module)


async def test_start_tls_the_unix_socket_and_the_loopback_without_tls(directory: Slapd) -> None:
    module = module_for(directory, urls=[directory.ldap_url])
    await module.initialize()
    assert "STARTTLS" in directory.read_log().upper()
    await ask(module, "alice", WhoAmI())
    await module.destroy()
    module = module_for(directory, urls=[directory.ldapi_url])
    await module.initialize()
    await ask(module, "alice", WhoAmI())
    await module.destroy()


async def test_no_password_leaves_without_tls_unless_it_was_said_so() -> None:
    lines = LINES.replace("security simple_bind=128\n", "")
    people = person("probe") + service("gateway", authz_to=AUTHZ_TO)
    with Slapd(people, lines=lines) as server:
        module = module_for(server, urls=[server.ldap_url], unencrypted=True)
        await module.initialize()
        assert "STARTTLS" not in server.read_log().upper()
        await module.destroy()
        module = module_for(server, urls=[server.ldap_url])
        await module.initialize()
        assert "STARTTLS" in server.read_log().upper()
        await module.destroy()
    with pytest.raises(ConfigurationError, match="unencrypted"):
        module_for(server, urls=["ldap://ldap.example.com"], unencrypted=True)


async def test_a_frozen_directory_is_one_that_does_not_answer(own_directory: Slapd) -> None:
    from actas.delegation.ldap.settings import PoolSettings

    module = module_for(own_directory, pool=PoolSettings(connect_seconds=0.5))
    own_directory.freeze()
    started = time.monotonic()
    with pytest.raises(DownstreamUnavailable):
        await module.initialize()
    assert time.monotonic() - started < 9, "else the server would not wait for it"
    own_directory.thaw()
    await module.initialize()
    await module.destroy()


def test_a_name_becomes_one_value_of_the_template(directory: Slapd) -> None:
    module = module_for(directory, authzid=NAME)
    assert module.principal(user("a@b.c")) == f"dn:uid=a@b.c,{PEOPLE}"
