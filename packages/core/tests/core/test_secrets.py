import os
from pathlib import Path

import pytest

from actas.core.errors import SecretError
from actas.core.secret import Secret
from actas.core.secrets import MAX_BYTES, MAX_DEPTH, resolve_secrets

VALUE = "correct-horse-battery-staple"


class Provider:
    """A vault with one secret; asked for ``BROKEN`` it fails and lets slip what it knows."""

    def __init__(self, name: str, **secrets: str) -> None:
        self.name = name
        self.asked: list[str] = []
        self._secrets = secrets

    def get(self, name: str) -> Secret | None:
        self.asked.append(name)
        if name == "BROKEN":
            raise RuntimeError(f"sealed: {VALUE}")
        value = self._secrets.get(name)
        return None if value is None else Secret(value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    return folder


def reference(name: object) -> dict[str, object]:
    return {"$secret": name}


def revealed(value: object) -> str:
    assert isinstance(value, Secret)
    return value.reveal()


def problems(config: dict[str, object], folder: Path, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(SecretError) as raised:
        resolve_secrets(config, directory=folder, environ=environ or {})
    return raised.value.problems


def test_a_file_comes_before_the_environment_and_the_environment_before_providers(folder: Path) -> None:
    (folder / "A").write_text("file")
    providers = [Provider("first", C="first"), Provider("second", A="x", B="x", C="x", D="second")]
    resolved = resolve_secrets(
        {name: reference(name) for name in "ABCD"},
        directory=folder,
        environ={"A": "environment", "B": "environment", "UNUSED": "x"},
        providers=providers,
    )
    assert [revealed(resolved[name]) for name in "ABCD"] == ["file", "environment", "first", "second"]
    assert [provider.asked for provider in providers] == [["C", "D"], ["D"]]


def test_references_are_found_at_any_depth_also_inside_lists_and_tuples(folder: Path) -> None:
    config: dict[str, object] = {
        "auth": {"idps": [{"secret": reference("A")}, [reference("A")], ({"deep": {"er": reference("A")}},)]},
        "port": 8080,
    }
    resolved = resolve_secrets(config, directory=folder, environ={"A": VALUE})
    secret = Secret(VALUE)
    assert resolved == {"auth": {"idps": [{"secret": secret}, [secret], [{"deep": {"er": secret}}]]}, "port": 8080}


def test_the_configuration_that_was_given_is_left_alone(folder: Path) -> None:
    config: dict[str, object] = {"a": [reference("A")]}
    resolve_secrets(config, directory=folder, environ={"A": VALUE})
    assert config == {"a": [{"$secret": "A"}]}


def test_what_is_resolved_does_not_print_itself(folder: Path) -> None:
    assert VALUE not in repr(resolve_secrets({"a": [reference("A")]}, directory=folder, environ={"A": VALUE}))


def test_the_environment_of_the_process_is_the_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTAS_TEST_SECRET", VALUE)
    assert revealed(resolve_secrets({"a": reference("ACTAS_TEST_SECRET")}, directory=folder)["a"]) == VALUE


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"v\n", "v"), (b"v\r\n", "v"), (b"v\n\n", "v\n"), (b" v ", " v "), (b"a\nb\n", "a\nb"), ("ü".encode(), "ü")],
)
def test_of_a_file_only_the_last_lines_end_is_removed(folder: Path, content: bytes, value: str) -> None:
    (folder / "A").write_bytes(content)
    assert revealed(resolve_secrets({"a": reference("A")}, directory=folder, environ={})["a"]) == value


@pytest.mark.parametrize(
    "name",
    [
        "../A",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "a\0b",
        ".hidden",
        "-x",
        "A\n",
        "ä",
        "a" * 129,
        7,
        None,
        ["A"],
        {},
    ],
)
def test_a_name_that_could_leave_the_folder_is_malformed_and_is_not_repeated(folder: Path, name: object) -> None:
    (folder.parent / "A").write_text(VALUE)
    (said,) = problems({"a": reference(name)}, folder, {str(name): VALUE})
    assert (
        said == 'a: "$secret" takes a name: up to 128 of A-Z, a-z, 0-9, "_", "-" and ".", not beginning with "-" or "."'
    )


def test_a_reference_with_another_key_is_malformed_and_its_values_are_not_repeated(folder: Path) -> None:
    (said,) = problems({"a": {"$secret": "A", "default": VALUE}}, folder, {"A": "x"})
    assert said == 'a: a reference is {"$secret": "NAME"} and has no other key'


def test_the_configuration_itself_cannot_be_a_reference(folder: Path) -> None:
    said = problems(reference("A"), folder, {"A": VALUE})
    assert said == ("(the configuration): the whole configuration cannot be one secret",)


def test_all_errors_come_at_once_each_with_its_path(folder: Path) -> None:
    config: dict[str, object] = {
        "auth": {"trusted_idps": [{"client_secret": reference("GONE")}]},
        "odd key": {"x.y": [reference("GONE")]},
        "good": reference("A"),
        "bad": reference(1),
    }
    said = problems(config, folder, {"A": "x"})
    assert [problem.split(": ")[0] for problem in said] == [
        "auth.trusted_idps[0].client_secret",
        "['odd key']['x.y'][0]",
        "bad",
    ]
    assert said[0].endswith(f"secret 'GONE' is nowhere: looked in {folder}, the environment")


