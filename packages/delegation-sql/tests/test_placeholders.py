"""How named parameters become bound ones."""

import time

import pytest

from actas.core.errors import InvalidParameters
from actas.delegation.sql.placeholders import bind

MOST = 1000


def _text(statement: str, **parameters: object) -> str:
    return bind(statement, parameters, most_bytes=MOST).text


def test_placeholders_become_numbers_in_the_order_of_their_first_use() -> None:
    bound = bind("SELECT %(b)s, %(a)s, %(b)s", {"a": "x", "b": 2}, most_bytes=MOST)
    assert bound.text == "SELECT $1   , $2   , $1   "
    assert bound.values == [b"2", b"x"]
    assert bound.types == [23, 0]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a%' LIKE '%(a)s', 5 % 3, 'x%%y'",
        'SELECT "%(a)s"',
        "SELECT $$%(a)s$$, $tag$ %(a)s $x$ $tag$",
        "SELECT 1 -- %(a)s",
        "SELECT /* %(a)s /* %(a)s */ %(a)s */ 1",
        "SELECT E'it\\'s %(a)s'",
        "SELECT 'it''s %(a)s'",
        "SELECT U&'%(a)s', 1e5, e'\\\\' ",
        "SELECT /* unfinished %(a)s",
    ],
)
def test_text_in_quotes_and_comments_and_a_lone_percent_sign_stay_as_they_are(statement: str) -> None:
    assert _text(statement) == statement


@pytest.mark.parametrize(
    ("statement", "parameters", "said"),
    [
        ("SELECT %(a)s", {}, "no value for the placeholder %(a)s"),
        ("SELECT 1", {"SECRET": "SECRET"}, "1 not used in sql"),
        ("SELECT '%(a)s'", {"a": "SECRET"}, "without quotes"),
        ("SELECT $1", {}, "write placeholders as %(name)s, not as $1 at line 1, column 8"),
        ("SELECT %(a)s", {"a": {"SECRET": 1}}, "params.a: must be a string"),
        ("SELECT %(a)s", {"a": [{"SECRET": 1}]}, "params.a: must be a string"),
        ("SELECT %(a)s", {"a": b"SECRET"}, "params.a: must be a string"),
        ("SELECT %(a)s", {"a": "SECRET\0"}, "params.a: has a NUL"),
        ("SELECT %(a)s", {"a": "SECRET\ud800"}, "params.a: has half of a surrogate pair"),
        ("SELECT %(a)s", {"a": ["SECRET\udfff"]}, "params.a: has half of a surrogate pair"),
        ("SELECT %(a)s", {"a": "SECRET" * 1000}, "longer than 1000 bytes"),
        ("SELECT %(a)s", {"a": 10**5000}, "too many digits"),
        ("SELECT '\0'", {}, "sql: has a NUL"),
        ("SELECT '\ud800'", {}, "sql: has half of a surrogate pair"),
        ("SELECT " + ", ".join(f"%(p{n})s" for n in range(1001)), {}, "more than 1000 placeholders"),
    ],
)
def test_bad_parameters_are_named_and_their_values_are_not(
    statement: str, parameters: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidParameters) as refused:
        bind(statement, parameters, most_bytes=MOST)
    assert said in refused.value.message
    assert "SECRET" not in refused.value.message


def test_lists_become_array_literals_whatever_is_in_them() -> None:
    bound = bind("SELECT %(a)s", {"a": ['x"y', "back\\slash", None, 1, True, ["in"], "NULL", ""]}, most_bytes=MOST)
    assert bound.values == [b'{"x\\"y","back\\\\slash",NULL,"1","t",{"in"},"NULL",""}']


@pytest.mark.parametrize("opening", ["$", "'", '"', "e'", "$a$ $b$ '"])
def test_what_is_never_closed_reaches_to_the_end(opening: str) -> None:
    bound = bind(f"SELECT {'$$' if opening == '$' else opening} %(name)s", {}, most_bytes=10)
    assert bound.text.endswith("%(name)s")


def test_thousands_of_open_dollar_quotes_are_read_in_one_pass() -> None:
    started = time.monotonic()
    bind("SELECT " + " ".join(f"$q{number}$" for number in range(9000)), {}, most_bytes=10)
    assert time.monotonic() - started < 0.5
