"""Files of policies: read whole or refused, with file and line."""

import subprocess
import sys
from pathlib import Path

import pytest

from actas.core.errors import ConfigurationError
from actas.core.protocols import Authorizer
from actas.policy.cedar.plugin import actas_authorizer_kinds
from actas.policy.cedar.policies import MAX_BYTES, read_policies
from actas.policy.cedar.settings import CedarSettings

GOOD = "permit(principal, action, resource);\n"


def problems(*files: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_policies([str(file) for file in files])
    return [problem.replace(str(files[0].parent) + "/", "") for problem in caught.value.problems]


def written(folder: Path, text: str | bytes, name: str = "p.cedar") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_importing_the_plugin_imports_no_engine() -> None:
    program = (
        "import sys, actas.policy.cedar.plugin as plugin; list(plugin.actas_authorizer_kinds())\n"
        "heavy = {'cedarpy', 'pydantic', 'mcp'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_plugin_offers_one_kind_that_makes_an_authoriser(tmp_path: Path) -> None:
    (kind,) = actas_authorizer_kinds()
    assert (kind.name, kind.settings) == ("cedar", CedarSettings)
    assert isinstance(kind.create(CedarSettings(policies=[str(written(tmp_path, GOOD))])), Authorizer)


@pytest.mark.parametrize("files", [[], [""], ["a", ""]])
def test_settings_without_a_file_are_refused(files: list[str]) -> None:
    with pytest.raises(ValueError, match="at least one file"):
        CedarSettings(policies=files)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('permit(principal, action, resource)\nwhen { principal.role = "x" };', "p.cedar:1: "),
        (GOOD + "\n// a comment; with a semicolon\n\npermit(principal, action resource);\n" + GOOD, "p.cedar:5: "),
        (GOOD + "permit(principal, action, resource) when { true }", "p.cedar:2: "),
        ('"text first";', "p.cedar:1: "),
        ('permit(principal, action, resource) when { "unfinished', "p.cedar:1: "),
        ("\n\npermit(principal == ?principal, action, resource);", "p.cedar:3: this is a template"),
        ("// nothing but a comment", "p.cedar: there is no policy in it"),
        ("", "p.cedar: there is no policy in it"),
        (b"\xff", "cannot be read: it is not UTF-8"),
        (b" " * (MAX_BYTES + 1), "p.cedar: cannot be read: it is longer than"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, text: str | bytes, told: str) -> None:
    (problem,) = problems(written(tmp_path, text))
    assert told in problem


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    bad = written(tmp_path, GOOD + "permit(nobody);\n" + GOOD + "forbid(;\n")
    told = problems(bad, tmp_path / "missing.cedar", written(tmp_path, "", "empty.cedar"))
    assert [problem.partition(": ")[0] for problem in told] == [
        "missing.cedar",
        "empty.cedar",
        "p.cedar:2",
        "p.cedar:4",
    ]


def test_a_name_that_no_file_can_have_is_told() -> None:
    with pytest.raises(ConfigurationError, match="no name of a file"):
        read_policies(["a\0b"])


def test_each_policy_has_its_place_whatever_strings_and_comments_hold(tmp_path: Path) -> None:
    text = (
        GOOD
        + 'forbid(principal, action, resource) when { resource.action == "a;\\"; // no comment" }; '
        + '// a comment; and "half a string\n@id("last")\npermit(principal, action, resource);\n'
    )
    first, second = written(tmp_path, text), written(tmp_path, "\n" + GOOD, "q.cedar")
    places = read_policies([str(first), str(second)]).places
    assert {key: Path(place).name for key, place in places.items()} == {
        "policy0": "p.cedar:1",
        "policy1": "p.cedar:2",
        "policy2": "p.cedar:3",
        "policy3": "q.cedar:2",
    }
