"""Run pyright and fail where it is silent because it looked at nothing.

With an ``include`` that matches no file, pyright itself exits with 0.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> int:
    command = ["pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    report = json.loads(done.stdout)
    for found in report["generalDiagnostics"]:
        line = found.get("range", {}).get("start", {}).get("line", -1) + 1
        print(f"{found['file']}:{line}: {found['severity']}: {found['message']} ({found.get('rule', '')})")
    analysed, there = report["summary"]["filesAnalyzed"], len(list(ROOT.glob("packages/*/src/**/*.py")))
    print(f"pyright: {report['summary']['errorCount']} errors, {analysed} of {there} files analysed")
    return done.returncode or analysed < there


if __name__ == "__main__":
    sys.exit(main())
