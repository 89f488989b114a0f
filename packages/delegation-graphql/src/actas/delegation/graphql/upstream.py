"""The way to the service: one address, one method, one header that says who asks."""

import json
from collections.abc import Mapping

from graphql import GraphQLSchema, get_introspection_query

from actas.core.errors import (
    ActasError,
    ConfigurationError,
    CredentialRejected,
    DelegationError,
    DelegationTimeout,
    DownstreamUnavailable,
)
from actas.core.models import Credential
from actas.delegation.graphql import schemas
from actas.delegation.graphql.failures import AnswerTooLarge, BadAnswer, ServiceBusy, ServiceRefused, failed
from actas.delegation.graphql.settings import GraphqlSettings
from actas.http import (
    AddressRefused,
    HttpClient,
    HttpError,
    HttpResponse,
    HttpSettings,
    HttpTimeout,
    InsecureUrl,
    ResponseTooLarge,
    UnexpectedResponse,
    client_to,
    present,
)

_PROBE_SECONDS = 4.0
_INTROSPECTION_SECONDS = 8.0
_HEADERS = {
    "content-type": "application/json",
    "accept": "application/graphql-response+json, application/json;q=0.9",
}
_FINAL = (InsecureUrl, AddressRefused, ResponseTooLarge, UnexpectedResponse, HttpTimeout)
"""Asking again would change nothing, or take as long once more."""


class Upstream:
    """The service at ``settings.url``.

    Raises:
        ConfigurationError: the CA file cannot be read.
    """

    def __init__(self, settings: GraphqlSettings) -> None:
        self._url = settings.url
        self._settings = settings
        limits = settings.limits
        self._client = self._to_service(limits.seconds, limits.response_bytes, limits.connections)
        self._probe = self._to_service(_PROBE_SECONDS, 65_536, 1)
        self._closed = False

    async def post(
        self,
        document: str,
        variables: Mapping[str, object],
        credential: Credential,
        *,
        changes: bool,
        request_id: str,
    ) -> HttpResponse:
        """Send one operation, with ``credential`` as the one thing that says who asks.

        A query is sent once more where the connection broke; a mutation never is.

        Raises:
            CredentialRejected: HTTP 401.
            PrincipalUnavailable: the credential is none that can be presented.
            DelegationError: there is no answer that could be one of a GraphQL service.
        """
        headers = {**_HEADERS, "x-request-id": request_id}
        content = json.dumps({"query": document, "variables": variables}, ensure_ascii=False).encode()
        attempts = 1 if changes else 2
        while True:
            if self._closed:
                raise DownstreamUnavailable(detail="the module was destroyed")
            attempts -= 1
            try:
                response = await present(self._client, "POST", self._url, credential, headers=headers, content=content)
            except HttpError as error:
                if attempts and not isinstance(error, _FINAL):
                    continue
                raise _without_answer(error, changes=changes) from None
            _check_status(response, changes=changes)
            return response

    async def introspect(self) -> GraphQLSchema:
        """Ask for the schema, without any token.

        Raises:
            DownstreamUnavailable: the service does not answer.
            ConfigurationError: it does not tell its schema.
        """
        client = self._to_service(_INTROSPECTION_SECONDS, schemas.MOST_BYTES, 1)
        content = json.dumps({"query": get_introspection_query(descriptions=True)}).encode()
        try:
            response = await client.request("POST", self._url, headers=_HEADERS, content=content)
        except ResponseTooLarge:
            raise ConfigurationError("schema_file: needed, as the service's schema is too large to ask for") from None
        except HttpError as error:
            raise DownstreamUnavailable(detail=f"{error.code}: {error.detail}") from None
        finally:
            await client.aclose()
        if response.status >= 500:
            raise DownstreamUnavailable(detail=f"status {response.status} when asked for the schema")
        try:
            return schemas.from_introspection(response.body)
        except ValueError as error:
            raise ConfigurationError(
                f"schema_file: needed, as the service does not tell its schema: status {response.status}, {error}"
            ) from None

    async def answers(self) -> bool:
        """Whether somebody answers there, be it that nobody without a token is let in. Never raises."""
        if self._closed:
            return False
        # A connection of its own: one that stands already says little of who comes next.
        headers = {**_HEADERS, "connection": "close"}
        content = json.dumps({"query": "{ __typename }"}).encode()
        try:
            response = await self._probe.request("POST", self._url, headers=headers, content=content)
        except ResponseTooLarge:
            return True
        except ActasError:
            return False
        return response.status < 500 and response.status != 404

    async def aclose(self) -> None:
        """Close all connections. May be called twice."""
        self._closed = True
        await self._client.aclose()
        await self._probe.aclose()

    def _to_service(self, seconds: float, size: int, connections: int) -> HttpClient:
        return client_to(
            self._url,
            self._settings.networks,
            HttpSettings(
                connect_timeout=min(3.0, seconds),
                total_timeout=seconds,
                max_response_bytes=size,
                max_connections=connections,
                ca_file=self._settings.ca_file,
            ),
        )


def _without_answer(error: HttpError, *, changes: bool) -> DelegationError:
    detail = f"{error.code}: {error.detail}"
    match error:
        case InsecureUrl() | AddressRefused():
            return DownstreamUnavailable(error.message, detail=detail)
        case ResponseTooLarge():
            return failed(AnswerTooLarge, detail, changes=changes)
        case HttpTimeout():
            return failed(DelegationTimeout, detail, changes=changes)
        case UnexpectedResponse():
            return failed(BadAnswer, detail, changes=changes)
        case _:
            return failed(DownstreamUnavailable, detail, changes=changes)


def _check_status(response: HttpResponse, *, changes: bool) -> None:
    """Let through what may have a GraphQL answer in it: 200, and 400 and the like, as GraphQL over HTTP has it."""
    status = response.status
    if status == 401:
        raise CredentialRejected(detail="the service answered 401")
    if status == 403:
        raise ServiceRefused(detail="the service answered 403")
    if status == 429:
        raise ServiceBusy(detail="the service answered 429")
    if status >= 500:
        raise failed(DownstreamUnavailable, f"the service answered {status}", changes=changes)
    if not (status == 200 or (400 <= status and status != 404)):
        raise failed(BadAnswer, f"the service answered {status}", changes=changes)
