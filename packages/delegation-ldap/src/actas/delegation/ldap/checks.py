"""What makes no sense in the settings, all of it at once."""

import math

from actas.core.errors import ConfigurationError
from actas.delegation.ldap.allowlists import NEVER, without_options
from actas.delegation.ldap.filters import is_attribute
from actas.delegation.ldap.names import NotAName, parsed
from actas.delegation.ldap.principals import Template, safe
from actas.delegation.ldap.servers import Server
from actas.delegation.ldap.servers import parsed as parsed_url
from actas.delegation.ldap.settings import LdapSettings

_SHORTEST_KEY = 32


def servers(settings: LdapSettings) -> list[Server]:
    """The servers of ``settings``.

    Raises:
        ConfigurationError: with everything that makes no sense.
    """
    found: list[Server] = []
    problems = [] if settings.urls else ["urls: there must be one"]
    for url in settings.urls:
        try:
            found.append(parsed_url(url))
        except ValueError as error:
            problems.append(f"urls: {error}")
    problems += _identity(settings, found) + _names(settings) + _attributes(settings) + _bounds(settings)
    if problems:
        raise ConfigurationError(problems)
    return found


def _identity(settings: LdapSettings, found: list[Server]) -> list[str]:
    problems: list[str] = []
    for option, written in (("authzid", settings.authzid), ("asked_as", settings.asked_as)):
        try:
            Template(written) if written is not None else None
        except ValueError as error:
            problems.append(f"{option}: {error}")
    sockets = bool(found) and all(server.local for server in found)
    match settings.identity:
        case "proxied_authorization":
            if settings.service and settings.certificate:
                problems.append("service: and certificate cannot both say who the gateway is")
            if not settings.service and not settings.certificate and not sockets:
                problems.append("service: or certificate must say who the gateway is")
        case "sasl_external":
            if settings.service or not (settings.certificate or sockets):
                problems.append("certificate: is what sasl_external needs, and no service")
        case "kerberos":
            if settings.service or settings.certificate or settings.asked_as or settings.probe:
                problems.append("identity: kerberos takes no service, certificate, asked_as or probe")
            if any(server.local for server in found):
                problems.append("urls: kerberos needs servers with names")
            if settings.unencrypted:
                problems.append("unencrypted: kerberos needs TLS, for what follows is not protected otherwise")
    if settings.identity != "kerberos" and not (settings.probe and safe(settings.probe)):
        problems.append("probe: must name a user, by letters, digits and _ . @ -")
    if settings.unencrypted and not all(server.loopback for server in found):
        problems.append("unencrypted: only ldap://localhost and its addresses may do without TLS")
    return problems


def _names(settings: LdapSettings) -> list[str]:
    problems = [] if settings.bases else ["bases: there must be one"]
    named = [("bases", base) for base in settings.bases]
    named += [("groups.base", settings.groups.base)] if settings.groups.base is not None else []
    named += [("service.dn", settings.service.dn)] if settings.service else []
    for option, written in named:
        try:
            parsed(written)
        except NotAName as error:
            problems.append(f"{option}: is no distinguished name: {error}")
    return problems


def _attributes(settings: LdapSettings) -> list[str]:
    problems = [] if settings.attributes else ["attributes: there must be one"]
    for option in ("attributes", "searchable", "writable"):
        names: list[str] = getattr(settings, option)
        for name in names:
            if not is_attribute(name) or ";" in name:
                problems.append(f"{option}: each must be the name of an attribute, and * is none")
            elif without_options(name) in NEVER:
                problems.append(f"{option}: passwords and keys are never among them")
    if not is_attribute(settings.groups.attribute):
        problems.append("groups.attribute: must be the name of an attribute")
    if not all(is_attribute(rule) for rule in settings.matching_rules):
        problems.append("matching_rules: each must be the name or object identifier of one")
    return problems


def _bounds(settings: LdapSettings) -> list[str]:
    problems: list[str] = []
    for section, values in (("limits", vars(settings.limits)), ("pool", vars(settings.pool))):
        problems += [
            f"{section}.{name}: must be more than 0" for name, value in values.items() if not 0 < value < math.inf
        ]
    if settings.groups.most < 1 or settings.groups.deepest < 1:
        problems.append("groups: most and deepest must be more than 0")
    if settings.cursor_key and len(settings.cursor_key.reveal().encode(errors="surrogatepass")) < _SHORTEST_KEY:
        problems.append(f"cursor_key: must have at least {_SHORTEST_KEY} bytes")
    may = list(vars(settings.permissions).values())
    if len(set(may)) != len(may) or not all(may):
        problems.append("permissions: each must be another one")
    return problems
