"""Questions to a store that is not in memory, as whole processes: seconds, CPU seconds, bytes read from the disk.

Each question is first asked warm, then with the store dropped from the page cache before each process. CPU seconds and
bytes do not depend on what else the machine does. The goals are those of a million runs.

    python benchmarks/bench_cold.py --python "$PYTHON" --runs 1000000 --rounds 5
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

import subjects as given
from bench_read_inprocess import forget
from timing import CommandFailed, mebibytes, middle, peak_of, seconds

if TYPE_CHECKING:
    from timing import Command

BLOCK = 512
"""Bytes that the kernel counts by: https://man7.org/linux/man-pages/man2/getrusage.2.html."""

QUESTIONS = {
    "run best": ("run", "best", "-m", given.METRIC, "-o", "id"),
    "run best --no-tally": ("run", "best", "-m", given.METRIC, "--no-tally", "-o", "id"),
    "run list": ("run", "list", "-o", "jsonl"),
    "run list -n 0 -o jsonl": ("run", "list", "-n", "0", "-o", "jsonl"),
    "run list -n 0 -o id": ("run", "list", "-n", "0", "-o", "id"),
}
STREAMED = ("run list -n 0 -o jsonl",)
"""Of these only the first line is waited for."""

GOALS = {"run best": (1.0, 4.0), "run best --no-tally": (1.0, 4.0), "run list -n 0 -o jsonl": (1.0, 1.0)}
"""Seconds, warm and cold, at a million runs."""

MILLION = 1_000_000


class Asked(NamedTuple):
    """What one process took: seconds to its first line and to its end, CPU seconds, bytes read, its peak in MiB."""

    first: float
    wall: float
    cpu: float
    read: float
    peak: float


def main() -> None:
    """Print two rows a question."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.set_defaults(rounds=5)
    options = parser.parse_args()
    subjects = given.subjects(options.python, given.store_of(options.runs))
    print(f"\n### A store of {options.runs:,} runs, in memory and not, whole process\n")
    print("| question | store | first line | whole | CPU | read | peak | goal |\n|---|---|---|---|---|---|---|---|")
    for name, arguments in QUESTIONS.items():
        command = subjects.agentnn(*arguments)
        until_first = name in STREAMED
        asked(command, until_first=until_first)
        for index, state in enumerate(("warm", "cold")):
            samples = []
            for _ in range(options.rounds):
                if state == "cold":
                    forget(subjects.store)
                samples.append(asked(command, until_first=until_first))
            limit = GOALS[name][index] if options.runs >= MILLION and name in GOALS else None
            row(f"`{name}`", state, samples, limit)


def row(name: str, state: str, samples: list[Asked], limit: float | None) -> None:
    """Print the medians of some processes, and the spread of the whole."""
    first, wall, cpu, read, peak = (middle(sorted(one)) for one in zip(*samples, strict=True))
    walls = sorted(one.wall for one in samples)
    goal = "" if limit is None else f"< {limit:g} s {'met' if wall < limit else 'MISSED'}"
    cells = (
        name, state, seconds(first), f"{seconds(wall)} ({seconds(walls[0])}–{seconds(walls[-1])})", seconds(cpu),
        f"{read / 1e6:,.0f} MB", mebibytes(peak), goal,
    )  # fmt: skip
    print("| " + " | ".join(cells) + " |", flush=True)


def asked(command: Command, *, until_first: bool) -> Asked:
    """Run a command and measure it; with ``until_first`` it is left after its first line, as ``head`` would.

    Raises:
        CommandFailed: It exited with another code than 0.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command.argv, env=dict(command.env), cwd=command.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    first = time.perf_counter() - began
    while not until_first and process.stdout.read(1 << 20):
        pass
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise CommandFailed(f"exit code {process.returncode}: {' '.join(command.argv)}")
    wall = time.perf_counter() - began
    cpu = usage.ru_utime + usage.ru_stime
    return Asked(first, wall, cpu, usage.ru_inblock * BLOCK, peak_of(usage.ru_maxrss) or 0.0)


if __name__ == "__main__":
    main()
