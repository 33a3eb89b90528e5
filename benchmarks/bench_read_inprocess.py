"""Reading in process: ``ModelManager`` against ``MlflowClient`` on the analysed store.

The best run, the latest 100, filters and all runs as records; the best run on a store as MLflow leaves it; with
``--cold`` each question once more after the store was dropped from the page cache; then how the memory of the best run
grows with the store. Both sides keep their manager or client, so that start-up is not in the times.

    python benchmarks/bench_read_inprocess.py --runs 1000000 --rounds 2 --cold --stock-up-to 0
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import subjects as given
from timing import Goal, alternate, compare_calls, note, print_header, print_row, run_call

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from timing import Sample

COLD = Goal(wall_below=4)
BEST_GOALS = {10_000: Goal(at_least=6), 100_000: Goal(at_least=20), 1_000_000: Goal(at_least=35, wall_below=1)}
FILTER_GOALS = {10_000: Goal(at_least=3), 100_000: Goal(at_least=4), 1_000_000: Goal(at_least=8, wall_below=1)}
STOCK_GOALS = {10_000: Goal(at_least=500)}
LATEST_GOALS = {10_000: Goal(at_least=4)}
ALL_GOALS = {10_000: Goal(at_least=25)}
LATEST = 100
BEST, NEWEST, ALL = "best run", f"latest {LATEST}", "all runs as records"
FILTERS = {
    "a filter that many pass": "metrics.sharpe_ratio > 1 and params.optimizer = 'adam'",
    "a filter that few pass": "metrics.val_loss < 0.001",
    "a filter that hardly any pass": "params.seed = '7' and metrics.sharpe_ratio > 2",
}
MANY = 500_000
"""Stores of so many runs are read in few rounds, since the peer takes long."""


def main() -> None:
    """Print a table a size, and one of memory."""
    options = options_of()
    if options.memory_of:
        print(json.dumps(memory_of_best(Path(options.memory_of), traced=options.traced)))
        return
    stores = {runs: given.store_of(runs) for runs in options.runs}
    for runs, store in stores.items():
        compare_reads(runs, store, options)
        if runs <= options.stock_up_to and not options.without_agentnn:
            compare_stock(runs, given.store_of(runs, analysed=False))
    if not options.without_agentnn:
        print_memory({runs: given.store_of(runs) for runs in sorted({1000, *options.runs})})


def options_of() -> Namespace:
    """Read the options; go on in the interpreter that has agentnn, when another one was given."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--all-up-to", type=int, default=10_000, help="largest store read in full")
    parser.add_argument("--stock-up-to", type=int, default=10_000, help="largest store read without ANALYZE")
    parser.add_argument("--cold", action="store_true", help="also with the store out of the page cache")
    parser.add_argument("--without-agentnn", action="store_true", help="only the floor's SQL")
    parser.add_argument("--memory-of", metavar="STORE", help="(internal) print the memory that best takes")
    parser.add_argument("--traced", action="store_true", help="(internal) with tracemalloc")
    options = parser.parse_args()
    if Path(options.python).absolute() != Path(sys.executable).absolute():
        os.execve(options.python, [options.python, *sys.argv], given.clean_environment())
    return options


# --- times -----------------------------------------------------------------------------------------


def compare_reads(runs: int, store: Path, options: Namespace) -> None:
    """Print the rows of one store."""
    peer = peer_reads(store, runs)
    own = floor_reads(store) if options.without_agentnn else own_reads(store)
    own_label = "floor's SQL" if options.without_agentnn else "agentnn"
    if not options.without_agentnn:
        check_answers(store, own, peer, whole=runs <= options.all_up_to)

    print_header(f"{runs:,} runs in process, analysed store")
    rows = [
        ("best", BEST, "search_runs, max_results=1", BEST_GOALS.get(runs), options.rounds),
        ("latest", NEWEST, f"search_runs, max_results={LATEST}", LATEST_GOALS.get(runs), 3 if runs >= MANY else 15),
    ]
    rows += [
        (name, name, f"search_runs, max_results={LATEST}", FILTER_GOALS.get(runs), options.rounds) for name in FILTERS
    ]
    if runs <= options.all_up_to:
        rows += [
            ("all", ALL, "search_runs, pages of 1000", None, 3),
            ("all at once", ALL, "search_runs, pages of 50,000", ALL_GOALS.get(runs), 3),
            ("frame", ALL, "mlflow.search_runs, a DataFrame", None, 3),
        ]
    for key, question, label, goal, rounds in rows:
        ours = own.get(question)
        if ours is not None:
            labels = (question, own_label, label)
            warmup = min(1 if runs >= MANY else 2, rounds - 1)
            compare_calls(labels, ours, peer[key], rounds=rounds, warmup=warmup, goal=goal)
            if options.cold and not key.startswith(("all", "frame")):
                compare_cold(
                    (f"{question}, cold", own_label, label), store, ours, peer[key], COLD if runs >= MANY else None
                )


def compare_stock(runs: int, store: Path) -> None:
    """Print the row of a store as MLflow leaves it."""
    own, peer = own_reads(store), peer_reads(store, runs)
    print_header(f"{runs:,} runs in process, a store as MLflow leaves it")
    labels = (BEST, "agentnn", "search_runs, max_results=1")
    own[BEST]()
    compare_calls(labels, own[BEST], peer["best"], rounds=2, warmup=0, goal=STOCK_GOALS.get(runs))


