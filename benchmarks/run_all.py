"""Run every benchmark and append what they print, with the date and the machine, to ``RESULTS.md``.

    python benchmarks/run_all.py --small --python benchmarks/.data/venv/bin/python

``--small`` stays at 10,000 runs; ``--full`` goes on to 100,000 and measures more pairs.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import subjects as given
from timing import note

RESULTS = given.HERE / "RESULTS.md"
SCRIPTS = {
    "bench_best_process.py": ([], ["--rounds", "15", "--floor-rounds", "100", "--stock-rounds", "3"]),
    "bench_list_process.py": ([], ["--rounds", "15"]),
    "bench_completion_process.py": ([], ["--rounds", "60"]),
    "bench_read_inprocess.py": (["--runs", "10000"], ["--runs", "10000", "100000", "--rounds", "15"]),
}
VERSIONS = """
import platform, sqlite3
from importlib.metadata import version
names = ("agentnn", "mlflow", "typer", "rich")
print("Python", platform.python_version() + ", SQLite", sqlite3.sqlite_version, end="")
for name in names:
    print(",", name, version(name), end="")
"""


def main() -> None:
    """Run all; a script that fails is named at the end, and nothing of it is recorded."""
    parser = given.parser(__doc__)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--small", action="store_true")
    size.add_argument("--full", action="store_true")
    options = parser.parse_args()
    tables, failed = [], []
    for script, (small, full) in SCRIPTS.items():
        note(f"{script} …")
        done = run(script, options.python, full if options.full else small)
        if done.returncode:
            failed.append(script)
        else:
            tables.append(done.stdout.strip())
            print(done.stdout, flush=True)
    if tables:
        record(heading(options.python, full=options.full), tables, failed)
    if failed:
        raise SystemExit(f"error: failed: {', '.join(failed)}")


def run(script: str, python: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run one script with this interpreter; it measures the one that was asked for."""
    argv = [sys.executable, str(given.HERE / script), "--python", python, *arguments]
    return subprocess.run(argv, check=False, stdout=subprocess.PIPE, text=True)


def heading(python: str, *, full: bool) -> str:
    """Say when and on what this was measured."""
    versions = subprocess.run([python, "-c", VERSIONS], check=True, stdout=subprocess.PIPE, text=True).stdout
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    machine = f"{os.cpu_count()} cores ({processor()}), {platform.system()} {platform.machine()}"
    return f"## {now}, {'full' if full else 'small'}\n\n{machine}; {versions}"


def processor() -> str:
    """Name the processor, as far as the system tells."""
    try:
        with Path("/proc/cpuinfo").open() as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def record(title: str, tables: list[str], failed: list[str]) -> None:
    """Append one run to the results."""
    intro = "" if RESULTS.exists() else "# Results\n\nWritten by `run_all.py` alone; see README.md.\n"
    missing = f"\n\nNot measured, since the script failed: {', '.join(failed)}" if failed else ""
    with RESULTS.open("a") as file:
        file.write(f"{intro}\n{title}{missing}\n\n" + "\n\n".join(tables) + "\n")
    note(f"appended to {RESULTS}")


if __name__ == "__main__":
    main()
