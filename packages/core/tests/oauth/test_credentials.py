"""``Authorization`` headers, as strangers write them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actas.core import AuthenticationError
from actas.oauth.credentials import credentials, proofs, token68


def given_by(*values: bytes) -> tuple[bytes, bool] | None:
    return credentials([(b"host", b"h"), *((b"authorization", value) for value in values), (b"dpop", b"p")])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"Bearer abc", (b"abc", False)),
        (b"bEaReR abc", (b"abc", False)),
        (b"DPoP abc", (b"abc", True)),
        (b"dpop   abc", (b"abc", True)),
        (b" \tBearer abc \t", (b"abc", False)),
        (b"Basic abc", None),
        (b"Bearer\tabc", None),  # no scheme ends so
        (b"", None),
        (b"abc", None),
        (b"Bearer,abc", None),
    ],
)
def test_a_scheme_ends_at_a_space_and_its_case_does_not_matter(value: bytes, found: tuple[bytes, bool] | None) -> None:
    assert given_by(value) == found


def test_there_must_be_one_header_whatever_the_schemes() -> None:
    assert given_by() is None
    for values in ((b"Bearer a", b"Bearer a"), (b"Basic a", b"Bearer a"), (b"Basic a", b"Basic a")):
        with pytest.raises(AuthenticationError):
            given_by(*values)


@pytest.mark.parametrize("token", [b"a", b"a==", b"a.b_c-d~e+f/g", b"a" * 20_000])
def test_a_token68_is_a_token(token: bytes) -> None:
    assert token68(token) == token.decode()


@pytest.mark.parametrize("token", [b"", b"=", b"a=b", b"a b", b"a,b", b'a="b"', b"a\n", b"a\x00", b"\xc3\xa9", b'"a"'])
def test_anything_else_is_none(token: bytes) -> None:
    with pytest.raises(AuthenticationError):
        token68(token)


def test_all_proofs_are_found() -> None:
    assert proofs([(b"dpop", b"a"), (b"x", b"b"), (b"dpop", b"")]) == [b"a", b""]
    assert proofs([]) == []


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"Bearer x", b"DPoP y", b"Bearer ", b"Bearer"]), max_size=3))
@example([b"Bearer a\r\nx: y"])
def test_whatever_stands_there_is_a_token_none_or_an_error_that_is_ours(values: list[bytes]) -> None:
    try:
        found = given_by(*values)
        text = token68(found[0]) if found else ""
    except AuthenticationError:
        return
    assert text.isascii()
    assert not set(text) & set(' \t\r\n",')
    if found:
        (value,) = values
        assert text.encode() in value
