"""Eight readers beside a writer of one SQLite store: no side may see an error, and how much each gets done.

The writer is ``MlflowClient.log_batch``, ten values a call, alone and then beside readers of ``ModelManager``, each a
process of its own, that ask for the best run and for the latest 100 over and over. All work on a copy of the store.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import subjects as given
from timing import note

WRITER = """
import sys, time
from mlflow import MlflowClient
from mlflow.entities import Metric

client = MlflowClient(sys.argv[1])
run = client.create_run("0")
ends, calls, longest = time.perf_counter() + float(sys.argv[2]), 0, 0.0
while time.perf_counter() < ends:
    began = time.perf_counter()
    client.log_batch(run.info.run_id, metrics=[Metric(f"m{k}", calls, calls, calls) for k in range(10)])
    calls, longest = calls + 1, max(longest, time.perf_counter() - began)
print(calls, longest)
"""
READER = """
import sys, time
from agentnn import ModelManager

manager = ModelManager(sys.argv[1])
ends, calls, longest = time.perf_counter() + float(sys.argv[2]), 0, 0.0
while time.perf_counter() < ends:
    began = time.perf_counter()
    manager.get_best_run("sharpe_ratio") if calls % 2 else manager.list_runs(limit=100)
    calls, longest = calls + 1, max(longest, time.perf_counter() - began)
print(calls, longest)
"""


def main() -> None:
    """Print a row for the writer alone, and two for both sides together."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="agentnn-bench-") as folder:
        store = Path(folder, "mlflow.db")
        shutil.copy(given.store_of(options.runs), store)
        print(f"\n### {options.readers} readers beside a writer, {options.runs:,} runs, SQLite\n")
        print("| who | calls a second | longest call | errors |\n|---|---|---|---|", flush=True)
        row("the writer alone", [begun(options.python, WRITER, store, options.seconds)], options.seconds)
        writer = begun(options.python, WRITER, store, options.seconds)
        readers = [begun(options.python, READER, store, options.seconds) for _ in range(options.readers)]
        row(f"{options.readers} readers", readers, options.seconds)
        row("the writer beside them", [writer], options.seconds)


def begun(python: str, script: str, store: Path, duration: float) -> subprocess.Popen[str]:
    """Start a process that reads or writes for some seconds."""
    return subprocess.Popen(
        [python, "-c", script, f"sqlite:///{store}", str(duration)],
        env=given.clean_environment(), cwd=store.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def row(who: str, processes: list[subprocess.Popen[str]], duration: float) -> None:
    """Wait for some processes, and print what they did together; stop when one saw an error."""
    answers = [process.communicate() for process in processes]
    for process, (_, said) in zip(processes, answers, strict=True):
        if process.returncode:
            note(said[-2000:])
            sys.exit(f"error: {who}: exit code {process.returncode}")
    done = [output.split() for output, _ in answers]
    calls, longest = sum(int(count) for count, _ in done), max(float(wall) for _, wall in done)
    print(f"| {who} | {calls / duration:,.1f} | {longest * 1000:,.0f} ms | none |", flush=True)


if __name__ == "__main__":
    main()
