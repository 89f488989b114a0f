"""JWT as an authorization grant (RFC 7523 section 2.1)."""

from dataclasses import dataclass

from actas.core.secret import Secret
from actas.oauth.exchange.grants import JWT_BEARER, Ask, Form, Issued, Wanted, issued


@dataclass(frozen=True, slots=True)
class JwtBearer:
    """The caller's token is the assertion, for a provider that trusts the one that issued it."""

    async def exchange(self, subject_token: Secret, wanted: Wanted, ask: Ask) -> Issued:
        """One request."""
        form: Form = [("grant_type", JWT_BEARER), ("assertion", subject_token.reveal()), *wanted.form()]
        return issued(await ask(form))
