"""Loading a folder of local-first runs into a DataFrame: the first time, again, and after one run has changed.

Every load is timed in a process of its own, imports excluded. The peers are what people write: ``toml`` and
``pandas.json_normalize`` a run (naive), and ``toml`` with one DataFrame in the end. The floor asks for the status of
every file and does nothing else. All loads must give the same table. The goals are those of 10,000 runs.

    python benchmarks/bench_toml_load.py --runs 10000 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from make_toml_runs import Shape, folder_of
from timing import Goal, Sample, alternate, median_wall, note, print_header, print_row, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

SETTLED_S = 2.1
"""After this a file that has changed is believed to be what it was read as."""

CHANGE_GOAL_S = 0.150
GOALS_FROM = 10_000


def main() -> None:
    """Print a table a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3, help="pairs with a slow peer; ten times as many without")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has agentnn, pandas and toml")
    parser.add_argument("--load", choices=sorted(LOADS), help="(internal) time one load in this process")
    parser.add_argument("--folder", type=Path, help="(internal) what is loaded")
    options = parser.parse_args()
    if options.load:
        print(json.dumps(LOADS[options.load](options.folder)))
        return
    for runs in options.runs:
        compare(folder_of(Shape(runs)), runs, options.rounds, options.python)


def compare(folder: Path, runs: int, rounds: int, python: str) -> None:
    """Print the rows of one folder."""

    def load(name: str) -> Callable[[], Sample]:
        return lambda: Sample(timed(python, name, folder)["seconds"])

    check_answers(folder, python)
    print_header(f"{runs:,} runs into a DataFrame")
    naive, one = "toml and json_normalize a run", "toml and one DataFrame"
    rows = [
        ("first load", "first", naive, "naive", Goal(at_least=10), rounds),
        ("first load", "first", one, "one_frame", Goal(at_least=3), 2 * rounds),
        ("second load, new process", "second", naive, "naive", Goal(at_least=60), rounds),
        ("second load, new process", "second", one, "one_frame", Goal(at_least=30), 2 * rounds),
        ("second load, same process", "again", one, "one_frame", Goal(at_least=30), rounds),
    ]
    for question, own, label, peer, goal, pairs in rows:
        settle(folder, python)
        result = alternate(load(own), load(peer), pairs, 0)
        print_row((question, "load_frame", label), result, goal if runs >= GOALS_FROM else Goal(), floor=False)
    settle(folder, python)
    result = alternate(load("second"), load("floor"), 10 * rounds, 1)
    print_row(("second load, new process", "load_frame", "stat of every file"), result, Goal(), floor=True)
    print_changes(folder, python, 10 * rounds)


