"""Plug-ins are found among distributions that pip really installed, each test in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actas.core import discovery
from actas.core.discovery import Plugins, load
from actas.core.errors import PluginError

DRIVER = """
import json, sys
from actas.core.discovery import installed, load
from actas.core.errors import PluginError
from actas.core.secrets import resolve_secrets
try:
    result = eval(sys.argv[1])
except PluginError as error:
    result = {"problems": error.problems, "message": error.message}
print(json.dumps({"result": result, "imported": sorted(m for m in sys.modules if m.startswith("dummy_"))}))
"""

Installer = Callable[..., Path]


def evaluate(expression: str, *path: Path) -> dict[str, object]:
    """What ``expression`` gives in a new process that has ``path`` on its ``sys.path``."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DRIVER, expression],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def problem(expression: str, *path: Path) -> str:
    """The one problem that ``expression`` raises."""
    result = evaluate(expression, *path)["result"]
    assert isinstance(result, dict), result
    assert len(result["problems"]) == 1
    return str(result["problems"][0])


def test_a_healthy_plug_in_offers_its_module_kind(install: Installer) -> None:
    site = install("dummy-greet")
    assert evaluate("load(['greet']).module_kind('greet').settings().word", site)["result"] == "Hello"


def test_a_plug_in_offers_an_audit_sink_and_a_secret_provider(install: Installer) -> None:
    site = install("dummy-vault")
    expression = (
        "(lambda p: [p.audit_sink_kind('vault').name, "
        "resolve_secrets({'a': [{'$secret': 'DB_PASSWORD'}]}, providers=p.secret_providers())['a'][0].reveal()]"
        ")(load(['vault']))"
    )
    assert evaluate(expression, site)["result"] == ["vault", "from the vault"]


def test_a_plug_in_offers_an_authoriser(install: Installer) -> None:
    site = install("dummy-hours")
    assert evaluate("load(['hours']).authorizer_kind('hours').settings().word", site)["result"] == "nothing"


def test_what_is_installed_is_listed_without_being_imported(install: Installer) -> None:
    site = install("dummy-greet", "dummy-broken")
    answer = evaluate(
        "{n: [p.distribution, p.version] for n, p in installed().items() if n in ('greet', 'broken')}", site
    )
    assert answer == {"result": {"broken": ["dummy-broken", "1.0"], "greet": ["dummy-greet", "1.0"]}, "imported": []}


def test_a_plug_in_that_no_configuration_names_is_not_imported(install: Installer) -> None:
    site = install("dummy-greet", "dummy-broken", "dummy-vault")
    answer = evaluate("[list(p.offers) + [len(p.secret_providers())] for p in [load(['greet'])]][0]", site)
    assert answer == {"result": ["greet", 0], "imported": ["dummy_greet"]}


def test_a_name_claimed_twice_is_refused_and_neither_is_imported(install: Installer) -> None:
    site = install("dummy-greet", "dummy-greet-rival")
    answer = evaluate("load(['greet'])", site)
    assert answer["imported"] == []
    assert "claimed by dummy-greet 1.0 (dummy_greet) and dummy-greet-rival 1.0" in str(answer["result"])


def test_a_name_claimed_twice_in_two_folders_is_refused(install: Installer) -> None:
    first, second = install("dummy-greet", folder="first"), install("dummy-greet-rival", folder="second")
    assert "dummy-greet 1.0 (dummy_greet) and dummy-greet-rival 1.0" in problem("load(['greet'])", first, second)


def test_a_conflict_over_a_name_that_nobody_asked_for_stops_nothing(install: Installer) -> None:
    site = install("dummy-greet", "dummy-greet-rival", "dummy-vault")
    assert evaluate("list(load(['vault']).offers)", site)["result"] == ["vault"]
    assert evaluate("[r.distribution for r in installed()['greet'].rivals]", site)["result"] == ["dummy-greet-rival"]


def test_two_versions_in_one_folder_that_disagree_are_refused(install: Installer) -> None:
    site, newer = install("dummy-greet"), install("dummy-greet-2", folder="newer")
    shutil.copytree(newer / "dummy_greet-2.0.dist-info", site / "dummy_greet-2.0.dist-info")
    said = problem("load(['greet'])", site)
    assert "dummy-greet 1.0 (dummy_greet) and dummy-greet 2.0 (dummy_greet:elsewhere)" in said


