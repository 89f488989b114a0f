"""Opaque tokens: the provider is asked what they are (RFC 7662), in a signed answer where configured (RFC 9701).

An answer is judged by the rules for any token, and not believed beyond that. Asking is bounded: so long, so many at
once, once for each token however many callers bring it. Where a provider does not answer properly nothing is known
of the token, and nothing is remembered.
"""

import re
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from os import urandom
from typing import cast
from urllib.parse import urlencode

import anyio

from actas.core.errors import ActasError, AuthenticationError, AuthenticationUnavailable
from actas.http import HttpClient, UnexpectedResponse
from actas.oauth.claims import is_name
from actas.oauth.client_auth import Client, connected
from actas.oauth.jwt import TokenReader, decode_object, names_any
from actas.oauth.metadata import fetch_endpoint
from actas.oauth.providers import Provider, Verified, asked_as_one, first_for
from actas.oauth.reasons import Reason
from actas.oauth.settings import IntrospectionSettings
from actas.oauth.signatures import check_signature

MAX_ANSWER_BYTES = 65_536
"""Of an answer, signed or not."""

PATIENCE = 10.0
"""Seconds until a caller is answered, whatever the provider does."""

_AT_ONCE = 10
"""Requests to one provider at the same time: strangers' tokens must not take all connections."""
_WAITING = 200
"""Tokens that wait for their turn."""
_REFUSED_SECONDS = 10.0
_REFUSED_REMEMBERED = 10_000
_SIGNED_TYPE = "token-introspection+jwt"
_TOKEN_TYPES = frozenset({"bearer", "dpop", "access_token", "urn:ietf:params:oauth:token-type:access_token"})
_B64TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")


