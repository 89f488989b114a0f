"""Runs a distribution's main action in an environment that has that distribution and nothing else.

``python tools/run_alone.py packages/delegation-x/tests/alone.py /path/to/its/python``: this process, which has the
testing kit, sets the downstream up (``stage()``); the other Python carries the action out (``act(place)``), isolated
from the checkout. What it prints must be what ``stage()`` gave as ``expected``.
"""

import json
import runpy
import subprocess
import sys

PROGRAM = """
import asyncio, json, runpy, sys
act = runpy.run_path(sys.argv[1])["act"]
print(json.dumps(asyncio.run(act(json.loads(sys.argv[2])))))
"""


def main(path: str, python: str) -> int:
    with runpy.run_path(path)["stage"]() as place:
        command = [python, "-I", "-W", "error", "-c", PROGRAM, path, json.dumps(place)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if run.returncode:
        print(run.stderr, file=sys.stderr)
        return 1
    answer = json.loads(run.stdout)
    if answer != place["expected"]:
        print(f"{path}: got {answer}, not {place['expected']}", file=sys.stderr)
        return 1
    print(f"{path}: {answer}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
