"""Check that the folders and the root's ``pyproject.toml`` tell the same story.

A package that no tool has been told of is checked by none of them, and that looks like success.
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARED = ("delegation", "policy")
"""Namespaces inside of ``actas``: each holds one package of each plug-in of that kind."""


def main() -> int:
    with (ROOT / "pyproject.toml").open("rb") as file:
        tool = tomllib.load(file)["tool"]
    projects = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
    sources = [f"packages/{project.name}/src" for project in projects]
    packages, inner, problems = set[str](), set[str](), list[str]()
    for project in projects:
        name = _read(project)["project"]["name"]
        expected = "actas" if project.name == "core" else f"actas-{project.name}"
        problems += [] if name == expected else [f"{project.name}: the distribution is {name}, not {expected}"]
        problems += [] if (project / "LICENSE").exists() else [f"{project.name}: no LICENSE"]
        for namespace in (project / "src/actas", *(project / "src/actas" / name for name in SHARED)):
            if (namespace / "__init__.py").exists():
                problems.append(f"{namespace.relative_to(ROOT)}/__init__.py breaks the namespace: delete it")
            for folder in namespace.glob("*/"):
                if folder.name in (*SHARED, "__pycache__") or not any(folder.rglob("*.py")):
                    continue
                packages.add(_dotted(folder, project))
                inner.update(_dotted(file.parent, project) for file in folder.glob("*/**/__init__.py"))
                wanted = ("__init__.py", "py.typed")
                problems += [
                    f"{folder.relative_to(ROOT)} has no {each}" for each in wanted if not (folder / each).exists()
                ]
    told = {
        "importlinter.root_packages": (tool["importlinter"]["root_packages"], packages),
        "mypy.mypy_path": (tool["mypy"]["mypy_path"], sources),
        "pyright.extraPaths": (tool["pyright"]["extraPaths"], sources),
        "coverage.paths.source": (tool["coverage"]["paths"]["source"], [*sources, "*/site-packages"]),
    }
    layered = {
        container for contract in tool["importlinter"]["contracts"] for container in contract.get("containers", ())
    }
    told["containers of importlinter's layers"] = (layered, packages | inner)
    contracts = {contract["id"]: contract for contract in tool["importlinter"]["contracts"]}
    plug_ins = {package for package in packages if package.count(".") > 1}
    apart = packages - {"actas.testing"}
    layers = [package for layer in contracts["packages"]["layers"] for package in layer.split(" | ")]
    told["importlinter contract packages"] = (layers, apart)
    told["importlinter contract plug-ins, forbidden_modules"] = (contracts["plug-ins"]["forbidden_modules"], plug_ins)
    told["importlinter contract plug-ins, source_modules"] = (contracts["plug-ins"]["source_modules"], apart - plug_ins)
    told["importlinter contract testing, source_modules"] = (contracts["testing"]["source_modules"], apart)
    for where, (listed, real) in told.items():
        if set(listed) != set(real):
            problems.append(
                f"pyproject.toml, {where}: lacks {set(real) - set(listed)}, has in excess {set(listed) - set(real)}"
            )
    print("\n".join(problems) or f"{len(projects)} distributions, {len(packages)} packages: good")
    return bool(problems)


def _dotted(folder: Path, project: Path) -> str:
    return ".".join(folder.relative_to(project / "src").parts)


def _read(project: Path) -> dict[str, dict[str, object]]:
    with (project / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


if __name__ == "__main__":
    sys.exit(main())
