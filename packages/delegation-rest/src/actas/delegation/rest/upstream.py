"""The service: one client, one origin, a time for everything, and again only what may be repeated."""

import asyncio
import time
from collections.abc import Mapping

from actas.core.errors import DelegationTimeout
from actas.core.models import Credential
from actas.delegation.rest.failures import from_http, from_status
from actas.delegation.rest.operations import Target
from actas.delegation.rest.settings import RestSettings
from actas.http import (
    BUSY,
    AddressRefused,
    HttpError,
    HttpResponse,
    HttpSettings,
    InsecureUrl,
    ResponseTooLarge,
    UnexpectedResponse,
    base_of,
    client_to,
    pause_after,
    present,
)

_FINAL = (InsecureUrl, AddressRefused, ResponseTooLarge, UnexpectedResponse)
"""Asking again would change nothing."""
_LONGEST_PAUSE = 5.0
"""Seconds for which we wait where the service asks us to (Retry-After)."""
_PROBE_SECONDS = 4.0


class Upstream:
    """The service at ``settings.base_url``.

    Raises:
        ConfigurationError: the CA file cannot be read.
        ValueError: the base URL is none, or a network is none.
    """

    def __init__(self, settings: RestSettings) -> None:
        self.base = base_of(settings.base_url)
        limits = settings.limits
        self._seconds = limits.seconds
        self._attempts = limits.attempts
        self._http = client_to(
            self.base,
            settings.networks,
            HttpSettings(
                connect_timeout=limits.connect_seconds,
                total_timeout=limits.seconds,
                max_response_bytes=limits.response_bytes,
                max_connections=limits.connections,
                ca_file=settings.ca_file,
            ),
        )

    def url(self, target: Target) -> str:
        """Where ``target`` goes; always below the base URL."""
        return f"{self.base}{target.path}?{target.query}" if target.query else f"{self.base}{target.path}"

    async def ask(
        self,
        target: Target,
        headers: Mapping[str, str],
        credential: Credential,
        *,
        deadline: float,
        repeatable: bool,
        request_id: str,
    ) -> HttpResponse:
        """One request, with ``credential`` and no other, and its answer, a success (2xx).

        Raises:
            CredentialRejected: the service did not take the token (401).
            PrincipalUnavailable: the credential is none that can be shown.
            DelegationTimeout: the deadline passed, on :func:`time.monotonic`'s clock.
            ActasError: as :mod:`.failures` has it.
        """
        attempts = self._attempts if repeatable else 1
        attempt = 0
        while True:
            attempt += 1
            pause = pause_after(attempt)
            try:
                response = await self._once(target, headers, credential, deadline)
            except HttpError as error:
                if isinstance(error, _FINAL) or attempt == attempts or not _time_for(pause, deadline):
                    raise from_http(error) from None
            else:
                if response.status // 100 == 2:
                    return response
                wanted = pause if response.retry_after is None else response.retry_after
                if response.status not in BUSY or attempt == attempts or not _time_for(wanted, deadline):
                    raise from_status(response.status, request_id)
                pause = wanted
            await asyncio.sleep(pause)

    async def answers(self, path: str) -> bool:
        """Whether the service answers at ``path``, to somebody without any token: with anything below 500."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                # A connection of its own: one that stands already says little of who comes next.
                headers = {"accept": "*/*", "connection": "close"}
                response = await self._http.request("GET", f"{self.base}{path}", headers=headers)
        except (ResponseTooLarge, UnexpectedResponse) as error:
            return error.status is not None and error.status < 500
        except (HttpError, TimeoutError, RuntimeError):  # RuntimeError: the client was closed
            return False
        return response.status < 500

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _once(
        self, target: Target, headers: Mapping[str, str], credential: Credential, deadline: float
    ) -> HttpResponse:
        try:
            async with asyncio.timeout(min(self._seconds, deadline - time.monotonic())):
                return await present(
                    self._http,
                    target.method,
                    self.url(target),
                    credential,
                    headers=headers,
                    content=target.content,
                )
        except TimeoutError:
            raise DelegationTimeout(detail="the service did not answer in time") from None
        except RuntimeError:
            raise HttpError(detail="the client was closed") from None


def _time_for(pause: float, deadline: float) -> bool:
    return pause <= _LONGEST_PAUSE and time.monotonic() + pause < deadline
