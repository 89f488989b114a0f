"""Identity Assertion Authorization Grant (draft-ietf-oauth-identity-assertion-authz-grant): across organisations.

Two requests: the company's identity provider gives an assertion about the user that is meant for the downstream's
own authorization server (an ID-JAG); that server gives a token for it.
"""

from dataclasses import dataclass, replace

from actas.core.secret import Secret
from actas.oauth.exchange.grants import (
    ACCESS_TOKEN,
    ID_JAG,
    JWT_BEARER,
    TOKEN_EXCHANGE,
    Ask,
    ExchangeRefused,
    Form,
    Issued,
    Wanted,
    issued,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityAssertion:
    """Exchanges the caller's token for an assertion, and the assertion for a token."""

    authorization_server: str
    """The issuer identifier of the downstream's authorization server: the assertion's audience."""
    redeem: Ask
    """Posts to that server's token endpoint, as our client there."""

    async def exchange(self, subject_token: Secret, wanted: Wanted, ask: Ask) -> Issued:
        """Both requests."""
        asked = replace(wanted, audience=(self.authorization_server,))
        form: Form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("requested_token_type", ID_JAG),
            ("subject_token", subject_token.reveal()),
            ("subject_token_type", ACCESS_TOKEN),
            *asked.form(),
        ]
        answer = await ask(form)
        if answer.get("issued_token_type") != ID_JAG:
            raise ExchangeRefused(detail="the provider issued something else than an ID-JAG")
        assertion = issued(answer, token_type="n_a")  # noqa: S106 -- what the draft says of something that is no token
        grant: Form = [("grant_type", JWT_BEARER), ("assertion", assertion.token.reveal())]
        if wanted.scope:
            grant.append(("scope", " ".join(wanted.scope)))
        return issued(await self.redeem(grant))