def is_opaque(token: bytes) -> bool:
    """Whether ``token`` may be one (RFC 6750 section 2.1) and is nothing like a JWT.

    A JWT with a header that is broken somehow is still somebody's JWT, and shown to nobody.
    """
    if not _B64TOKEN.fullmatch(token):
        return False
    if token.count(b".") < 2:
        return True
    header = token.partition(b".")[0].rstrip(b"=")[:8]
    try:
        return not urlsafe_b64decode(header + b"=" * (-len(header) % 4)).lstrip().startswith(b"{")
    except (Base64Error, ValueError):
        return True


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a token is not good, without the frames that an exception would keep alive."""

    reason: str
    detail: str | None
    unavailable: bool

    @classmethod
    def of(cls, error: AuthenticationError) -> "_Refusal":
        detail = (error.detail or "").removeprefix(error.reason).removeprefix(": ")
        return cls(error.reason, detail or None, isinstance(error, AuthenticationUnavailable))

    def error(self) -> AuthenticationError:
        kind = AuthenticationUnavailable if self.unavailable else AuthenticationError
        return kind(self.reason, detail=self.detail)


_NO_ANSWER = _Refusal(Reason.INTROSPECTION_FAILED, "no answer in time", unavailable=True)


@dataclass(slots=True)
class _Flight:
    """One question on its way, and what came of it."""

    landed: anyio.Event = field(default_factory=anyio.Event)
    outcome: Verified | _Refusal = _NO_ANSWER


class Introspector:
    """Asks one provider. ``providers`` are its entries in the configuration, all with the same introspection.

    Raises:
        ConfigurationError: the client's private key cannot be used.
    """

    def __init__(
        self, providers: Sequence[Provider], asked: IntrospectionSettings, http: HttpClient, clock: Callable[[], float]
    ) -> None:
        self._providers = providers
        self._settings = asked
        self._issuer = providers[0].settings.issuer
        self._client = Client(asked.client, self._issuer, clock)
        self._http = http
        self._asking = connected(asked.client, http)
        self._mtls = asked.client.certificate is not None
        self._clock = clock
        self._max_bytes = max(provider.settings.security.max_token_bytes for provider in providers)
        self._reader = TokenReader(max_bytes=MAX_ANSWER_BYTES)
        self._found: str | None = None
        self._finding = anyio.Lock()
        self._slots = anyio.Semaphore(_AT_ONCE)
        self._flights: dict[bytes, _Flight] = {}
        self._refused: dict[bytes, tuple[float, _Refusal]] = {}

    def asks(self, provider: Provider) -> bool:
        """Whether this is how ``provider`` is asked."""
        return provider in self._providers

    def owns(self, token: bytes) -> bool:
        """Whether an opaque token may be the provider's: it is shown to no other."""
        return token.startswith(self._settings.token_prefix.encode())

    async def introspect(self, token: bytes) -> Verified:
        """What the provider says of ``token``, judged.

        Raises:
            AuthenticationError: it is not good.
            AuthenticationUnavailable: that cannot be known just now.
        """
        if len(token) > self._max_bytes:
            raise AuthenticationError(Reason.TOO_LARGE)
        key = sha256(token).digest()
        outcome: Verified | _Refusal | None = self._remembered(key)
        if outcome is None:
            flight = self._flights.get(key)
            if flight is None:
                flight = await self._lead(key, token)
            else:
                await flight.landed.wait()
            outcome = flight.outcome
        if isinstance(outcome, _Refusal):
            raise outcome.error()
        return outcome

    async def check(self) -> None:
        """Ask about a token that nobody has.

        Raises:
            AuthenticationUnavailable: the provider does not answer as it should.
        """
        answer = await self._ask(self._settings.token_prefix.encode() + urandom(16).hex().encode())
        if answer["active"]:
            raise AuthenticationUnavailable(Reason.INTROSPECTION_FAILED, detail="any token is called active")

    async def _lead(self, key: bytes, token: bytes) -> _Flight:
        if len(self._flights) >= _AT_ONCE + _WAITING:
            raise AuthenticationUnavailable(Reason.INTROSPECTION_FAILED, detail="too many tokens wait to be looked up")
        flight = self._flights[key] = _Flight()
        try:
            # Shielded: whoever hangs up must not spoil the answer that others wait for.
            with anyio.move_on_after(PATIENCE, shield=True):
                async with self._slots:
                    answer = await self._ask(token)
                flight.outcome = self._judged(answer)
        except AuthenticationUnavailable as error:
            flight.outcome = _Refusal.of(error)
        except AuthenticationError as error:
            flight.outcome = _Refusal.of(error)
            self._remember(key, flight.outcome)
        finally:
            del self._flights[key]
            flight.landed.set()
        return flight

    def _remembered(self, key: bytes) -> _Refusal | None:
        until, refusal = self._refused.get(key, (0.0, None))
        if refusal is not None and not 0 < until - self._clock() <= _REFUSED_SECONDS:
            del self._refused[key]
            return None
        return refusal

    def _remember(self, key: bytes, refusal: _Refusal) -> None:
        seconds = min(_REFUSED_SECONDS, self._settings.cache_seconds)
        if seconds > 0:
            if len(self._refused) >= _REFUSED_REMEMBERED:
                del self._refused[next(iter(self._refused))]
            self._refused[key] = (self._clock() + seconds, refusal)

    async def _ask(self, token: bytes) -> dict[str, object]:
        """The answer about ``token``, whose ``active`` is True or False. Raises AuthenticationUnavailable."""
        try:
            endpoint = self._settings.endpoint or await self._place()
            proof = self._client.prove()
            form = {"token": token.decode("ascii"), "token_type_hint": "access_token", **proof.fields}
            response = await self._asking.request(
                "POST",
                endpoint,
                headers={
                    "content-type": "application/x-www-form-urlencoded",
                    "accept": f"application/{_SIGNED_TYPE}" if self._settings.signed_responses else "application/json",
                    **proof.headers,
                },
                content=urlencode(form).encode("ascii"),
            )
            if response.status != 200:
                self._found = None  # where the metadata led has moved, perhaps
                raise UnexpectedResponse(status=response.status, detail="200 was needed")
            if len(response.body) > MAX_ANSWER_BYTES:
                raise ValueError("the answer is too large")
            answer = await self._opened(response.body)
            if not isinstance(answer.get("active"), bool):
                raise ValueError("the answer has no active that is true or false")
        except (ActasError, ValueError, OverflowError) as error:
            why = error.detail if isinstance(error, ActasError) and error.detail else str(error)
            raise AuthenticationUnavailable(Reason.INTROSPECTION_FAILED, detail=why) from None
        return answer

    async def _place(self) -> str:
        async with self._finding:
            if self._found is None:
                self._found = await fetch_endpoint(
                    self._http, self._providers[0].settings, "introspection_endpoint", mtls=self._mtls
                )
            return self._found

    async def _opened(self, body: bytes) -> dict[str, object]:
        """The answer's members; of a signed one, those that the signature vouches for (RFC 9701 section 5)."""
        if not self._settings.signed_responses:
            return decode_object(body)
        provider = self._providers[0]
        signed = self._reader.read(body.strip())
        if signed.header.token_type != _SIGNED_TYPE:
            raise ValueError("the answer is no signed answer")
        provider.policy.check_algorithm(signed.header)
        await check_signature(signed, provider.keys)
        claims = signed.claims
        if claims.get("iss") != self._issuer or not names_any(claims.get("aud"), frozenset({self._client.id})):
            raise ValueError("the signed answer is of another issuer or for another client")
        issued, answer = claims.get("iat"), claims.get("token_introspection")
        allowed = provider.settings.security.clock_tolerance + PATIENCE
        if not isinstance(issued, int | float) or not abs(self._clock() - issued) <= allowed:
            raise ValueError("the signed answer is not fresh")
        if not isinstance(answer, dict):
            raise ValueError("the signed answer has no token_introspection")
        return cast(dict[str, object], answer)

    def _judged(self, answer: dict[str, object]) -> Verified:
        if not answer["active"]:
            raise AuthenticationError(Reason.INACTIVE)
        if answer.get("iss") not in (None, self._issuer):
            raise AuthenticationError(Reason.UNTRUSTED_ISSUER)
        provider = first_for(answer.get("aud"), self._providers)
        claims = {name: value for name, value in answer.items() if name != "active"}
        kind = claims.get("token_type", "bearer")
        if not isinstance(kind, str) or kind.lower() not in _TOKEN_TYPES:
            raise AuthenticationError(Reason.WRONG_TYPE)
        if kind.lower() == "dpop" and not isinstance(claims.get("cnf"), dict):
            raise AuthenticationError(Reason.MALFORMED_CLAIM, detail="cnf")  # bound, and not said to whom
        if claims.get("sub") is None and is_name(claims.get("client_id")):
            claims["sub"] = claims["client_id"]  # nobody authorised it but the client itself: RFC 9068 section 2.2
        expires_at = provider.policy.check_claims(claims, self._clock(), typed=False)
        return Verified(claims, provider, expires_at, provider.keys.epoch, self._settings.cache_seconds)


def introspectors(
    providers: Sequence[Provider], http: HttpClient, clock: Callable[[], float]
) -> Sequence[Introspector]:
    """One for each provider that is asked. Raises ConfigurationError as :class:`Introspector`."""
    groups: list[tuple[IntrospectionSettings, list[Provider]]] = []
    for provider in providers:
        asked = provider.settings.introspection
        if asked is not None:
            group = next((group for _, group in groups if asked_as_one(group[0].settings, provider.settings)), None)
            groups.append((asked, [provider])) if group is None else group.append(provider)
    return [Introspector(group, asked, http, clock) for asked, group in groups]
