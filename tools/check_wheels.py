"""Check the wheels in a folder: complete, typed, nothing owned twice, no ``__init__.py`` in the namespace."""

import sys
from collections import Counter
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parent.parent
NAMESPACE = ("actas/__init__.py", "actas/delegation/__init__.py", "actas/policy/__init__.py")


def check(project: Path, house: Path, owners: Counter[str]) -> list[str]:
    """What is wrong with the wheel and sdist of ``project``. Counts its files in ``owners``."""
    distribution = "actas" if project.name == "core" else f"actas-{project.name}"
    wheels = list(house.glob(f"{distribution.replace('-', '_')}-[0-9]*.whl"))
    if len(wheels) != 1 or not list(house.glob(f"{distribution.replace('-', '_')}-[0-9]*.tar.gz")):
        return [f"{distribution}: {len(wheels)} wheels in {house}, expected one, and an sdist"]
    with ZipFile(wheels[0]) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
        (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        headers = Parser().parsestr(wheel.read(metadata).decode())
        licences = [name for name in wheel.namelist() if ".dist-info/licenses/" in name]
    owners.update(names)
    source = project / "src"
    expected = {str(file.relative_to(source)) for file in source.rglob("*") if file.suffix in (".py", ".typed")}
    packages = {name.rpartition("/")[0] for name in names if name.endswith("/__init__.py")}
    tops = {package for package in packages if package.rpartition("/")[0] not in packages}
    problems = [f"has {name}, which breaks the namespace" for name in names if name in NAMESPACE]
    problems += [f"lacks {name}" for name in sorted(expected - set(names))]
    problems += [f"{top} has no py.typed" for top in sorted(tops) if f"{top}/py.typed" not in names]
    problems += [f"has {name}, which is outside of actas" for name in names if not name.startswith("actas/")]
    problems += [] if headers["Name"] == distribution else [f"calls itself {headers['Name']}"]
    problems += [] if licences else ["has no licence file"]
    return [f"{distribution}: {problem}" for problem in problems]


def main(house: Path) -> int:
    owners: Counter[str] = Counter()
    projects = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
    problems = [problem for project in projects for problem in check(project, house, owners)]
    problems += [f"{name} is owned by {count} wheels" for name, count in owners.items() if count > 1]
    print("\n".join(problems) or f"{len(projects)} wheels, {len(owners)} files: good")
    return bool(problems) or not projects


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