def test_a_symlink_inside_the_folder_is_followed_as_kubernetes_needs(folder: Path) -> None:
    (folder / "..2026_11_23").mkdir()
    (folder / "..2026_11_23" / "A").write_text(VALUE)
    (folder / "..data").symlink_to("..2026_11_23")
    (folder / "A").symlink_to("..data/A")
    assert revealed(resolve_secrets({"a": reference("A")}, directory=folder, environ={})["a"]) == VALUE


@pytest.mark.parametrize("target", ["../outside", "/etc/hostname", "../secrets-of-others/A"])
def test_a_symlink_out_of_the_folder_is_refused(folder: Path, target: str) -> None:
    (folder.parent / "outside").write_text(VALUE)
    (folder.parent / "secrets-of-others").mkdir()
    (folder.parent / "secrets-of-others" / "A").write_text(VALUE)
    (folder / "A").symlink_to(target)
    (said,) = problems({"a": reference("A")}, folder, {"A": "fall-back"})
    assert said == f"a: secret 'A' is a link that leads out of {folder}"


def test_a_folder_or_a_pipe_is_no_secret_and_holds_up_nothing(folder: Path) -> None:
    (folder / "DIR").mkdir()
    os.mkfifo(folder / "PIPE")
    said = problems({"a": reference("DIR"), "b": reference("PIPE")}, folder, {"DIR": "x", "PIPE": "x"})
    assert said[0] == f"a: secret 'DIR' in {folder} cannot be read: Is a directory"
    assert said[1] == f"b: secret 'PIPE' in {folder} is not a regular file"


def test_a_folder_that_cannot_be_read_is_an_error_and_not_a_reason_to_look_further(folder: Path) -> None:
    (folder / "file").touch()
    (said,) = problems({"a": reference("A")}, folder / "file", {"A": "fall-back"})
    assert said == f"a: secret 'A' in {folder / 'file'} cannot be read: Not a directory"


def test_a_file_has_a_greatest_length(folder: Path) -> None:
    (folder / "MOST").write_text("x" * MAX_BYTES)
    (folder / "MORE").write_text("x" * (MAX_BYTES + 1))
    assert len(revealed(resolve_secrets({"a": reference("MOST")}, directory=folder, environ={})["a"])) == MAX_BYTES
    assert "longer than 65536 bytes" in problems({"a": reference("MORE")}, folder)[0]


def test_an_empty_secret_is_refused_wherever_it_comes_from(folder: Path) -> None:
    (folder / "FILE").write_text("\n")
    config = {"a": reference("FILE"), "b": reference("ENV"), "c": reference("VAULT")}
    with pytest.raises(SecretError) as raised:
        resolve_secrets(config, directory=folder, environ={"ENV": ""}, providers=[Provider("vault", VAULT="")])
    assert [problem.split(" has ")[0] for problem in raised.value.problems] == [
        f"a: secret 'FILE' is empty: the file in {folder}",
        "b: secret 'ENV' is empty: the environment variable",
        "c: secret 'VAULT' is empty: the answer of the provider 'vault'",
    ]


def test_a_secret_that_is_not_text_is_refused(folder: Path) -> None:
    (folder / "FILE").write_bytes(b"\xff\xfe")
    said = problems({"a": reference("FILE"), "b": reference("ENV")}, folder, {"ENV": "\udcff"})
    assert ["is not UTF-8 text" in problem for problem in said] == [True, True]


def test_what_a_provider_says_when_it_fails_is_private_and_no_other_is_asked(folder: Path) -> None:
    later = Provider("later", BROKEN="x")
    with pytest.raises(SecretError) as raised:
        resolve_secrets(
            {"a": {"b": reference("BROKEN")}}, directory=folder, environ={}, providers=[Provider("vault"), later]
        )
    error = raised.value
    assert error.problems == ("a.b: the provider 'vault' failed to look up secret 'BROKEN'",)
    assert error.detail == f"a.b: RuntimeError: sealed: {VALUE}"
    assert later.asked == []
    chain = [error.__cause__, error.__context__]
    assert chain == [None, None]


def test_a_provider_that_returns_a_plain_string_is_refused(folder: Path) -> None:
    class Careless:
        name = "careless"

        def get(self, name: str) -> str:
            return VALUE

    with pytest.raises(SecretError) as raised:
        resolve_secrets({"a": reference("A")}, directory=folder, environ={}, providers=[Careless()])  # type: ignore[list-item]  # on purpose
    assert raised.value.problems == ("a: the provider 'careless' returned a str for secret 'A'",)


def test_each_name_is_looked_up_once_however_often_it_is_used(folder: Path) -> None:
    vault = Provider("vault", A=VALUE)
    resolved = resolve_secrets(
        {"a": reference("A"), "b": [reference("A")]}, directory=folder, environ={}, providers=[vault]
    )
    assert (vault.asked, resolved["b"]) == (["A"], [Secret(VALUE)])


def test_a_configuration_without_end_is_refused(folder: Path) -> None:
    config: dict[str, object] = {}
    config["a"] = config
    (said,) = problems(config, folder)
    assert said.endswith(f": nested deeper than {MAX_DEPTH} levels")


def test_without_references_nothing_is_read(tmp_path: Path) -> None:
    config: dict[str, object] = {"a": [1, {"b": None}], "c": "text"}
    assert resolve_secrets(config, directory=tmp_path / "missing", environ={}) == config
