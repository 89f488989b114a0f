"""The one hardened HTTP client that everything here uses, and the strict JSON reader it needs."""

from actas.core.subjects import subject
from actas.http.addresses import AddressGuard
from actas.http.client import HttpClient, HttpResponse, TlsIdentity
from actas.http.errors import (
    AddressRefused,
    HttpError,
    HttpTimeout,
    InsecureUrl,
    RequestRefused,
    ResponseTooLarge,
    UnexpectedResponse,
)
from actas.http.presenting import present, presented
from actas.http.retries import BUSY, pause_after
from actas.http.services import base_of, client_to, network_problems, service_url
from actas.http.settings import HttpSettings

__all__ = [
    "BUSY",
    "AddressGuard",
    "AddressRefused",
    "HttpClient",
    "HttpError",
    "HttpResponse",
    "HttpSettings",
    "HttpTimeout",
    "InsecureUrl",
    "RequestRefused",
    "ResponseTooLarge",
    "TlsIdentity",
    "UnexpectedResponse",
    "base_of",
    "client_to",
    "network_problems",
    "pause_after",
    "present",
    "presented",
    "service_url",
    "subject",
]
