"""The delegation module: a document, judged; its variables; the user's exchanged token; one request; a receipt."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from graphql import GraphQLSchema, print_type

from actas.core.errors import (
    ConfigurationError,
    DelegationTimeout,
    DownstreamUnavailable,
    InvalidParameters,
    PrincipalUnavailable,
    UnknownAction,
)
from actas.core.models import Action, Credential, DelegationCall, DelegationResult, Health, Receipt, Session
from actas.core.shares import Shares
from actas.delegation.graphql import answers, operations, schemas
from actas.delegation.graphql.actions import HEALTH, MUTATE, TAKEN, Document, Look, free, health
from actas.delegation.graphql.checks import check
from actas.delegation.graphql.cost import Costs
from actas.delegation.graphql.failures import DocumentRefused, failed
from actas.delegation.graphql.operations import Operation
from actas.delegation.graphql.policy import Judged, Policy
from actas.delegation.graphql.settings import GraphqlSettings
from actas.delegation.graphql.upstream import Upstream
from actas.delegation.graphql.variables import coerced
from actas.http import subject

_LONG_DOCUMENT = 2048
"""Characters: judging more than this would keep all other calls waiting."""
_LONGEST_TYPE = 30_000


@dataclass(frozen=True, slots=True)
class _Known:
    """What is there once the schema is."""

    schema: GraphQLSchema
    policy: Policy
    costs: Costs
    health: Judged


class GraphqlDelegation:
    """One GraphQL service that is asked as the user who called.

    Raises:
        ConfigurationError: the settings make no sense, or what they name cannot be read.
    """

    def __init__(self, settings: GraphqlSettings) -> None:
        check(settings)
        self._settings = settings
        self._known: _Known | None = None
        self._operations: dict[str, Operation] = {}
        self._shares = Shares(settings.limits.calls_per_user)
        if settings.schema_file is not None:
            self._known = known = self._with(schemas.from_file(settings.schema_file))
            if settings.operations is not None:
                self._operations = operations.read(
                    settings.operations, known.schema, known.policy, settings.limits, settings.permissions
                )
        taken = sorted(TAKEN & self._operations.keys())
        if taken:
            raise ConfigurationError(f"operations: {', '.join(taken)} is taken: rename the operation")
        self._actions = (
            *(free(settings.permissions) if settings.free_documents else ()),
            *(operation.action for operation in self._operations.values()),
            health(settings.permissions),
        )
        self._upstream = Upstream(settings)

    @property
    def actions(self) -> Sequence[Action]:
        """``query`` (the tool ``delegate``), ``mutate`` and ``schema`` where documents are free; one for each operation
        on file; ``health``."""
        return self._actions

    async def initialize(self) -> None:
        """Ask the service for its schema, where no file has it.

        Raises:
            DownstreamUnavailable: it does not answer.
            ConfigurationError: it does not tell its schema.
        """
        if self._known is None:
            self._known = self._with(await self._upstream.introspect())

    def principal(self, session: Session) -> str:
        """The session's subject: whom the exchanged token is about, by the checks of the exchange.

        Raises:
            PrincipalUnavailable: it is not one that can be compared and written down safely.
        """
        return subject(session)

    async def health_check(self) -> Health:
        """See whether the service answers. Sends no token; 4 s at most."""
        if await self._upstream.answers():
            return Health(healthy=True)
        return Health(healthy=False, message="The GraphQL service does not answer.")

    async def destroy(self) -> None:
        """Close all connections; what runs is cancelled by its own caller."""
        await self._upstream.aclose()

    async def delegate(self, call: DelegationCall) -> DelegationResult:
        """Carry out the call as ``principal(call.session)``.

        Raises:
            DocumentInvalid, DocumentRefused, InvalidParameters: nothing was sent.
            CredentialRejected, ServiceRefused, ServiceBusy: the service did nothing.
            OperationFailed, BadAnswer, AnswerTooLarge, DelegationTimeout, DownstreamUnavailable: it may have.
        """
        principal = self.principal(call.session)
        known = self._known
        if known is None:
            raise DownstreamUnavailable(detail="the schema is not known: the module was not initialised")
        if isinstance(call.parameters, Look):
            receipt = Receipt(identity=principal, method="in-process")
            return DelegationResult(data=_looked_up(known.schema, call.parameters), receipt=receipt)
        credential = call.credential
        if credential is None:
            raise PrincipalUnavailable(detail="there is no exchanged token: token_exchange is not configured")
        judged, variables = await self._asked(known, call)
        most_bytes = self._settings.limits.variables_bytes
        known.costs.check(judged, coerced(known.schema, judged.operation, variables, most_bytes))
        data = await self._answer(judged, variables, credential, call)
        receipt = Receipt(identity=principal, method="token:exchange", details={"token_subject": credential.subject})
        return DelegationResult(data=data, receipt=receipt)

    def _with(self, schema: GraphQLSchema) -> _Known:
        settings = self._settings
        policy = Policy(schema, settings.limits, introspection=settings.introspection)
        costs = Costs(schema, settings.limits, settings.size_arguments)
        return _Known(schema, policy, costs, policy.judge("{ __typename }"))

    async def _asked(self, known: _Known, call: DelegationCall) -> tuple[Judged, Mapping[str, object]]:
        """What to send; for a document of the caller's own, once it is judged."""
        if call.action.name == HEALTH:
            return known.health, {}
        parameters = call.parameters
        operation = self._operations.get(call.action.name)
        if operation is not None:
            if not isinstance(parameters, Mapping):
                raise InvalidParameters(detail="the parameters of an operation on file are a mapping")
            return operation.judged, cast("Mapping[str, object]", parameters)
        if not isinstance(parameters, Document):
            raise UnknownAction
        if len(parameters.document) > _LONG_DOCUMENT:
            judged = await asyncio.to_thread(known.policy.judge, parameters.document)
        else:
            judged = known.policy.judge(parameters.document)
        # The kind is the document's own: what its tool was allowed for is all that it may be.
        if judged.changes is not (call.action.name == MUTATE):
            raise DocumentRefused(f"Refused: this tool carries out no {judged.operation.operation.value}.")
        return judged, parameters.variables

    async def _answer(
        self, judged: Judged, variables: Mapping[str, object], credential: Credential, call: DelegationCall
    ) -> dict[str, object]:
        limit = asyncio.timeout(call.remaining(time.monotonic()))
        try:
            # The pipeline has a timeout of its own; this one is for those who call the module without it.
            async with limit, self._shares.one_of(call.session):
                response = await self._upstream.post(
                    judged.text, variables, credential, changes=judged.changes, request_id=call.request_id
                )
        except TimeoutError:
            detail = "the deadline passed; the connection was closed"
            raise failed(DelegationTimeout, detail, changes=judged.changes) from None
        return answers.read(response, changes=judged.changes, show_messages=self._settings.show_messages)


def _looked_up(schema: GraphQLSchema, look: Look) -> dict[str, object]:
    if look.type is None:
        return schemas.root_fields(schema)
    kind = schema.type_map.get(look.type)
    if kind is None:
        raise InvalidParameters("type: the schema has no type of this name.")
    return {"type": print_type(kind)[:_LONGEST_TYPE]}
