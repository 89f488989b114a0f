"""The parsers against whatever a stranger may send: no exception that is not ours, and no second reading."""

import base64
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actas.core.errors import AuthenticationError
from actas.http import strict_json
from actas.oauth.jwt import MAX_DEPTH, TokenReader, decode_base64url, decode_object
from actas.testing.tokens import nested

_READER = TokenReader(max_bytes=65_536)
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

_scalar = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
_json = st.recursive(_scalar, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=20)
_objects = st.dictionaries(st.text(), _json, max_size=10)


@given(st.binary())
def test_base64url_is_read_as_it_is_written(content: bytes) -> None:
    assert decode_base64url(base64.urlsafe_b64encode(content).rstrip(b"=")) == content


@given(st.text(alphabet=_ALPHABET + "+/=. \n!é", max_size=12).map(str.encode))
@example(b"YR")
@example(b"A")
@example(b"AA==")
@example(b"A+")
def test_base64url_has_one_spelling_per_value(segment: bytes) -> None:
    try:
        content = decode_base64url(segment)
    except ValueError:
        return
    assert base64.urlsafe_b64encode(content).rstrip(b"=") == segment


@given(_objects)
def test_an_object_is_read_the_same_however_it_is_spelled(value: dict[str, object]) -> None:
    for text in (
        json.dumps(value),
        json.dumps(value, indent=1),
        json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    ):
        assert decode_object(text.encode()) == value


@given(_objects, st.text(), _json, _json)
@settings(max_examples=200)
def test_a_name_that_occurs_twice_is_never_read(
    value: dict[str, object], name: str, first: object, second: object
) -> None:
    rest = json.dumps({key: item for key, item in value.items() if key != name}, separators=(",", ":"))[1:]
    comma = "" if rest == "}" else ","
    for spelled in (json.dumps(name), json.dumps(name, ensure_ascii=False)):
        pair, again = f"{spelled}:{json.dumps(first)}", f"{json.dumps(name)}:{json.dumps(second)}"
        for text in (f"{{{pair},{again}{comma}{rest}", f'{{"":[{{{pair},{again}{comma}{rest}]}}'):
            with pytest.raises(ValueError, match="twice"):
                decode_object(text.encode())


@given(st.binary() | _objects.map(json.dumps).map(str.encode))
def test_bytes_are_an_object_or_an_error_that_is_expected(text: bytes) -> None:
    try:
        assert isinstance(decode_object(text), dict)
    except (ValueError, OverflowError):
        return


_segment = st.binary(max_size=60).map(lambda content: base64.urlsafe_b64encode(content).rstrip(b"=")) | st.binary(
    max_size=20
)
_header = st.fixed_dictionaries(
    {"alg": st.sampled_from(["RS256", "none", "HS256"]) | _json}, optional={"kid": _json, "typ": _json, "crit": _json}
)


@given(st.lists(_segment, max_size=5).map(b".".join))
def test_any_bytes_are_a_token_or_refused(token: bytes) -> None:
    try:
        _READER.read(token)
    except AuthenticationError as error:
        assert error.reason in ("malformed", "too_large", "critical_header")


@given(_header, _objects)
def test_any_header_is_understood_or_refused(header: dict[str, object], claims: dict[str, object]) -> None:
    token = (
        b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims))
        + b".AA"
    )
    try:
        read = _READER.read(token)
    except AuthenticationError as error:
        assert error.reason in ("malformed", "too_large", "critical_header")
        return
    assert "crit" not in header
    assert read.claims == claims
    assert read.header.key_id == header.get("kid")


@pytest.mark.parametrize(
    "text", [b'{"a":NaN}', b'{"a":1e999}', b'{"a":' + b"9" * 30 + b"}", b'{"a":"\\ud800"}', b"\xef\xbb\xbf{}", b"{}{}"]
)
def test_what_parsers_disagree_about_is_refused_by_both_readers(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode_object(text)
    with pytest.raises(ValueError, match=r".*"):
        strict_json.loads(text, max_depth=MAX_DEPTH)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_depth_counts_lists_and_objects(depth: int) -> None:
    assert strict_json.within_depth(nested(depth), depth)
    assert not strict_json.within_depth(nested(depth), depth - 1)
    assert strict_json.within_depth({"a": nested(depth)}, depth + 1)
    assert not strict_json.within_depth({"a": nested(depth)}, depth)


def test_an_abyss_of_brackets_is_refused_without_harm() -> None:
    for text in (b"[" * 1_000_000, b'{"a":' * 200_000, b"[" * 2000 + b"]" * 2000):
        with pytest.raises(ValueError, match=r".*"):
            strict_json.loads(text, max_depth=32)
    assert strict_json.within_depth(1, 0)
    assert strict_json.loads(b"[" * 32 + b"]" * 32, max_depth=32)
    with pytest.raises(ValueError, match="deep"):
        strict_json.loads(b"[" * 33 + b"]" * 33, max_depth=32)


def test_genuine_headers_are_remembered_up_to_a_bound() -> None:
    reader = TokenReader(max_bytes=1000)
    for number in range(5000):
        header = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": str(number)}).encode()).rstrip(b"=")
        token = reader.read(header + b".e30.AA")
        if number % 2:
            reader.remember(token)
        assert token.header.key_id == str(number)
    assert len(reader.remembered) <= 1024
    assert all(int(header.key_id or 0) % 2 for header in reader.remembered.values())
