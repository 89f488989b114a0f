"""What is in the directory of these tests, and how it is asked."""

import time
from typing import Any

from actas.core import ActasError, DelegationCall, DelegationResult, Secret, Session, Tickets
from actas.delegation.ldap import actions
from actas.delegation.ldap.module import LdapDelegation
from actas.delegation.ldap.settings import GroupSettings, LdapSettings, ServiceSettings
from actas.testing.slapd import Slapd, person, service
from actas.testing.slapd_lines import AUTHZ_TO, GATEWAY, SUFFIX

PEOPLE = f"ou=people,{SUFFIX}"
NAME = f"dn:uid={{}},{PEOPLE}"
MANY = 2000
ENTRIES = f"ou=many,{SUFFIX}"


def group(name: str, *members: str) -> str:
    lines = [f"dn: cn={name},ou=groups,{SUFFIX}", "objectClass: groupOfNames", f"cn: {name}"]
    return "\n".join([*lines, *(f"member: {member}" for member in members), "", ""])


def unit(name: str) -> str:
    return f"dn: ou={name},{SUFFIX}\nobjectClass: organizationalUnit\nou: {name}\n\n"


def dn(uid: str) -> str:
    return f"uid={uid},{PEOPLE}"


SEED = "".join(
    [
        *(person(uid, f"mobile: of-{uid}", f"homePhone: secret-{uid}") for uid in ("alice", "bob", "probe")),
        person("odd", "description: a(b)*\\c", "jpegPhoto:: /9j/2wA=", "cn;lang-de: seltsam"),
        service("gateway", authz_to=AUTHZ_TO),
        service("powerless"),
        service("onelevel", authz_to=f"dn.onelevel:{PEOPLE}"),
        service("regex", authz_to="dn.regex:.*"),
        unit("groups"),
        group("inner", dn("alice"), dn("odd")),
        group("middle", f"cn=inner,ou=groups,{SUFFIX}", f"cn=outer,ou=groups,{SUFFIX}"),
        group("outer", f"cn=middle,ou=groups,{SUFFIX}"),
        group("others", dn("bob")),
        unit("many"),
        *(f"dn: cn=e{n},{ENTRIES}\nobjectClass: applicationProcess\ncn: e{n}\n\n" for n in range(MANY)),
    ]
)


def settings_for(directory: Slapd, **changed: Any) -> LdapSettings:
    wanted: dict[str, Any] = {
        "urls": [directory.ldaps_url],
        "identity": "proxied_authorization",
        "authzid": NAME,
        "bases": [SUFFIX],
        "attributes": ["uid", "cn", "sn", "mobile", "homePhone", "description", "jpegPhoto"],
        "service": gateway(),
        "probe": "probe",
        "groups": GroupSettings(base=f"ou=groups,{SUFFIX}"),
        "ca_file": str(directory.authority.certificate),
    }
    return LdapSettings(**{**wanted, **changed})


def gateway(name: str = "gateway") -> ServiceSettings:
    return ServiceSettings(dn=GATEWAY.replace("gateway", name), password=Secret(f"{name}-password"))


def module_for(directory: Slapd, **changed: Any) -> LdapDelegation:
    return LdapDelegation(settings_for(directory, **changed))


def user(name: str) -> Session:
    return Session(
        issuer="https://idp.example",
        subject=f"id-of-{name}",
        username=name,
        legacy_username=name,
        provider="test",
        permissions=frozenset({"ldap:read", "ldap:write", "ldap:password"}),
    )


def call_of(module: LdapDelegation, who: str, parameters: object, **more: Any) -> DelegationCall:
    action = next(each for each in module.actions if each.parameters is type(parameters))
    wanted: dict[str, Any] = {"deadline": time.monotonic() + 20, "request_id": "r1", **more}
    return DelegationCall(session=user(who), action=action, parameters=parameters, **wanted)


async def ask(module: LdapDelegation, who: str, parameters: object, tickets: Tickets | None = None) -> DelegationResult:
    result = await module.delegate(call_of(module, who, parameters, tickets=tickets))
    assert result.receipt.identity == module.principal(user(who))
    return result


async def data(module: LdapDelegation, who: str, parameters: object) -> Any:
    return (await ask(module, who, parameters)).data


async def code(module: LdapDelegation, who: str, parameters: object) -> str:
    try:
        await ask(module, who, parameters)
    except ActasError as error:
        return error.code
    return "done"


def find(**said: Any) -> actions.Search:
    return actions.Search(**{"filter": {"attribute": "uid", "present": True}, **said})


def uids(found: Any) -> list[str]:
    return [entry["attributes"]["uid"][0] for entry in found["entries"]]
