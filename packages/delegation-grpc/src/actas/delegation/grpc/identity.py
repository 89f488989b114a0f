"""Metadata: the user's token, who calls, and what is always the same. Nothing of it comes from parameters."""

import re
from collections.abc import Iterator

from actas.core.errors import PrincipalUnavailable
from actas.core.models import Credential, Session
from actas.delegation.grpc.failures import TokenNotPlain
from actas.delegation.grpc.settings import GrpcSettings

Metadata = tuple[tuple[str, str], ...]

_NAME = re.compile(r"[a-z0-9_.-]{1,64}")
"""A metadata key, in lower case."""
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?")
_LISTS = frozenset('",;\\')
"""What makes two of one value, to a server that takes it for a list: nobody is two."""
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_RESERVED = frozenset(
    "authorization connection content-type cookie dpop host te trailer user-agent x-request-id".split()
)
"""What carries the call, or says who makes it: never by configuration."""


def bearer(credential: Credential) -> str:
    """The exchanged token, as it is presented.

    Raises:
        TokenNotPlain: it is bound to a key.
        PrincipalUnavailable: it is none that can be presented.
    """
    if credential.prover is not None or credential.token_type != "Bearer":  # noqa: S105 -- a scheme, no password
        raise TokenNotPlain(
            detail="gRPC has no DPoP: leave dpop_key out of this module's token_exchange, and ask for bearer tokens"
        )
    token = credential.token.reveal()
    if not _BEARER.fullmatch(token):
        raise PrincipalUnavailable(detail="the exchanged token is none that can be presented as a bearer token")
    return token


class Identity:
    """What is said about the caller, besides the token."""

    def __init__(self, settings: GrpcSettings) -> None:
        self._fixed: Metadata = tuple((name, secret.reveal()) for name, secret in settings.metadata.items())
        self._fields = tuple(settings.identity_metadata.items())

    def metadata(self, session: Session, request_id: str) -> Metadata:
        """The metadata of one call but for ``authorization``.

        Raises:
            PrincipalUnavailable: the session lacks what a name wants, or it is not fit for metadata.
        """
        made = [*self._fixed]
        for name, field in self._fields:
            value = getattr(session, field)
            if not isinstance(value, str) or not _VALUE.fullmatch(value) or _LISTS & set(value):
                raise PrincipalUnavailable(detail=f"{field} is missing, or not fit for the metadata {name}")
            made.append((name, value))
        if request_id and _VALUE.fullmatch(request_id):
            made.append(("x-request-id", request_id))
        return tuple(made)


def problems(settings: GrpcSettings) -> Iterator[str]:
    """What is wrong with the metadata that is configured, each problem with its path."""
    taken: dict[str, str] = {}
    for section, names in (("metadata", settings.metadata), ("identity_metadata", settings.identity_metadata)):
        for name in names:
            plain = name.replace("_", "-").replace(".", "-")
            if not _NAME.fullmatch(name) or plain in _RESERVED or plain.startswith("grpc-") or plain.endswith("-bin"):
                yield f"{section}: {name!r} is no metadata that can be set here; names are in lower case"
            elif plain in taken:
                yield f"{section}: {name!r} stands in {taken[plain]} already"
            taken[plain] = section
    if settings.reflection is not None:
        for name in settings.reflection.metadata:
            if not _NAME.fullmatch(name) or name.startswith("grpc-") or name.endswith("-bin"):
                yield f"reflection.metadata: {name!r} is no metadata that can be set here; names are in lower case"
    values = [*settings.metadata.values(), *(settings.reflection.metadata.values() if settings.reflection else ())]
    if not all(_VALUE.fullmatch(secret.reveal()) for secret in values):
        yield "metadata: a value is empty or not plain ASCII text"