def test_two_versions_in_one_folder_that_agree_are_one_plug_in(install: Installer) -> None:
    site = install("dummy-greet")
    stale = Path(shutil.copytree(site / "dummy_greet-1.0.dist-info", site / "dummy_greet-0.9.dist-info"))
    metadata = stale / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 0.9"))
    assert evaluate("load(['greet']).offers['greet'].plugin.version", site)["result"] == "0.9 or 1.0"


def test_the_first_of_two_folders_with_the_same_distribution_counts(install: Installer) -> None:
    old, new = install("dummy-greet", folder="old"), install("dummy-greet-2", folder="new")
    assert evaluate("load(['greet']).offers['greet'].plugin.version", old, new)["result"] == "1.0"


def test_a_kind_with_another_name_than_its_entry_point_is_refused(install: Installer) -> None:
    site = install("dummy-misnamed")
    assert "plug-in 'right' of dummy-misnamed 1.0 offers 'wrong'" in problem("load(['right'])", site)


def test_a_broken_plug_in_stops_the_start_with_its_distribution_and_the_cause(install: Installer) -> None:
    site = install("dummy-broken")
    said = problem("load(['broken'])", site)
    assert said == "plug-in 'broken' of dummy-broken 1.0 cannot be imported: ImportError: libdummy.so.7 is not there"


def test_a_plug_in_that_exits_on_import_is_an_error_and_not_the_end(install: Installer) -> None:
    site = install("dummy-exits")
    assert "plug-in 'exits' of dummy-exits 1.0 cannot be imported: SystemExit" in problem("load(['exits'])", site)


def test_a_plug_in_without_hookimpl_offers_nothing_and_is_refused(install: Installer) -> None:
    site = install("dummy-unmarked")
    assert "plug-in 'unmarked' of dummy-unmarked 1.0 offers nothing" in problem("load(['unmarked'])", site)


def test_a_hook_that_returns_something_else_is_refused(install: Installer) -> None:
    site = install("dummy-misfit")
    assert "actas_module_kinds in plug-in 'misfit' of dummy-misfit 1.0 returned a str" in problem(
        "load(['misfit'])", site
    )


def test_a_hook_that_does_not_exist_is_refused(install: Installer) -> None:
    site = install("dummy-typo")
    assert "dummy-typo 1.0" in problem("load(['typo'])", site)


def test_all_that_is_wrong_is_said_at_once(install: Installer) -> None:
    site = install("dummy-broken", "dummy-misnamed", "dummy-greet")
    result = evaluate("load(['broken', 'greet', 'right', 'nosuch'])", site)["result"]
    assert isinstance(result, dict)
    assert [said.partition(" of ")[0] for said in result["problems"][:2]] == ["plug-in 'broken'", "plug-in 'right'"]
    assert "'nosuch' is not installed" in result["problems"][2]


def test_metadata_that_cannot_be_read_is_an_error_that_says_where(install: Installer) -> None:
    site = install("dummy-greet")
    (site / "dummy_greet-1.0.dist-info" / "METADATA").write_text("")
    assert str(site) in problem("load(['greet'])", site)


def test_an_unknown_name_lists_what_is_installed_and_suggests_the_nearest(install: Installer) -> None:
    site = install("dummy-greet")
    said = problem("load(['gret'])", site)
    assert "plug-in 'gret' is not installed; installed: " in said
    assert "did you mean 'greet'?" in said


def test_one_of_ours_that_is_missing_comes_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "OURS", ("absent",))
    with pytest.raises(PluginError) as raised:
        load(["absent"])
    assert raised.value.problems == ("plug-in 'absent' is not installed: pip install \"actas[absent]\"",)


def test_asking_for_what_was_not_loaded_or_not_offered_is_an_error(install: Installer) -> None:
    with pytest.raises(PluginError, match="nothing in the configuration names it"):
        Plugins().module_kind("sql")
    site = install("dummy-vault", "dummy-greet")
    assert "dummy-vault 1.0 offers no delegation module" in problem("load(['vault']).module_kind('vault')", site)
    assert "dummy-greet 1.0 offers no authorizer" in problem("load(['greet']).authorizer_kind('greet')", site)
    assert "dummy-greet 1.0 offers no audit sink" in problem("load(['greet']).audit_sink_kind('greet')", site)
