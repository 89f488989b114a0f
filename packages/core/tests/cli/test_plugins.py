"""``actas plugins``, on distributions that are really installed: good ones, broken ones, rivals."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Installer = Callable[..., Path]

CONFIGURATION = """
[[auth.trusted_idps]]
name = "test"
issuer = "https://idp.example"
audience = "https://mcp.example/mcp"

[delegation.modules.hello]
kind = "greet"

[delegation.modules.nowhere]

[auth.audit]
kind = "vault"
"""


def plugins(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "actas.cli", "plugins", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200", "NO_COLOR": "1"},
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:  # Any: JSON
    assert "Traceback" not in done.stderr, done.stderr
    return {each["name"]: each for each in json.loads(done.stdout)}


def test_they_are_listed_with_their_distributions_and_none_is_imported(install: Installer) -> None:
    site = install("dummy-greet", "dummy-exits", "dummy-broken")
    done = plugins(site, "--json")
    answer = told(done)
    assert answer["greet"]["distributions"] == [{"name": "dummy-greet", "version": "1.0", "target": "dummy_greet"}]
    assert {answer[name]["state"] for name in ("greet", "exits", "broken")} == {"installed"}
    assert answer["greet"]["offers"] is None
    assert done.returncode == 0


def test_all_are_tried_where_that_is_wanted_and_what_is_wrong_is_told(install: Installer) -> None:
    site = install("dummy-greet", "dummy-hours", "dummy-vault", "dummy-exits", "dummy-broken", "dummy-unmarked")
    with (site / "dummy_greet.py").open("a") as source:
        source.write("\nprint('a word of its own')\n")
    done = plugins(site, "--load", "--json")
    answer = told(done)
    assert done.returncode == 1
    assert (answer["greet"]["state"], answer["greet"]["offers"]) == ("loads", ["module"])
    assert answer["hours"]["offers"] == ["authorizer"]
    assert "secrets" in answer["vault"]["offers"]
    for name, why in (("broken", "cannot be imported"), ("exits", "cannot be imported"), ("unmarked", "@hookimpl")):
        assert answer[name]["state"] == "broken"
        assert why in answer[name]["problems"][0] and f"dummy-{name} 1.0" in answer[name]["problems"][0]


def test_a_name_that_is_claimed_twice_is_told_with_both(install: Installer) -> None:
    site = install("dummy-greet", "dummy-greet-rival")
    done = plugins(site, "--json")
    greet = told(done)["greet"]
    assert greet["state"] == "claimed twice" and done.returncode == 1
    assert [each["name"] for each in greet["distributions"]] == ["dummy-greet", "dummy-greet-rival"]
    assert "dummy-greet 1.0 and dummy-greet-rival 1.0" in plugins(site).stdout


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "actas.toml"
    path.write_text(CONFIGURATION)
    return path


def test_a_configuration_says_which_of_them_matter(install: Installer, config: Path) -> None:
    site = install("dummy-greet", "dummy-vault", "dummy-exits")
    done = plugins(site, "--json", config)
    answer = told(done)
    assert (answer["greet"]["state"], answer["greet"]["named"]) == ("loads", "delegation.modules.hello")
    assert (answer["nowhere"]["state"], answer["nowhere"]["distributions"]) == ("missing", [])
    assert answer["vault"]["named"] == "auth.audit.kind"
    assert (answer["exits"]["state"], answer["exits"]["named"]) == ("installed", None), "it would end the process"
    assert done.returncode == 1
    config.write_text(CONFIGURATION.replace("[delegation.modules.nowhere]", ""))
    assert plugins(site, config).returncode == 0
    all_of_them = plugins(site, "--load", "--json", config)
    assert told(all_of_them)["exits"]["state"] == "broken"
    assert all_of_them.returncode == 0, "nobody asked for the one that is broken"


def test_a_person_gets_a_line_for_each(install: Installer, config: Path) -> None:
    lines = plugins(install("dummy-greet", "dummy-vault"), config).stdout.splitlines()
    greet = next(line for line in lines if line.startswith("greet"))
    assert greet.split("  ")[1:] and greet.endswith("loads: module, named by delegation.modules.hello")
    assert "nobody" in next(line for line in lines if line.startswith("nowhere"))
    assert any(line.startswith("  plug-in 'nowhere' is not installed") for line in lines)


def test_a_configuration_that_cannot_be_read_is_told_in_one_line(install: Installer, tmp_path: Path) -> None:
    done = plugins(install("dummy-greet"), tmp_path / "missing.toml")
    assert done.returncode == 1 and "cannot be read" in done.stderr and "Traceback" not in done.stderr


def test_without_a_configuration_the_server_is_not_needed(install: Installer) -> None:
    command = "app(['plugins'], standalone_mode=False)"
    program = f"import sys; from actas.cli.main import app; {command}; print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(install("dummy-greet"))},
    )
    assert not [name for name in ("'mcp'", "'dummy_greet'", "'actas.mcp'") if name in done.stdout]
    assert "greet" in done.stdout
