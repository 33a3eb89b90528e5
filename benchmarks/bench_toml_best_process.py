"""The best of N TOML runs, as whole processes: ``agentnn --tracking-uri toml:DIR run best``.

Warm, with an index that is checked against every file, and the first time, when every file is read. Beside it a script
that reads the files with ``toml`` and pandas, and the floor program, which asks the index and looks at no file.

    python benchmarks/bench_toml_best_process.py --runs 10000
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import subjects as given
from make_toml_runs import Shape, folder_of
from timing import Command, Goal, compare_commands, median_wall, note, print_header

if TYPE_CHECKING:
    from pathlib import Path

INDEX = ".agentnn-index.sqlite"
WARM_BELOW_S = 0.6


def main() -> None:
    """Print one row a question."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--floor-rounds", type=int, default=40, help="pairs against the floor")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has toml and pandas")
    options = parser.parse_args()
    folder = folder_of(Shape(options.runs))
    subjects = given.subjects(options.python, folder / INDEX)
    ours = best(subjects, folder)
    peer = replace(subjects, python=options.peer_python).script("peer_toml_best.py", str(folder), given.METRIC)
    check_answers(best(subjects, folder, "-o", "id"), peer, subjects.floor())

    print_header(f"Best of {options.runs:,} TOML runs, whole process")
    rows = (("best run, the index is there", ours), ("best run, the first time", without_index(ours, folder)))
    for question, command in rows:
        compare_commands((question, "run best", "script with toml and pandas"), command, peer, rounds=options.rounds)
    floor = ("best run over the floor", "run best", "floor, on the index")
    warm = compare_commands(
        floor, ours, subjects.floor(), rounds=options.floor_rounds, warmup=3, goal=Goal(peak_below=48), floor=True
    )
    wall = median_wall(warm.own)
    note(f"warm: {wall:.3f} s, goal < {WARM_BELOW_S} s {'met' if wall < WARM_BELOW_S else 'MISSED'}")


def best(subjects: given.Subjects, folder: Path, *more: str) -> Command:
    """Give the command that is measured."""
    return subjects.agentnn("--tracking-uri", f"toml:{folder}", "run", "best", "-m", given.METRIC, *more)


def without_index(command: Command, folder: Path) -> Command:
    """Give the same command, as it is the first time; the shell that takes the index away costs a millisecond."""
    line = f"rm -f {shlex.quote(str(folder / INDEX))}; exec {shlex.join(command.argv)}"
    return replace(command, argv=["/bin/sh", "-c", line])


def check_answers(ours: Command, peer: Command, floor: Command) -> None:
    """See that all three name the same run; the floor comes last, since it needs the index."""
    found = given.output_of(ours).strip()
    for question, other in (("the script's best run", peer), ("the floor's best run", floor)):
        given.same(question, found, given.output_of(other).split("\t")[0])
    note(f"all name {found}")


if __name__ == "__main__":
    main()
