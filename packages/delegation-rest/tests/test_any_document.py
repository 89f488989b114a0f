"""Whatever stands in a document, it is a tool or a problem that is told: never an error of another kind."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_openapi import CRM
from test_openapi import settings as rest_settings

from actas.core import ActasError, Action, ConfigurationError
from actas.delegation.rest.declared import operations
from actas.mcp.schema import check_declaration, validate_parameters

KEYS = st.sampled_from(
    "$ref in name schema content required parameters paths get post type properties items allOf enum nullable style"
    " explode tags operationId summary requestBody $defs exclusiveMinimum minimum readOnly additionalProperties".split()
)
TEXTS = st.sampled_from(
    [
        "",
        "path",
        "query",
        "header",
        "object",
        "#/",
        "#/paths",
        "#/components/schemas/Customer",
        "#/components/~2",
        "a\x00",
    ]
) | st.text(max_size=5)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | TEXTS, inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, each in inner for place in places(each, (*here, key)))]


PLACES = places(CRM)[1:]


def changed(document: Any, place: tuple[Any, ...], value: Any) -> None:
    """Put ``value`` at ``place``, as far as that is there still."""
    try:
        for key in place[:-1]:
            document = document[key]
        document[place[-1]] = value
    except (KeyError, IndexError, TypeError):
        return  # an earlier change took it away


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=3))
def test_a_document_is_made_tools_of_or_its_problems_are_told(
    changes: list[tuple[tuple[Any, ...], Any]], tmp_path_factory: Any
) -> None:
    document = deepcopy(CRM)
    for place, value in changes:
        changed(document, place, deepcopy(value))
    file = Path(tmp_path_factory.getbasetemp()) / "any.json"
    file.write_text(json.dumps(document))
    try:
        made: list[Action] = [each.action for each in operations(rest_settings(str(file)))]
    except ConfigurationError as error:
        assert all(line.startswith(("openapi", "operations")) for line in error.problems)
        return
    for action in made:
        try:
            check_declaration(action.parameters)
        except TypeError as error:
            assert "JSON Schema" in str(error)


NAMES = (
    st.sampled_from(["limit", "filter_name_", "ids", "where", "raw", "Accept-Language", "id", "body", "name"]) | TEXTS
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../x", "a,b", "%2e"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
AT = re.compile(r"/|/customers(/[A-Za-z0-9._~%-]+)?|/health")


@settings(max_examples=300, deadline=None)
@given(parameters=st.dictionaries(NAMES, VALUES, max_size=4), checked=st.booleans())
def test_any_parameters_become_a_request_at_its_place_or_are_refused(
    parameters: dict[str, Any], checked: bool, tmp_path_factory: Any
) -> None:
    file = Path(tmp_path_factory.getbasetemp()) / "crm.json"
    if not file.exists():
        file.write_text(json.dumps(CRM))
    for operation in operations(rest_settings(str(file))):
        try:
            given = validate_parameters(operation.action, parameters) if checked else parameters
            target = operation.request(given)
        except ActasError:
            continue
        assert AT.fullmatch(target.path), target
        assert re.fullmatch(r"[A-Za-z0-9._~%=&-]*", target.query), target
        assert set(target.headers) <= {"Accept-Language"}
