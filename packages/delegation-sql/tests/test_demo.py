"""``actas demo``, as a newcomer runs it."""

import os
import subprocess
import sys


def test_the_demo_shows_each_user_his_own_rows_and_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "actas.cli", "demo", "--once", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    alice, bob, guest = shown.index("alice ─"), shown.index("bob ─"), shown.index("guest ─")
    assert "laptop" in shown[alice:bob]
    assert "desk" not in shown[alice:bob]
    assert "desk" in shown[bob:guest]
    assert "laptop" not in shown[bob:guest]
    assert "sql-delegate" not in shown[guest : shown.index("calls sql-delegate", guest)]
    assert "Unknown tool" in shown[guest:]
    assert "permission denied" in shown[alice:bob]
    assert '"session_user":"alice"' in shown
    assert "eyJ" not in shown + done.stderr  # no token
    assert "Traceback" not in done.stderr
