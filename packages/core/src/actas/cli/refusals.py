"""What an operator is told about a token that is refused, though no caller ever learns it."""

from collections.abc import Iterable

from rich.text import Text

from actas.cli.output import errors
from actas.core import AuthenticationError
from actas.oauth.reasons import Reason
from actas.oauth.settings import TrustedIssuer


def show_refusal(error: AuthenticationError, providers: Iterable[TrustedIssuer]) -> None:
    """Why a token is refused and, where the configuration has something else than the token, what it has."""
    errors.print(Text(f"refused: {error.detail or error.reason}", style="bold red"), soft_wrap=True)
    for provider in providers:
        has = {
            Reason.UNTRUSTED_ISSUER: f"issuer is {provider.issuer}",
            Reason.WRONG_AUDIENCE: f"audience is {', '.join(provider.audience)}",
            Reason.WRONG_TYPE: f"security.token_types is {', '.join(provider.security.token_types)}",
        }
        if error.reason in has:
            errors.print(Text(f"  {provider.name}: {has[Reason(error.reason)]}"), soft_wrap=True)
