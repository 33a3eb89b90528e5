"""Run the tests, and the few that fail once more, alone: a machine that was too busy for a moment stops nobody.

    python .ci/test_twice.py [OPTION OF PYTEST...]

It fails where a test fails twice, where more than ``FEW`` fail, and where anything but a test goes wrong. What passes
only the second time is told: it holds a test that depends on the machine, or a fault that shows now and then.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FEW = 5
FAILED = 1
"""pytest's exit code where it ran all tests, and some failed."""

LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")


def main(options: list[str]) -> int:
    """The exit code for these options of pytest."""
    LAST_FAILED.unlink(missing_ok=True)
    code, failed = run_pytest(options), last_failed()
    if code != FAILED or not 0 < len(failed) <= FEW:
        return code
    say(f"{len(failed)} failed: once more, alone")
    code, again = run_pytest(["-n", "0", *failed]), last_failed()
    if passed := [test for test in failed if test not in again]:
        say("Passed only the second time, and is to be mended:", *passed)
    return code


def last_failed() -> list[str]:
    """The tests that failed in the last run, as pytest has noted them."""
    return list(json.loads(LAST_FAILED.read_text("utf-8"))) if LAST_FAILED.exists() else []


def run_pytest(arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


def say(*lines: str) -> None:
    sys.stderr.write("\n" + "\n    ".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
