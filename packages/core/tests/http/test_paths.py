"""What becomes of a path: whatever is filled in, the service is asked for what the operator listed."""

import unicodedata
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actas.http import RequestRefused
from actas.http.paths import AllowList, Template, segment
from actas.testing.attacks import LEAVING_PATHS

METHODS = ("GET", "POST", "DELETE")


@pytest.mark.parametrize("value", LEAVING_PATHS, ids=ascii)
def test_a_value_that_could_leave_its_segment_is_refused(value: str) -> None:
    with pytest.raises(RequestRefused):
        segment(value)
    with pytest.raises(RequestRefused):
        Template("/customers/{id}/notes").fill({"id": value})
    with pytest.raises(RequestRefused):
        AllowList(["GET /customers/{id}"], METHODS).encoded("GET", f"/customers/{value}")


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("7", "7"),
        ("Anna Müller", "Anna%20M%C3%BCller"),
        ("a;b", "a%3Bb"),
        ("100%", "100%25"),
        ("a?b#c", "a%3Fb%23c"),
        ("..a", "..a"),
        ("v1.2", "v1.2"),
        ("user@example.com", "user%40example.com"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("http:", "http%3A"),
    ],
)
def test_any_other_value_is_encoded_into_one_segment(value: str, sent: str) -> None:
    assert segment(value) == sent
    assert Template("/customers/{id}").fill({"id": value}) == f"/customers/{sent}"


@given(st.text() | st.text(alphabet="./\\%2eEfF5cCu0\uff0e\u2024;\u200b ", max_size=8))
@example("%25%32%65")
def test_whatever_is_filled_in_is_one_segment_however_often_it_is_decoded(value: str) -> None:
    try:
        filled = Template("/a/{id}/z").fill({"id": value})
    except RequestRefused:
        return
    assert filled.isascii() and filled.isprintable() and " " not in filled
    parts = urlsplit(f"https://api.example/v1{filled}")
    assert (parts.netloc, parts.query, parts.fragment) == ("api.example", "", "")
    assert unquote_to_bytes(filled.split("/")[2]) == value.encode()
    text = filled
    for _ in range(3):
        text = unquote(text)
        for form in (text, unicodedata.normalize("NFKC", text)):
            segments = form.replace("\\", "/").split("/")
            assert len(segments) == 4
            assert not {".", "..", ""} & set(segments[1:])


@given(st.text(max_size=60), st.sampled_from(["GET", "POST", "DELETE", "TRACE", "get", ""]))
def test_whatever_path_is_asked_for_it_is_one_of_those_that_are_allowed(path: str, method: str) -> None:
    allowed = AllowList(["GET /customers/{id}", "GET /files/**"], METHODS)
    for asked in (path, f"/customers/{path}", f"/files/{path}"):
        try:
            sent = allowed.encoded(method, asked)
        except RequestRefused:
            continue
        assert method == "GET"
        segments = sent.split("/")
        assert segments[1] in ("customers", "files")
        assert segments[1] == "files" or len(segments) == 3
        assert all(segment(unquote(each)) == each for each in segments[2:])


@pytest.mark.parametrize(
    "path",
    [
        "customers/7", "//evil.example/x", "https://evil.example/", "/customers/7?x=1", "/customers/7#x", "/customers",
        "/customers/", "/customers/7/", "/customers/7/notes", "/Customers/7", "/files", "/files/", "/files//x",
        "/files/a/", "/files/../admin", "/files/a/../../admin", "/files/a/%2e%2e/admin", "", "/", "/admin",
    ],
)  # fmt: skip
def test_a_path_that_is_not_allowed_is_refused(path: str) -> None:
    allowed = AllowList(["GET /customers/{id}", "GET /files/**"], METHODS)
    with pytest.raises(RequestRefused):
        allowed.encoded("GET", path)


def test_a_method_is_allowed_with_its_own_paths_alone() -> None:
    allowed = AllowList(["GET /a/{id}", "POST /a", "GET /**"], METHODS)
    assert allowed.methods == ("GET", "POST")
    assert allowed.encoded("POST", "/a") == "/a"
    assert allowed.encoded("GET", "/x:y/z z") == "/x%3Ay/z%20z"
    for method, path in (("DELETE", "/a/1"), ("POST", "/a/1")):
        with pytest.raises(RequestRefused):
            allowed.encoded(method, path)


@pytest.mark.parametrize(
    "line",
    [
        "GET",
        "GET customers",
        "TRACE /x",
        "get /x",
        "GET /a//b",
        "GET /a/../b",
        "GET /a/{x}y",
        "GET /a/",
        "GET /",
        "GET /%2e",
    ],
)
def test_a_line_that_is_no_method_and_path_is_told(line: str) -> None:
    with pytest.raises(ValueError, match=line.split()[0]):
        AllowList([line], METHODS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "//x",
        "/a//b",
        "/a/./b",
        "/..",
        "/..;x",
        "/a/{id",
        "/a/id}",
        "/{a}/{a}",
        "/a?b",
        "/a#b",
        "/a%2f",
        "/a b",
        "/ä",
        "/{}",
    ],
)
def test_a_template_that_is_no_plain_path_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        Template(text)


def test_a_parameter_may_be_a_part_of_a_segment_and_together_they_are_still_no_dots() -> None:
    assert Template("/files/{name}.json").fill({"name": "a b"}) == "/files/a%20b.json"
    assert Template("/").fill({}) == "/"
    assert Template("/a/").fill({}) == "/a/"
    assert Template("/v1:{verb}").fill({"verb": "x"}) == "/v1:x"
    for template, values in (("/{a}.", {"a": "."}), ("/{a}{b}", {"a": "%", "b": "2e"}), ("/a/{id}", {})):
        with pytest.raises(RequestRefused):
            Template(template).fill(values)


def test_a_path_that_goes_on_and_on_is_refused() -> None:
    allowed = AllowList(["GET /files/**"], METHODS)
    assert allowed.encoded("GET", f"/files{'/a' * 3000}")
    with pytest.raises(RequestRefused):
        allowed.encoded("GET", f"/files{'/a' * 4000}")
