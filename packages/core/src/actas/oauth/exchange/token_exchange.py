"""OAuth 2.0 Token Exchange (RFC 8693)."""

from collections.abc import Callable
from dataclasses import dataclass

from actas.core.secret import Secret
from actas.oauth.exchange.grants import ACCESS_TOKEN, JWT, TOKEN_EXCHANGE, Ask, Form, Issued, Wanted, issued


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExchange:
    """The caller's token is the subject token. With an actor token it is delegation, without impersonation
    (section 1.1); either way our client authentication tells the provider who asks."""

    actor_token: Callable[[], Secret] | None = None
    """Gives who acts, as a JWT that the provider trusts; it may put him into ``act``. Raises ExchangeUnavailable."""

    async def exchange(self, subject_token: Secret, wanted: Wanted, ask: Ask) -> Issued:
        """One request (section 2.1)."""
        form: Form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject_token.reveal()),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", wanted.requested_token_type),
            *wanted.form(),
        ]
        if self.actor_token is not None:
            form += [("actor_token", self.actor_token().reveal()), ("actor_token_type", JWT)]
        return issued(await ask(form), issued_as=wanted.requested_token_type)
