"""All runs as lines of JSON, as a whole process: the first line, the last one, and the memory that it takes.

``agentnn run list -n 0 -o jsonl`` against ``MlflowClient`` page by page, alternating. The peer asks for as many runs
a page as ``--page`` says; MLflow skips the pages before by reading them again, so that it takes long for many runs:
``--peer-up-to`` leaves it out above a size. The other formats follow by themselves.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

import subjects as given
from timing import CommandFailed, mebibytes, middle, note, peak_of, seconds

if TYPE_CHECKING:
    from timing import Command

FIRST_BELOW_S, PEAK_BELOW_MIB = 1.0, 200.0
OTHERS = ("json", "id", "tsv")


class Streamed(NamedTuple):
    """What one process did: seconds to its first line and to its end, its peak in MiB, its lines."""

    first: float
    wall: float
    peak: float
    lines: int


def main() -> None:
    """Print a row a process."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--page", type=int, default=1000, help="runs a page of the peer")
    parser.add_argument("--peer-up-to", type=int, default=100_000, help="largest store that the peer reads")
    parser.add_argument("--stock", action="store_true", help="stores on which ANALYZE was not run")
    parser.set_defaults(rounds=3)
    options = parser.parse_args()
    print("\n### All runs as lines of JSON, whole process\n")
    print("| runs | what | first line | whole | a second | peak | goal |\n|---|---|---|---|---|---|---|", flush=True)
    for runs in options.runs:
        store = given.store_of(runs, analysed=not options.stock)
        compare(runs, given.subjects(options.python, store), options.page, options.rounds, runs <= options.peer_up_to)


def compare(runs: int, subjects: given.Subjects, page: int, rounds: int, with_peer: bool) -> None:
    """Print the rows of one store."""
    own = subjects.agentnn("run", "list", "-n", "0", "-o", "jsonl")
    peer = subjects.script("peer_stream.py", str(page))
    ours, theirs = [streamed(own)], []  # the first is the warm-up
    for _ in range(rounds):
        ours.append(streamed(own))
        if with_peer:
            theirs.append(streamed(peer))
    first = row(runs, "run list -n 0 -o jsonl", ours[1:], judged=True)
    if with_peer:
        given.same("how many runs there are", ours[0].lines, theirs[0].lines)
        row(runs, f"MlflowClient, pages of {page:,}", theirs, judged=False)
        ratios = sorted(peer.wall / own.wall for own, peer in zip(ours[1:], theirs, strict=True))
        print(f"| {runs:,} | ratio of the whole | | {middle(ratios):.3g}× | | | |", flush=True)
    for output in OTHERS:
        row(runs, f"run list -n 0 -o {output}", [streamed(subjects.agentnn("run", "list", "-n", "0", "-o", output))])
    note(f"{first.lines:,} lines")


def row(runs: int, what: str, samples: list[Streamed], *, judged: bool = False) -> Streamed:
    """Print the medians of some processes."""
    first, wall, peak = (middle(sorted(one[index] for one in samples)) for index in range(3))
    lines = samples[0].lines
    goal = ""
    if judged:
        goal = f"first < {FIRST_BELOW_S:g} s {met(first < FIRST_BELOW_S)}, "
        goal += f"peak < {PEAK_BELOW_MIB:g} MiB {met(peak < PEAK_BELOW_MIB)}"
    cells = (f"{runs:,}", what, seconds(first), seconds(wall), f"{lines / wall:,.0f} lines", mebibytes(peak), goal)
    print("| " + " | ".join(cells) + " |", flush=True)
    return Streamed(first, wall, peak, lines)


def met(is_met: bool) -> str:
    """Say whether a goal was reached."""
    return "met" if is_met else "MISSED"


def streamed(command: Command) -> Streamed:
    """Run a command, read what it prints, and measure it.

    Raises:
        CommandFailed: It exited with another code than 0.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command.argv, env=dict(command.env), cwd=command.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    lines = 1 if process.stdout.readline() else 0
    first = time.perf_counter() - began
    while chunk := process.stdout.read(1 << 20):
        lines += chunk.count(b"\n")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise CommandFailed(f"exit code {process.returncode}: {' '.join(command.argv)}")
    return Streamed(first, time.perf_counter() - began, peak_of(usage.ru_maxrss) or 0.0, lines)


if __name__ == "__main__":
    main()