def compare_cold(
    labels: tuple[str, str, str], store: Path, own: Callable[[], object], peer: Callable[[], object], goal: Goal | None
) -> None:
    """Print the row of a question that is put once by each side, each time after the store was dropped from memory."""

    def cold(call: Callable[[], object]) -> Sample:
        forget(store)
        return run_call(call)

    print_row(labels, alternate(lambda: cold(own), lambda: cold(peer), 1, 0), goal or Goal(), floor=False)


def forget(store: Path) -> None:
    """Drop a file from the page cache: https://man7.org/linux/man-pages/man2/posix_fadvise.2.html."""
    with store.open("rb+") as file:
        os.fsync(file.fileno())  # what is not written yet can't be dropped
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peer_reads(store: Path, runs: int) -> dict[str, Any]:
    """Give the peer's calls."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{store}")
    everywhere = [found.experiment_id for found in client.search_experiments()]
    by_metric = [f"metrics.{given.METRIC} DESC"]

    def filtered(text: str) -> Callable[[], Any]:
        return lambda: client.search_runs(everywhere, filter_string=text, max_results=LATEST)

    return {
        "best": lambda: client.search_runs(everywhere, order_by=by_metric, max_results=1),
        "latest": lambda: client.search_runs(everywhere, max_results=LATEST),
        "all": lambda: all_runs(client, everywhere, 1000),
        "all at once": lambda: all_runs(client, everywhere, 50_000),
        "frame": lambda: frame_of(store, everywhere, runs),
        **{name: filtered(text) for name, text in FILTERS.items()},
    }


def own_reads(store: Path) -> dict[str, Any]:
    """Give our side's calls."""
    from agentnn import ModelManager

    manager = ModelManager(f"sqlite:///{store}")

    def filtered(text: str) -> Callable[[], Any]:
        return lambda: manager.list_runs(filter=text, limit=LATEST)

    return {
        BEST: lambda: manager.get_best_run(given.METRIC),
        NEWEST: lambda: list(manager.list_runs(limit=LATEST)),
        ALL: lambda: list(manager.list_runs(limit=None)),
        **{name: filtered(text) for name, text in FILTERS.items()},
    }


def floor_reads(store: Path) -> dict[str, Any]:
    """Give the floor program's call, the most that can be reached."""
    import sqlite3

    from floor import best_run

    database = sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)
    return {BEST: lambda: best_run(database, given.METRIC, "max")}


def all_runs(client: Any, everywhere: list[str], page_size: int) -> list[Any]:
    """Read every run through ``MlflowClient``, page by page."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs(everywhere, max_results=page_size, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def frame_of(store: Path, everywhere: list[str], runs: int) -> Any:
    """Read every run into a DataFrame, as a notebook does."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{store}")
    return mlflow.search_runs(everywhere, max_results=runs)


def check_answers(store: Path, own: dict[str, Any], peer: dict[str, Any], *, whole: bool) -> None:
    """See that both sides find the same runs; the best one is compared with the floor program's."""
    floor = given.output_of(given.subjects(sys.executable, store).floor())
    given.same("the best run", run_id_of(own[BEST]()), floor.split("\t")[0])
    theirs = [run.info.run_id for run in peer["latest"]()]
    given.same("the latest runs", [run.run_id for run in own[NEWEST]()], theirs)
    for name in FILTERS:
        theirs = [run.info.run_id for run in peer[name]()]
        given.same(name, [run.run_id for run in own[name]()], theirs)
    if whole:
        theirs = [run.info.run_id for run in peer["all"]()]
        given.same("all runs", [run.run_id for run in own[ALL]()], theirs)
    note("both sides find the same runs")


def run_id_of(answer: Any) -> str:
    """Give the id of the best run, whether the answer is a run or a verdict that holds one."""
    return answer.run_id if hasattr(answer, "run_id") else answer.run.run_id


# --- memory ----------------------------------------------------------------------------------------


def print_memory(stores: dict[int, Path]) -> None:
    """Print what one ``get_best_run`` takes in a fresh process, by the size of the store."""
    print("\n### Memory of the best run, in a fresh process, over what the process had before the call\n")
    print("| runs | resident | Python objects, peak |\n|---|---|---|")
    for runs, store in stores.items():
        resident = measured_apart(store, traced=False)["resident"]
        traced = measured_apart(store, traced=True)["traced"]
        print(f"| {runs:,} | {resident / 1024:.2f} MiB | {traced:.0f} KiB |", flush=True)


def measured_apart(store: Path, *, traced: bool) -> dict[str, float]:
    """Measure in a process of its own; tracing takes memory itself, so it has another."""
    argv = [sys.executable, __file__, "--python", sys.executable, "--memory-of", str(store)]
    done = subprocess.run(
        [*argv, "--traced"] if traced else argv,
        env=given.clean_environment(),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def memory_of_best(store: Path, *, traced: bool) -> dict[str, float]:
    """Ask for the best run once and give what it took: KiB resident, and KiB of Python objects if traced."""
    import tracemalloc

    best = own_reads(store)[BEST]
    before = high_water()
    if traced:
        tracemalloc.start()
    best()
    peak = tracemalloc.get_traced_memory()[1] / 1024 if traced else 0.0
    return {"resident": high_water() - before, "traced": peak}


def high_water() -> int:
    """Give this process's peak in KiB; unlike ``ru_maxrss`` it knows nothing of the process that forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    main()
