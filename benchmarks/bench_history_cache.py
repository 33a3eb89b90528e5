"""The best of N runs on a server by the greatest value of a metric's history, cold and with the cache.

``agentnn run best --aggregate max`` against a script that asks ``MlflowClient`` for the history of each run, both as
whole processes on the same server, MLflow's own, with as many workers as it is told. The peer reads the histories of a
sample, and the time that it took for them is scaled to all: the row says so. Cold is with an empty cache, which the
question fills; warm is the question after that.

    python benchmarks/bench_history_cache.py --runs 10000
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import subjects as given
from bench_rest import at, served
from timing import Command, Comparison, Goal, Sample, print_header, print_row, run_command

METRIC = "val_loss"
QUESTION = ("run", "best", "-m", METRIC, "--mode", "max", "--aggregate", "max")


def main() -> None:
    """Print a row for the cold question and one for the warm one."""
    parser = given.parser(__doc__)
    parser.set_defaults(rounds=3)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=50, help="earlier points of each history")
    parser.add_argument("--sample", type=int, default=200, help="histories that the peer reads; 0 for all")
    parser.add_argument("--workers", type=int, default=4, help="of the server; 4 is MLflow's own choice")
    options = parser.parse_args()
    store = given.store_of(options.runs, points=options.points)
    with served(store, workers=options.workers) as url, tempfile.TemporaryDirectory() as folder:
        both = given.subjects(options.python, store)
        said = str(Path(folder) / "said")
        ours = at(both.agentnn(*QUESTION, AGENTNN_STATE_DIR=folder), url)
        theirs = at(both.script("peer_best_history.py", METRIC, str(options.sample), said), url)
        check(ours)
        print_header(
            f"A server with {options.workers} workers, {options.runs:,} runs, {options.points + 1} points a history"
        )
        measure(ours, theirs, options.rounds)


def check(ours: Command) -> None:
    """Stop when cold, warm and without the cache are not the same answer."""
    ask = replace(ours, argv=[*ours.argv, "-o", "tsv", "--columns", "run_id"])
    forget(ours)
    cold = given.output_of(ask)
    given.same("warm and cold", given.output_of(ask), cold)
    given.same("without the cache", given.output_of(replace(ask, argv=[*ask.argv, "--no-cache"])), cold)


def measure(ours: Command, theirs: Command, rounds: int) -> None:
    """Take the figures: the peer, then cold, then warm, in every round."""
    cold, warm = Comparison([], []), Comparison([], [])
    read = total = 0
    for _ in range(rounds):
        peer, read, total = scaled(theirs)
        forget(ours)
        for comparison in (cold, warm):
            comparison.own.append(run_command(ours))
            comparison.peer.append(peer)
    label = "MlflowClient script" + (f", {read} histories read, scaled to {total:,}" if read < total else "")
    print_row(
        ("best by the greatest value, cold", "run best --aggregate max", label), cold, Goal(at_least=4), floor=False
    )
    print_row(("the same again, warm", "run best --aggregate max", label), warm, Goal(at_least=6), floor=False)


def scaled(theirs: Command) -> tuple[Sample, int, int]:
    """Run the peer: its time as if it had read all histories, how many it has read, and of how many."""
    sample = run_command(theirs)
    total, read, seconds, _ = Path(theirs.argv[-1]).read_text().split(" ")
    more = int(total) / max(1, int(read)) - 1
    return Sample(sample.wall + float(seconds) * more, sample.peak), int(read), int(total)


def forget(ours: Command) -> None:
    """Throw the cache away."""
    shutil.rmtree(Path(ours.env["AGENTNN_STATE_DIR"]) / "cache", ignore_errors=True)


if __name__ == "__main__":
    main()
