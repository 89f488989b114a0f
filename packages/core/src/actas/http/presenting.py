"""A request that carries somebody's exchanged token, as the token wants to be presented: plainly, or with proofs."""

import re
from collections.abc import Mapping

from actas.core.errors import PrincipalUnavailable
from actas.core.models import Credential
from actas.http.client import HttpClient, HttpResponse
from actas.http.errors import ResponseTooLarge, UnexpectedResponse

_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")
"""RFC 9449 section 8.1, and no longer than any that somebody uses."""


async def present(
    client: HttpClient,
    method: str,
    url: str,
    credential: Credential,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
) -> HttpResponse:
    """One request with ``credential``; sent a second time only where the service wants a nonce in the proof first.

    An answer that is no success and cannot be read is one without a body.

    Raises:
        PrincipalUnavailable: the credential is none that can be presented. Nothing was sent.
        HttpError: as :meth:`HttpClient.request`.
    """
    response = await _once(client, method, url, credential, headers, content)
    if response.status == 401 and credential.prover is not None and _wants_nonce(response):
        # It did nothing yet, whatever the method: it only tells what a proof must have.
        return await _once(client, method, url, credential, headers, content)
    return response


def presented(credential: Credential, method: str, url: str) -> dict[str, str]:
    """The one way in: ``authorization``, and a new proof where the token is bound to a key of ours (RFC 9449).

    Raises:
        PrincipalUnavailable: the credential is none that can be shown so.
    """
    scheme = "Bearer" if credential.prover is None else "DPoP"
    if credential.token_type != scheme or not _BEARER.fullmatch(credential.token.reveal()):
        raise PrincipalUnavailable(
            detail="the exchanged token is no bearer token, and not one that is bound to our key"
        )
    return credential.headers(method, url)


async def _once(
    client: HttpClient,
    method: str,
    url: str,
    credential: Credential,
    headers: Mapping[str, str],
    content: bytes | None,
) -> HttpResponse:
    sent = {**headers, **presented(credential, method, url)}
    try:
        response = await client.request(method, url, headers=sent, content=content)
    except (UnexpectedResponse, ResponseTooLarge) as error:
        if error.status is None or error.status // 100 == 2:
            raise
        return HttpResponse(error.status, {}, b"")  # that it is an error counts, whatever its body is
    nonce = response.headers.get("dpop-nonce", "")
    if credential.prover is not None and _NONCE.fullmatch(nonce):
        credential.prover.heed(url, nonce)
    return response


def _wants_nonce(response: HttpResponse) -> bool:
    """RFC 9449 section 9."""
    asked = "use_dpop_nonce" in response.headers.get("www-authenticate", "")
    return asked and _NONCE.fullmatch(response.headers.get("dpop-nonce", "")) is not None
