"""Where tools may look, and at which attributes. The directory's rules come on top, as the user."""

from collections.abc import Iterable, Sequence

from actas.core.errors import InvalidParameters
from actas.delegation.ldap.failures import AccessRefused
from actas.delegation.ldap.filters import Filter, attributes_in, is_attribute, rules_in
from actas.delegation.ldap.names import Name, NotAName, parsed
from actas.delegation.ldap.settings import LdapSettings

NEVER = frozenset(
    each.lower()
    for each in (
        "userPassword authPassword unicodePwd dBCSPwd supplementalCredentials ntPwdHistory lmPwdHistory pwdHistory "
        "sambaNTPassword sambaLMPassword sambaPasswordHistory krbPrincipalKey krbExtraData ms-Mcs-AdmPwd "
        "msLAPS-Password msLAPS-EncryptedPassword msLAPS-EncryptedPasswordHistory msDS-ManagedPassword "
        "msFVE-RecoveryPassword msDS-KeyCredentialLink currentValue trustAuthIncoming trustAuthOutgoing "
        "2.5.4.35 1.2.840.113556.1.4.90"
    ).split()
)
"""Attributes with passwords and keys: never asked for, searched by or returned, whatever a directory allows."""
IN_CHAIN = "1.2.840.113556.1.4.1941"
"""Active Directory's matching rule that follows groups in groups."""
_MOST_ASKED = 100


def without_options(attribute: str) -> str:
    """``cn`` of ``CN;lang-de``, in small letters."""
    return attribute.partition(";")[0].lower()


class AllowLists:
    """What a configuration allows."""

    def __init__(self, settings: LdapSettings) -> None:
        self._bases = [parsed(base) for base in settings.bases]
        self._returned = {name.lower(): name for name in settings.attributes}
        self._asked = {name.lower() for name in (*settings.attributes, *settings.searchable)}
        self._written = {name.lower() for name in settings.writable}
        self._rules = set(settings.matching_rules)

    def base(self, written: str | None) -> Name:
        """Where to look; the first base where nothing is said.

        Raises:
            InvalidParameters, AccessRefused: it is no name, or is outside.
        """
        if written is None:
            return self._bases[0]
        try:
            name = parsed(written)
        except NotAName:
            raise InvalidParameters("The name of the entry is no distinguished name (RFC 4514).") from None
        if not any(name.is_in(base) for base in self._bases):
            bases = "; ".join(str(base) for base in self._bases)
            raise AccessRefused(f"Only entries below these may be used here: {bases}.")
        return name

    def attributes(self, asked: Sequence[str]) -> list[str]:
        """The attributes to ask for, all that are allowed where none are named.

        Raises:
            InvalidParameters: one is not allowed.
        """
        if not asked:
            return list(self._returned.values())
        if len(asked) > _MOST_ASKED:
            raise InvalidParameters(f"attributes: name {_MOST_ASKED} at most, or none to get all that are allowed.")
        self._all_in(asked, self._returned, "attributes")
        return list(dict.fromkeys(asked))

    def may_return(self, attribute: str) -> bool:
        """Whether an attribute that came may be passed on: servers send more than they were asked for."""
        plain = without_options(attribute)
        return plain in self._returned and plain not in NEVER

    def writable(self, asked: Sequence[str]) -> None:
        """Raises InvalidParameters where one of ``asked`` may not be changed."""
        self._all_in(asked, self._written, "changes")

    def comparable(self, attribute: str) -> None:
        """Raises InvalidParameters where ``attribute`` may not be asked about."""
        self._all_in([attribute], self._asked, "attribute")

    def filter(self, what: Filter) -> None:
        """Raises InvalidParameters where ``what`` asks about an attribute or by a rule that is not allowed."""
        named = list(attributes_in(what))
        if None in named:
            raise InvalidParameters("filter: each part must name its attribute.")
        self._all_in([name for name in named if name is not None], self._asked, "filter")
        if any(rule not in self._rules for rule in rules_in(what)):
            raise InvalidParameters("filter: names a matching rule that is not allowed here.")

    def _all_in(self, asked: Iterable[str], allowed: Iterable[str], where: str) -> None:
        known = set(allowed)
        for name in asked:
            plain = without_options(name)
            if not is_attribute(name) or plain not in known or plain in NEVER:
                listed = ", ".join(sorted(known)) or "none"
                raise InvalidParameters(f"{where}: has an attribute that is not allowed here. Allowed are: {listed}.")
