"""What the service answers, made safe: data as it is, errors as paths and codes."""

import re
from collections.abc import Mapping
from typing import cast

from actas.delegation.graphql.failures import (
    UNCERTAIN,
    AnswerTooLarge,
    BadAnswer,
    OperationFailed,
    ServiceRefused,
    failed,
)
from actas.http import HttpResponse, strict_json

_DEEPEST = 128
_MOST_VALUES = 100_000
"""Values of an answer; commas in its texts count too."""
_MOST_TOLD = 5
_MOST_LISTED = 20
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,63}")
_LONGEST_PATH = 20
_LONGEST_MESSAGE = 150
_NOTICE = (
    "The service answered in part: see errors. What is null there was not given, which does not mean that it is empty."
)

_FAILED = "The service answered with errors and no data"
_REFUSED = "The service does not let you do this"
_REFUSALS = frozenset(
    {"FORBIDDEN", "UNAUTHENTICATED", "UNAUTHORIZED", "PERMISSION_DENIED", "ACCESS_DENIED", "AUTH_NOT_AUTHORIZED"}
)
"""What services say in ``extensions.code`` to who may not; no specification has it."""

Entry = dict[str, str]


def read(response: HttpResponse, *, changes: bool, show_messages: bool) -> dict[str, object]:
    """``{"data"}``; where there were errors besides, also ``errors`` and a ``notice``. ``changes``: of a mutation.

    Raises:
        BadAnswer: this is no answer of a GraphQL service.
        OperationFailed: there is no data.
        ServiceRefused: there is none, and each error has a code that means: you may not.
        AnswerTooLarge: it has too many values.
    """
    if strict_json.separators(response.body) > _MOST_VALUES:
        raise failed(AnswerTooLarge, "too many values: in memory they are a hundred times as large", changes=changes)
    answer = _answer(response.body)
    data, reported = answer.get("data"), answer.get("errors") or list[object]()
    if not isinstance(data, dict | None) or not isinstance(reported, list) or (data is None and not reported):
        raise failed(BadAnswer, f"status {response.status}: no GraphQL answer in the body", changes=changes)
    first = cast("list[object]", reported)[:_MOST_LISTED]
    errors = [_entry(each, show_messages=show_messages) for each in first]
    if data is None:
        refused = all(each["code"].upper().replace("-", "_") in _REFUSALS for each in errors)
        kind, begun = (ServiceRefused, _REFUSED) if refused else (OperationFailed, _FAILED)
        told = "; ".join(" ".join(each.values()) for each in errors[:_MOST_TOLD])
        private = "; ".join(f"{each.get('path', '?')} {each['code']}" for each in errors[:_MOST_TOLD])
        uncertain = UNCERTAIN if changes else ""
        raise kind(f"{begun}: {told}.{uncertain}", detail=private)
    if not errors:
        return {"data": data}
    return {"data": data, "errors": errors, "notice": _NOTICE}


def _answer(body: bytes) -> Mapping[str, object]:
    """The JSON object in ``body``; nothing where it is none."""
    try:
        found = strict_json.loads(body, max_depth=_DEEPEST)
    except ValueError:
        return {}
    return cast("Mapping[str, object]", found) if isinstance(found, dict) else {}


def _entry(error: object, *, show_messages: bool) -> Entry:
    """Where it went wrong and the service's code for it. Its message could say anything: a row, a query, a secret."""
    members = cast("dict[str, object]", error) if isinstance(error, dict) else {}
    entry: Entry = {}
    path = members.get("path")
    if isinstance(path, list) and path:
        entry["path"] = ".".join(_step(step) for step in cast("list[object]", path)[:_LONGEST_PATH])
    extensions = members.get("extensions")
    code = cast("dict[str, object]", extensions).get("code") if isinstance(extensions, dict) else None
    entry["code"] = code if isinstance(code, str) and _CODE.fullmatch(code) else "ERROR"
    message = members.get("message")
    if show_messages and isinstance(message, str):
        entry["message"] = "".join(each if each.isprintable() else " " for each in message[:_LONGEST_MESSAGE])
    return entry


def _step(step: object) -> str:
    if isinstance(step, int):
        return str(step)
    return step if isinstance(step, str) and _NAME.fullmatch(step) else "?"
