"""Run every benchmark and append what they print, with the date and the machine, to ``RESULTS.md``.

    python benchmarks/run_all.py --small --python benchmarks/.data/venv/bin/python

``--small`` stays at 10,000 runs and few calls; ``--full`` goes on to 100,000 runs and a million points, and measures
more pairs. The writing benchmarks run in the peers' environment (see ``install_peers.py``), and are left out when there
is none.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import subjects as given
import writing
from timing import note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Scripts = Mapping[str, tuple[list[str], list[str]]]

RESULTS = given.HERE / "RESULTS.md"
READING = {
    "bench_best_process.py": ([], ["--rounds", "15", "--floor-rounds", "100", "--stock-rounds", "3"]),
    "bench_list_process.py": ([], ["--rounds", "15"]),
    "bench_model_list.py": ([], ["--rounds", "15"]),
    "bench_completion_process.py": ([], ["--rounds", "60"]),
    "bench_delete_runs.py": (["--rounds", "3"], ["--rounds", "7"]),
    "bench_config.py": ([], ["--rounds", "100"]),
    "bench_reports.py": ([], ["--rounds", "7"]),
    "bench_toml_load.py": (["--rounds", "1"], ["--rounds", "5"]),
    "bench_toml_best_process.py": (["--rounds", "1"], ["--rounds", "5"]),
    "bench_read_inprocess.py": (["--runs", "10000"], ["--runs", "10000", "100000", "--rounds", "15"]),
    "bench_stream.py": (["--runs", "10000", "--rounds", "1"], ["--runs", "10000", "100000"]),
    "bench_cold.py": (["--runs", "10000", "--rounds", "2"], ["--runs", "100000"]),
    "bench_readers.py": (["--seconds", "5"], ["--seconds", "20"]),
    "bench_mlruns.py": (["--runs", "300", "--rounds", "1"], ["--runs", "5000", "--rounds", "3"]),
    "bench_rest.py": (["--runs", "1000", "--rounds", "3"], ["--runs", "10000"]),
    "bench_rest_connections.py": (["--runs", "1000", "--rounds", "3"], ["--runs", "10000"]),
    "bench_rest_changes.py": (["--runs", "1000", "--rounds", "2", "--delete", "50"], ["--runs", "10000"]),
    "bench_history_cache.py": (["--runs", "300", "--rounds", "1"], ["--runs", "10000"]),
    "bench_database_servers.py": (
        ["--runs", "10000", "--all-up-to", "1000", "--rounds", "5"],
        ["--servers", "postgresql", "mariadb", "--rounds", "15"],
    ),
}
WRITING = {
    "bench_write_call.py": (
        ["--calls", "200", "--limit", "0.5"],
        ["--calls", "2000", "--limit", "10", "--rounds", "5"],
    ),
    "bench_start_run.py": (["--trackers", "agentnn", "mlflow", "wandb", "--rounds", "2"], ["--rounds", "7"]),
    "bench_delivery.py": (
        ["--points", "10000", "--call-points", "1000", "--rounds", "2"],
        ["--points", "100000", "--rounds", "5"],
    ),
    "bench_delivery_server.py": (["--points", "5000", "--rounds", "1"], ["--points", "50000", "--rounds", "5"]),
    "bench_write_memory.py": (
        ["--trackers", "agentnn", "trackio", "--points", "50000"],
        ["--points", "1000000", "--rounds", "3"],
    ),
    "bench_training_overhead.py": (
        ["--trackers", "agentnn", "--pairs", "4", "--threads", str(os.cpu_count() or 1)],
        ["--pairs", "15", "--steps", "600"],
    ),
    "bench_training_loop.py": (
        ["--pairs", "4", "--networks", "mlp", "--threads", str(os.cpu_count() or 1)],
        ["--pairs", "15", "--seconds", "5"],
    ),
    "bench_toml_write.py": (["--calls", "200", "--rounds", "1"], ["--calls", "1000", "--rounds", "5"]),
    "bench_hpo.py": (["--rounds", "1", "--trials", "5", "20", "--worker-trials", "10"], ["--rounds", "5"]),
}
VERSIONS = """
import platform, sqlite3, sys
from importlib.metadata import version
print("Python", platform.python_version() + ", SQLite", sqlite3.sqlite_version, end="")
for name in sys.argv[1:]:
    print(",", name, version(name), end="")
"""
READERS = ("agentnn", "mlflow", "typer", "rich")
WRITERS = ("agentnn", "mlflow", "wandb", "aim", "trackio", "tensorboard", "tensorboardX", "torch")


def main() -> None:
    """Run all; a script that fails is named at the end, and nothing of it is recorded."""
    parser = given.parser(__doc__)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--small", action="store_true")
    size.add_argument("--full", action="store_true")
    parser.add_argument("--peers", default=str(writing.PEERS), help="interpreter of the peers' environment")
    parser.add_argument("--part", choices=("all", "reading", "writing"), default="all", help="which benchmarks")
    options = parser.parse_args()
    parts: list[tuple[Scripts, str, Sequence[str]]] = []
    if options.part != "writing":
        parts.append((READING, options.python, READERS))
    if options.part == "writing" or (options.part == "all" and Path(options.peers).exists()):
        parts.append((WRITING, options.peers, WRITERS))
    elif options.part == "all":
        note(f"writing is not measured: there is no {options.peers}; python benchmarks/install_peers.py")
    failed = [script for part in parts for script in run_part(*part, full=options.full)]
    if failed:
        raise SystemExit(f"error: failed: {', '.join(failed)}")


def run_part(scripts: Scripts, python: str, packages: Sequence[str], *, full: bool) -> list[str]:
    """Run some scripts and record what they print; give those that failed."""
    tables, failed = [], []
    for script, sizes in scripts.items():
        note(f"{script} …")
        done = run(script, python, sizes[full])
        if done.returncode:
            failed.append(script)
        else:
            tables.append(done.stdout.strip())
            print(done.stdout, flush=True)
    if tables:
        record(heading(python, packages, full=full), tables, failed)
    return failed


def run(script: str, python: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run one script with this interpreter; it measures the one that was asked for."""
    argv = [sys.executable, str(given.HERE / script), "--python", python, *arguments]
    return subprocess.run(argv, check=False, stdout=subprocess.PIPE, text=True)


def heading(python: str, packages: Sequence[str], *, full: bool) -> str:
    """Say when and on what this was measured."""
    argv = [python, "-c", VERSIONS, *packages]
    versions = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
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
