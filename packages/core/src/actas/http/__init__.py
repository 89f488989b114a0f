"""The one hardened HTTP client that everything here uses, and the strict JSON reader it needs."""

from actas.http.addresses import AddressGuard
from actas.http.client import HttpClient, HttpResponse, TlsIdentity
from actas.http.errors import AddressRefused, HttpError, HttpTimeout, InsecureUrl, ResponseTooLarge, UnexpectedResponse
from actas.http.presenting import present, presented
from actas.http.settings import HttpSettings

__all__ = [
    "AddressGuard",
    "AddressRefused",
    "HttpClient",
    "HttpError",
    "HttpResponse",
    "HttpSettings",
    "HttpTimeout",
    "InsecureUrl",
    "ResponseTooLarge",
    "TlsIdentity",
    "UnexpectedResponse",
    "present",
    "presented",
]
