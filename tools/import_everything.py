"""Import every module of some packages; fail where something came along that may not, or none was there.

``--only NAME…`` lists what may be imported besides the standard library and the packages themselves.
``--installed`` demands that all of it comes from site-packages, not from a checkout.
"""

import argparse
import importlib
import pkgutil
import sys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="+")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--installed", action="store_true")
    options = parser.parse_args()
    before = set(sys.modules)
    ours: list[str] = []
    for package in options.packages:
        root = importlib.import_module(package)
        ours += [package, *(info.name for info in pkgutil.walk_packages(root.__path__, f"{package}."))]
    files = [importlib.import_module(name).__file__ or "" for name in ours if not name.endswith("__main__")]
    problems = [f"{package} has no modules" for package in options.packages if f"{package}." not in "\n".join(ours)]
    if options.installed:
        problems += [f"{file} is not what was installed" for file in files if "site-packages" not in file]
    if options.only is not None:
        came = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
        allowed = {package.partition(".")[0] for package in options.packages} | set(options.only)
        problems += [f"{name} was imported" for name in sorted(came - allowed)]
    print(f"{len(ours)} modules of {', '.join(options.packages)}:", "; ".join(problems) or "good")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