def print_changes(folder: Path, python: str, rounds: int) -> None:
    """Print what seeing one changed run costs over a scan of the folder."""
    over, loads = [], []
    for turn in range(rounds):
        change_one(folder, random.Random(turn))
        found = timed(python, "changed", folder)
        loads.append(Sample(found["seconds"]))
        over.append(found["seconds"] - found["floor"])
    middle = sorted(over)[len(over) // 2]
    verdict = "met" if middle < CHANGE_GOAL_S else "MISSED"
    print(
        f"\nOne run changed: a load takes {seconds(median_wall(loads))}, {seconds(middle)} over a stat of every file; "
        f"goal: < {CHANGE_GOAL_S * 1000:.0f} ms over it {verdict} ({rounds} changes)",
        flush=True,
    )
    settle(folder, python)


def settle(folder: Path, python: str) -> None:
    """Leave an index that knows every file."""
    time.sleep(SETTLED_S)
    timed(python, "second", folder)


def change_one(folder: Path, chosen: random.Random) -> None:
    """Give one run another metric, as a run does that goes on."""
    files = sorted(folder.glob("project-0/*/metrics.toml"))
    file = chosen.choice(files)
    lines = [line for line in file.read_text().splitlines() if not line.startswith("accuracy")]
    file.write_text("\n".join([f"accuracy = {chosen.random()!r}", *lines]) + "\n")


def check_answers(folder: Path, python: str) -> None:
    """See that all loads give the same table.

    Raises:
        SystemExit: They do not.
    """
    digests = {name: timed(python, name, folder)["digest"] for name in ("first", "second", "again", "one_frame")}
    if len(set(digests.values())) != 1:
        raise SystemExit(f"the loads differ: {digests}")
    note("all loads give the same table")


def timed(python: str, name: str, folder: Path) -> dict[str, Any]:
    """Time a load in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    argv = [python, __file__, "--load", name, "--folder", str(folder)]
    done = subprocess.run(argv, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


# --- the loads, in a process of their own ---------------------------------------------------------


def time_first(folder: Path) -> dict[str, Any]:
    """Load without an index."""
    (folder / ".agentnn-index.sqlite").unlink(missing_ok=True)
    return time_own(folder)


def time_own(folder: Path) -> dict[str, Any]:
    """Load with whatever index there is."""
    import pandas as pd

    from agentnn.sdk.project_frame import load_frame

    pd.Series([""])  # pandas loads Arrow when it first needs it
    return clocked(lambda: load_frame(folder)[0])


def time_again(folder: Path) -> dict[str, Any]:
    """Load a second time in one process."""
    time_own(folder)
    return time_own(folder)


def time_changed(folder: Path) -> dict[str, Any]:
    """Load, and time the floor before and after it."""
    time_floor(folder)
    before = time_floor(folder)["seconds"]
    found = time_own(folder)
    return {**found, "floor": (before + time_floor(folder)["seconds"]) / 2}


def time_floor(folder: Path) -> dict[str, Any]:
    """Ask for the status of every file."""
    began = time.perf_counter()
    for project in folder.iterdir():
        if project.name.startswith("."):
            continue
        descriptor = os.open(project, os.O_RDONLY)
        for run in os.listdir(descriptor):  # noqa: PTH208 - as fast as can be
            os.stat(f"{run}/config.toml", dir_fd=descriptor)
            os.stat(f"{run}/metrics.toml", dir_fd=descriptor)
        os.close(descriptor)
    return {"seconds": time.perf_counter() - began}


def time_naive(folder: Path) -> dict[str, Any]:
    """Flatten every run with pandas."""
    import pandas as pd
    import toml

    def load() -> pd.DataFrame:
        return pd.DataFrame([pd.json_normalize(run).to_dict("records")[0] for run in documents(folder, toml.load)])

    return clocked(load)


def time_one_frame(folder: Path) -> dict[str, Any]:
    """Flatten every run by hand."""
    import pandas as pd
    import toml

    return clocked(lambda: pd.DataFrame([flat(run) for run in documents(folder, toml.load)]))


def documents(folder: Path, load: Callable[[Path], dict[str, Any]]) -> list[dict[str, Any]]:
    """Read every run as one nested record."""
    return [
        {"run_id": run.name, "project_name": project.name, **load(run / "config.toml"), **load(run / "metrics.toml")}
        for project in sorted(folder.iterdir())
        if not project.name.startswith(".")
        for run in sorted(project.iterdir())
    ]


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join the keys of nested tables with dots."""
    leaves: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            leaves.update(flat(value, f"{prefix}{key}."))
        else:
            leaves[prefix + key] = value
    return leaves


def clocked(load: Callable[[], pd.DataFrame]) -> dict[str, Any]:
    """Time a load, and say what came of it, whatever the order of its rows and columns."""
    import hashlib

    began = time.perf_counter()
    frame = load()
    took = time.perf_counter() - began
    ordered = frame.sort_values("run_id")[sorted(frame)].astype(str)
    return {"seconds": took, "digest": hashlib.sha256(ordered.to_csv(index=False).encode()).hexdigest()}


LOADS = {
    "first": time_first,
    "second": time_own,
    "again": time_again,
    "changed": time_changed,
    "floor": time_floor,
    "naive": time_naive,
    "one_frame": time_one_frame,
}


if __name__ == "__main__":
    main()
