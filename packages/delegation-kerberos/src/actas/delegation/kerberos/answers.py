"""What a web service answered, as data: strict JSON, text, or base64."""

import re
from base64 import b64encode

from actas.core.errors import LimitExceeded
from actas.delegation.kerberos.failures import UnexpectedAnswer
from actas.http import HttpResponse, strict_json

_DEEPEST = 32
_MOST_VALUES = 100_000
"""Values of a JSON answer; commas in its texts count too. In memory they are a hundred times as large."""
_JSON = re.compile(r"application/(?:[a-z0-9.+-]{1,100}\+)?json")
_TEXT = re.compile(r"text/[a-z0-9.+-]{1,100}|application/(?:[a-z0-9.+-]{1,100}\+)?xml")
_CHARSET = re.compile(r";[ \t]*charset=\"?([A-Za-z0-9_-]{1,40})\"?", re.IGNORECASE)
_CODECS = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "latin-1", "windows-1252": "cp1252"}


def data(response: HttpResponse) -> dict[str, object]:
    """``status`` and ``body``; ``content_type`` where it is no JSON, and ``base64`` in the body's place where it is
    no text.

    Raises:
        UnexpectedAnswer: it is not what its content type says.
        LimitExceeded: a JSON answer has too many values.
    """
    if not response.body:
        return {"status": response.status, "body": None}
    said = response.headers.get("content-type", "")
    kind = said.partition(";")[0].strip().lower()
    if _JSON.fullmatch(kind):
        return {"status": response.status, "body": _parsed(response.body)}
    if _TEXT.fullmatch(kind):
        return {"status": response.status, "content_type": kind, "body": _decoded(response.body, said)}
    return {"status": response.status, "content_type": kind, "base64": b64encode(response.body).decode()}


def _parsed(body: bytes) -> object:
    if strict_json.separators(body) > _MOST_VALUES:
        raise LimitExceeded("The answer is too large. Ask for less.", detail="too many values")
    try:
        return strict_json.loads(body, max_depth=_DEEPEST)
    except ValueError:
        raise UnexpectedAnswer(detail="the body is not strict JSON") from None


def _decoded(body: bytes, content_type: str) -> str:
    charset = _CHARSET.search(content_type)
    try:
        return body.decode(_CODECS[charset[1].lower() if charset else "utf-8"])
    except (KeyError, UnicodeDecodeError):
        raise UnexpectedAnswer(detail="the body is not text in a character set that is known") from None
