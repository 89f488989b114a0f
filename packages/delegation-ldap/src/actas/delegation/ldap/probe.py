"""What the start proves: the directory switches to a user who exists, and to no other."""

import secrets
import time

from actas.core.errors import ConfigurationError, DownstreamUnavailable, IdentityMismatch
from actas.delegation.ldap.conversation import Conversation, Proof
from actas.delegation.ldap.failures import (
    PROTOCOL_ERROR,
    SUCCESS,
    UNAVAILABLE_CONTROL,
    AssumptionRefused,
)
from actas.delegation.ldap.identities import Entrance, Identities
from actas.delegation.ldap.link import Link
from actas.delegation.ldap.principals import Principals
from actas.delegation.ldap.servers import Server
from actas.delegation.ldap.settings import LdapSettings

_BYTES = 64 * 1024
_SECONDS = 5.0


class Probe:
    """Asks one server. All of it blocks: it is for threads."""

    def __init__(self, settings: LdapSettings, principals: Principals, identities: Identities, proof: Proof) -> None:
        self._settings = settings
        self._principals = principals
        self._identities = identities
        self._proof = proof

    def run(self, server: Server) -> None:
        """See that the probe user is acted as, and that nobody who does not exist is.

        Raises:
            ConfigurationError: it is not so. The message has what to write in the directory.
            DownstreamUnavailable: the server does not answer, or does not let the gateway in.
        """
        probe = self._settings.probe or ""
        if self._settings.identity == "proxied_authorization":
            self._see_gateway(server, self._principals.known_as(probe))
        try:
            self._see(server, self._principals.asked_as_name(probe), self._principals.known_as(probe))
        except AssumptionRefused as error:
            raise ConfigurationError(self._not_allowed(), detail=error.detail) from None
        except IdentityMismatch as error:
            raise ConfigurationError(self._not_seen(), detail=error.detail) from None
        nobody = f"actas-nobody-{secrets.token_hex(8)}"
        try:
            self._see(server, self._principals.asked_as_name(nobody), self._principals.known_as(nobody))
        except (AssumptionRefused, IdentityMismatch):
            return
        raise ConfigurationError(self._too_much())

    def _see(self, server: Server, asked_as: str, principal: str) -> None:
        entrance = self._identities.entrance_as(asked_as, server)
        link = entrance.open()
        try:
            self._known(link, entrance)
            until = time.monotonic() + _SECONDS
            Conversation(link, principal, entrance.controls, self._proof, until, _BYTES).prove()
        finally:
            link.close()

    def _known(self, link: Link, entrance: Entrance) -> None:
        """See that the server knows the control and the question at all."""
        (answer,) = link.ask([self._proof.question(entrance.controls)], time.monotonic() + _SECONDS, _BYTES)
        if answer.end.code == UNAVAILABLE_CONTROL:
            raise ConfigurationError(
                "identity: the directory does not know proxied authorization (RFC 4370). Use another identity.",
                detail=answer.end.diagnostic,
            )
        if answer.end.code == PROTOCOL_ERROR:
            raise ConfigurationError(
                "proof: the directory does not know Who am I? (RFC 4532). Active Directory has principal_name.",
                detail=answer.end.diagnostic,
            )

    def _see_gateway(self, server: Server, probe: str) -> None:
        """See that the gateway is not the probe user itself: then nothing would be proven."""
        link = self._identities.as_gateway(server)
        try:
            until = time.monotonic() + _SECONDS
            (answer,) = link.ask([self._proof.question(())], until, _BYTES)
            if answer.end.code != SUCCESS:
                raise DownstreamUnavailable(detail=f"LDAP result {answer.end.code}, asked who the gateway is")
            try:
                Conversation(link, probe, (), self._proof, until, _BYTES).prove()
            except IdentityMismatch:
                return
        finally:
            link.close()
        raise ConfigurationError("probe: is the gateway itself. Name a user.")

    def _not_allowed(self) -> str:
        return (
            "probe: the directory does not let the gateway act as this user. If the user exists, the gateway's entry "
            f"lacks the right to: in OpenLDAP, with `authz-policy to`, write into it\n{self._authz_to()}"
        )

    def _not_seen(self) -> str:
        return (
            "authzid: the directory sees somebody else than authzid says, or does not heed the control. "
            "Compare authzid with what ldapwhoami answers for this user."
        )

    def _too_much(self) -> str:
        return (
            "The directory lets the gateway act as a user who does not exist, as it does where authzTo says "
            "dn.onelevel, dn.subtree or dn.regex. In OpenLDAP, write into the gateway's entry, in its place,\n"
            f"{self._authz_to()}"
        )

    def _authz_to(self) -> str:
        who = self._settings.service.dn if self._settings.service else "the gateway's entry"
        users = self._settings.authzid.partition(",")[2] if self._settings.authzid.startswith("dn:") else "ou=people,…"
        return (
            f"dn: {who}\nchangetype: modify\nreplace: authzTo\n"
            f"authzTo: ldap:///{users}??one?(objectClass=inetOrgPerson)"
        )
