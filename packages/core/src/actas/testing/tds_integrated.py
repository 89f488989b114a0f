"""Integrated login at the peer of :mod:`.tds`: it takes tickets as SQL Server does, as Kerberos or SPNEGO.

Only tests that let somebody log in so need ``gssapi``.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from actas.testing.missing import ServerMissing


@dataclass(frozen=True)
class IntegratedLogin:
    """Who may come by ticket.

    ``keytab``: the peer's own; it is read at each login. ``logins``: the names, ``DOMAIN\\user``, that principals have
    here.
    """

    keytab: Path
    logins: Mapping[str, str]

    def accept(self, token: bytes) -> Generator[bytes, bytes, tuple[str, bytes]]:
        """Yields what to answer, is sent what the client said to it, returns the principal and the last word.

        Raises:
            ValueError: it is no ticket that the keytab opens.
            ServerMissing: ``gssapi`` is not installed.
        """
        try:
            import gssapi
            from gssapi.raw.misc import GSSError
        except ImportError:
            raise ServerMissing("a TDS peer that takes tickets needs: pip install gssapi") from None
        try:
            own = gssapi.Credentials(usage="accept", store={"keytab": str(self.keytab)})
            context = gssapi.SecurityContext(creds=own, usage="accept")
            while True:
                answer = context.step(token) or b""
                if context.complete:
                    return str(context.initiator_name), answer
                token = yield answer
        except GSSError as error:
            raise ValueError(str(error)) from None
