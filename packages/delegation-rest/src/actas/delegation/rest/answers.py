"""What comes back, as data: strict JSON, text, or base64, and only of content types that are accepted."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from actas.delegation.rest.failures import AnswerTooLarge, UnexpectedAnswer
from actas.http import HttpResponse, strict_json

_DEEPEST = 32
"""Levels of a JSON answer."""
_MOST_VALUES = 100_000
"""Values of a JSON answer; commas in its texts count too."""
_CHARSETS = {"": "utf-8", "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "latin-1"}
_JSON = re.compile(r"application/(?:[a-z0-9.+-]{1,100}\+)?json")
_XML = ("application/xml", "application/*+xml")


def data(response: HttpResponse, accepted: Sequence[str]) -> dict[str, object]:
    """``{"status", "body"}``, with ``content_type`` where it is no JSON, and ``base64`` in the body's place.

    Raises:
        UnexpectedAnswer: the content type is not accepted, or the body is not what it says.
        AnswerTooLarge: as :func:`parsed`.
    """
    if not response.body:
        return {"status": response.status, "body": None}
    kind, _, parameters = response.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    if not any(fnmatchcase(kind, pattern.lower()) for pattern in accepted):
        raise UnexpectedAnswer(detail=f"status {response.status} with a content type that is not accepted")
    if is_json(kind):
        return {"status": response.status, "body": parsed(response.body)}
    if kind.startswith("text/") or any(fnmatchcase(kind, pattern) for pattern in _XML):
        return {"status": response.status, "content_type": kind, "body": _decoded(response.body, parameters)}
    return {"status": response.status, "content_type": kind, "base64": b64encode(response.body).decode()}


def is_json(kind: str) -> bool:
    """Whether this content type is JSON (RFC 6839 section 3.1)."""
    return _JSON.fullmatch(kind) is not None


def parsed(body: bytes) -> object:
    """The JSON in ``body``.

    Raises:
        UnexpectedAnswer: it is not strict.
        AnswerTooLarge: it has too many values; in memory they are a hundred times as large as here.
    """
    if strict_json.separators(body) > _MOST_VALUES:
        raise AnswerTooLarge(detail="too many values")
    try:
        return strict_json.loads(body, max_depth=_DEEPEST)
    except ValueError:
        raise UnexpectedAnswer(detail="the body is not strict JSON") from None


def at(value: object, path: str) -> object:
    """What stands in ``value`` at ``path``, ``data.items``; the whole where that is empty, None where nothing does."""
    for step in path.split(".") if path else ():
        value = value.get(step) if isinstance(value, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] -- JSON
    return value  # pyright: ignore[reportUnknownVariableType] -- JSON


def _decoded(body: bytes, parameters: str) -> str:
    charset = ""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    try:
        return body.decode(_CHARSETS[charset])
    except (KeyError, UnicodeDecodeError):
        raise UnexpectedAnswer(detail="the body is not text in a character set that is known") from None
