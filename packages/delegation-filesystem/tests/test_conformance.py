"""The suite that every delegation module must pass."""

from dataclasses import replace
from pathlib import Path

import pytest
from files_gateway import ALICE, BOB, Ground, Way, away, parameters_for

from actas.delegation.filesystem.module import FilesystemDelegation
from actas.delegation.filesystem.settings import ChangeSettings, FilesystemSettings, LimitSettings
from actas.testing.conformance import ModuleConformance, ModuleKit


class TestFilesystemDelegation(ModuleConformance):
    @pytest.fixture
    def kit(self, tmp_path: Path, way: Way) -> ModuleKit:
        ground = Ground(tmp_path)
        (ground.bob / "bobs-own").touch()
        for folder in (ground.alice, ground.bob):
            with (folder / "huge").open("wb") as sparse:
                sparse.truncate(10**12)  # takes no room, and a search takes its time
        change = ChangeSettings(permission="files:write", actions=["write"], durable=False)
        limits = LimitSettings(search_bytes=10**12, search_seconds=60, workers=8, workers_per_user=4)
        settings = ground.settings(change=change, limits=limits)
        nowhere = replace(settings, root=f"{tmp_path}/nothing/{{user}}")
        return ModuleKit(
            make=lambda: FilesystemDelegation(settings, way),
            make_dead=lambda: FilesystemDelegation(nowhere, way),
            outage=lambda: away(ground.base),
            denied=("read", {"path": "bobs-own"}),
            alice=ALICE,
            bob=BOB,
            parameters={name: parameters_for(name) for name in ["list", "read", "info", "search", "write"]},
            slow=("search", {"content": "what is nowhere"}),
            settings=FilesystemSettings,
            plugin="actas.delegation.filesystem.plugin",
            heavy_imports=["ctypes", "actas.delegation.filesystem.kernel"],
        )
