"""Asking a token endpoint: as our client, within a time, again where that is safe, and not at all while it is down."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlencode

import anyio

from actas.core.errors import ActasError
from actas.http import BUSY, HttpClient, HttpError, HttpResponse, InsecureUrl, UnexpectedResponse, pause_after
from actas.oauth.client_auth import Client
from actas.oauth.exchange.breaker import Breaker
from actas.oauth.exchange.grants import ExchangeRefused, ExchangeUnavailable, Form
from actas.oauth.exchange.prover import KeyProver

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""An exchange changes nothing at the provider that a second one would harm."""
_LONGEST_ERROR = 64
_LONGEST_NONCE = 1024


class TokenEndpoint:
    """One provider's token endpoint (RFC 6749 section 3.2), as one client of it.

    Args:
        http: our client, shared.
        find: says where it is. Asked once, and again after the endpoint has failed.
        client: how we say who we are.
        timeout: seconds for an exchange, all attempts together.
        prover: a key of ours that tokens are to be bound to (RFC 9449 section 5).
    """

    def __init__(
        self,
        http: HttpClient,
        find: Callable[[], Awaitable[str]],
        client: Client,
        *,
        timeout: float,
        prover: KeyProver | None = None,
    ) -> None:
        self._http = http
        self._find = find
        self._url: str | None = None
        self._finding = anyio.Lock()
        self._client = client
        self._timeout = timeout
        self._prover = prover
        self.breaker = Breaker()

    async def ask(self, form: Form) -> Mapping[str, object]:
        """Post ``form``; the answer's JSON object.

        Raises:
            ExchangeRefused: the provider says no; ``detail`` has its error code, and none of its words.
            ExchangeUnavailable: no answer in time, rubbish, or it is being left alone after failing often.
        """
        if not self.breaker.admits(self._timeout):
            raise ExchangeUnavailable(detail="the provider has failed repeatedly and is left alone for a while")
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._post(form)
        except TimeoutError:
            self._failed()
            raise ExchangeUnavailable(detail=f"no answer within {self._timeout:g} s") from None
        except ActasError as error:
            self._failed()
            raise ExchangeUnavailable(detail=f"{error.code}: {error.detail}") from None
        except asyncio.CancelledError:
            self.breaker.left()
            raise
        return self._judged(response)

    async def _post(self, form: Form) -> HttpResponse:
        url = await self._place()
        for attempt in range(1, ATTEMPTS):
            try:
                response = await self._once(url, form)
            except InsecureUrl:
                raise
            except HttpError:
                pass
            else:
                if response.status not in BUSY or "retry-after" in response.headers:
                    return response
            await asyncio.sleep(pause_after(attempt))
        return await self._once(url, form)

    async def _place(self) -> str:
        async with self._finding:
            if self._url is None:
                self._url = await self._find()
            return self._url

    def _failed(self, pause: float | None = None) -> None:
        if self.breaker.failed(pause):
            logger.warning("a token endpoint has failed repeatedly and is left alone for a while: %s", self._url)
        self._url = None  # where the metadata led has moved, perhaps

    async def _once(self, url: str, form: Form) -> HttpResponse:
        response = await self._proved(url, form)
        asked_for_nonce = response.status == 400 and "dpop-nonce" in response.headers
        if self._prover is not None and asked_for_nonce and b"use_dpop_nonce" in response.body:
            return await self._proved(url, form)
        return response

    async def _proved(self, url: str, form: Form) -> HttpResponse:
        """One request, with proofs of its own: no provider takes an assertion of our client twice. That of our key
        heeds the nonce that the provider gave (RFC 9449 section 8)."""
        proof = self._client.prove()
        headers = {**proof.headers, "content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        content = urlencode([*form, *proof.fields.items()]).encode()
        if self._prover is None:
            return await self._http.request("POST", url, headers=headers, content=content)
        headers["dpop"] = self._prover.prove("POST", url)
        response = await self._http.request("POST", url, headers=headers, content=content)
        if (nonce := response.headers.get("dpop-nonce")) is not None and len(nonce) <= _LONGEST_NONCE:
            self._prover.heed(url, nonce)
        return response

    def _judged(self, response: HttpResponse) -> Mapping[str, object]:
        if response.status in BUSY or response.status >= 500:
            self._failed(response.retry_after)
            raise ExchangeUnavailable(detail=f"status {response.status}")
        try:
            answer = response.json()
        except UnexpectedResponse as error:
            self._failed()
            raise ExchangeUnavailable(detail=error.detail) from None
        self.breaker.succeeded()
        if response.status != 200:
            raise ExchangeRefused(detail=f"status {response.status}, {_error_code(answer)}")
        return answer


def _error_code(answer: Mapping[str, object]) -> str:
    """``error`` (RFC 6749 section 5.2), where it is one of the characters that an error code has."""
    code = answer.get("error")
    if isinstance(code, str) and code.isascii() and code.replace("_", "").isalnum() and len(code) <= _LONGEST_ERROR:
        return code
    return "without an error code"
