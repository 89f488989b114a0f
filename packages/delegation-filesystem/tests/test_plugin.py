"""The entry point, the settings, what is wrong with them, and who a session is."""

import os
from dataclasses import replace
from typing import Any

import pytest
from files_gateway import ALICE

from actas.core import ConfigurationError, CredentialUse, DelegationModule, PrincipalUnavailable, Session
from actas.delegation.filesystem.module import FilesystemDelegation
from actas.delegation.filesystem.plugin import actas_module_kinds
from actas.delegation.filesystem.principals import Principals
from actas.delegation.filesystem.settings import ChangeSettings, FilesystemSettings, LimitSettings, OsUserSettings

GOOD = FilesystemSettings(root="/srv/files/{user}", permission="files:read")


def test_the_plugin_offers_one_kind_that_needs_no_token_and_makes_a_module() -> None:
    (kind,) = actas_module_kinds()
    assert (kind.name, kind.settings, kind.credential) == ("filesystem", FilesystemSettings, CredentialUse.NEVER)
    assert kind.by_name
    assert isinstance(kind.create("files", GOOD), DelegationModule)


def test_on_another_system_than_linux_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    (kind,) = actas_module_kinds()
    monkeypatch.delattr(os, "O_PATH")
    with pytest.raises(ConfigurationError, match="Linux"):
        kind.create("files", GOOD)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"root": "srv/{user}"}, "root"),
        ({"root": ""}, "root"),
        ({"root": "/{user}"}, "root"),
        ({"root": "/srv/files"}, "root"),
        ({"root": "/srv//{user}"}, "root"),
        ({"root": "/srv/../{user}"}, "root"),
        ({"root": "/srv/{user}/.."}, "root"),
        ({"root": "/srv/{user}/"}, "root"),
        ({"root": "/srv/{name}"}, "root"),
        ({"root": "/srv/{user"}, "root"),
        ({"root": "/srv/.{user}"}, "root"),
        ({"root": "/srv/{user}/a\0b"}, "root"),
        ({"root": "/srv/{user}/é"}, "root"),
        ({"root": "/srv/{group}"}, "groups"),
        ({"groups": ["sales"]}, "groups"),
        ({"root": "/srv/{group}", "groups": ["../etc"]}, "groups"),
        ({"root": "/srv/{group}", "groups": [".sales"]}, "groups"),
        ({"group_claim": "groups"}, "group_claim"),
        ({"limits": LimitSettings(read_bytes=0)}, "limits.read_bytes"),
        ({"limits": LimitSettings(read_bytes=10**9)}, "limits.read_bytes"),
        ({"limits": LimitSettings(write_bytes=10**9)}, "limits.read_bytes, limits.write_bytes"),
        ({"limits": LimitSettings(search_seconds=float("inf"))}, "limits.search_seconds"),
        ({"limits": LimitSettings(search_seconds=float("nan"))}, "limits.search_seconds"),
        ({"limits": LimitSettings(depth=101)}, "limits.depth"),
        ({"limits": LimitSettings(workers=1)}, "limits.workers_per_user"),
        ({"identity": "os_user", "os_user": OsUserSettings(minimum_uid=0)}, "os_user.minimum_uid"),
        ({"os_user": OsUserSettings(idle_seconds=-1)}, "os_user.idle_seconds"),
        ({"change": ChangeSettings(permission="w", actions=[])}, "change.actions"),
        ({"change": ChangeSettings(permission="w", actions=["write"], permissions={"delete": "d"})}, "change.perm"),
        ({"change": ChangeSettings(permission="w", umask="9")}, "change.umask"),
        ({"change": ChangeSettings(permission="w", umask="0o77")}, "change.umask"),
        ({"change": ChangeSettings(permission="w", quota_bytes=0)}, "change.quota_bytes"),
        ({"change": ChangeSettings(permission="w", quota_entries=0)}, "change.quota_entries"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_path(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        FilesystemDelegation(replace(GOOD, **fields))
    assert any(problem.startswith(path) for problem in refused.value.problems), refused.value.problems


def test_everything_that_is_wrong_with_numbers_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        FilesystemDelegation(
            replace(GOOD, limits=LimitSettings(depth=0, entries=0), change=ChangeSettings(permission="w", umask="x"))
        )
    assert len(refused.value.problems) == 3


def who(session: Session, **fields: Any) -> str:
    principals = Principals(replace(GOOD, **fields))
    principal = principals.of(session)
    assert principals.base == "/srv" if "root" in fields else "/srv/files"
    assert b"/".join(principal.folder).decode() == principal.name
    return principal.name


def test_a_template_is_filled_in_with_the_sessions_name() -> None:
    assert who(ALICE) == "alice"
    assert who(ALICE, root="/srv/home-{user}/files") == "home-alice/files"
    assert who(replace(ALICE, legacy_username="a.b@c-d_E9")) == "a.b@c-d_E9"
    assert who(ALICE, principal="subject") == "id-of-alice"
    assert who(replace(ALICE, username="al"), principal="username") == "al"


@pytest.mark.parametrize(
    "name", ["..", ".", ".ssh", "-rf", "a/b", "/etc", "a\\b", "a b", "ä", "a" * 65, "a\0", "", None]
)
def test_a_name_that_is_no_safe_folder_has_none(name: str | None) -> None:
    with pytest.raises(PrincipalUnavailable):
        who(replace(ALICE, legacy_username=name))


def test_a_name_that_makes_a_folder_too_long_has_none() -> None:
    with pytest.raises(PrincipalUnavailable):
        who(replace(ALICE, legacy_username="a" * 64), root="/srv/{user}{user}{user}{user}")


@pytest.mark.parametrize("root", ["/srv/{group}-{user}", "/srv/x/{user}{group}", "/srv/{group}/{user}.{group}"])
def test_two_names_in_one_are_refused_for_two_users_could_have_one_folder(root: str) -> None:
    """ops-alice of eng, and alice of eng-ops."""
    with pytest.raises(ConfigurationError) as refused:
        FilesystemDelegation(replace(GOOD, root=root, groups=["eng", "eng-ops"]))
    assert refused.value.problems[0].startswith("root: ")


def test_a_group_is_the_first_configured_one_that_the_session_has() -> None:
    grouped = {"root": "/srv/{group}", "groups": ["sales", "support"]}
    assert who(replace(ALICE, role="support"), **grouped) == "support"
    assert who(replace(ALICE, custom_roles=("support", "sales")), **grouped) == "sales"
    both = {**grouped, "root": "/srv/{group}/{user}"}
    assert who(replace(ALICE, role="sales"), **both) == "sales/alice"
    for session in (ALICE, replace(ALICE, custom_roles=("Sales", "sales ", "../sales"))):
        with pytest.raises(PrincipalUnavailable):
            who(session, **grouped)


@pytest.mark.parametrize(
    ("claims", "group"),
    [
        ({"groups": ["x", "support"]}, "support"),
        ({"groups": "sales"}, "sales"),
        ({"groups": ("support",)}, "support"),
        ({"groups": ["../etc"]}, None),
        ({"groups": [7, None, ["sales"], {"sales": 1}]}, None),
        ({"groups": {"sales": True}}, None),
        ({"groups": None}, None),
        ({}, None),
        ({"role": "sales"}, None),
    ],
)
def test_groups_may_come_from_a_claim(claims: dict[str, object], group: str | None) -> None:
    session = replace(ALICE, claims=claims, role="sales")
    grouped = {"root": "/srv/{group}", "groups": ["sales", "support"], "group_claim": "groups"}
    if group is not None:
        assert who(session, **grouped) == group
        return
    with pytest.raises(PrincipalUnavailable):
        who(session, **grouped)
