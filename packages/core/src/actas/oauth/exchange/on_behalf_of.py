"""Microsoft Entra ID's on-behalf-of flow."""

from dataclasses import dataclass

from actas.core.secret import Secret
from actas.oauth.exchange.grants import JWT_BEARER, Ask, Form, Issued, Wanted, issued


@dataclass(frozen=True, slots=True)
class OnBehalfOf:
    """The caller's token is the assertion; Entra knows the downstream by the scope's prefix, ``api://…/.default``."""

    async def exchange(self, subject_token: Secret, wanted: Wanted, ask: Ask) -> Issued:
        """One request."""
        form: Form = [
            ("grant_type", JWT_BEARER),
            ("assertion", subject_token.reveal()),
            ("requested_token_use", "on_behalf_of"),
            ("scope", " ".join(wanted.scope)),
        ]
        return issued(await ask(form))
