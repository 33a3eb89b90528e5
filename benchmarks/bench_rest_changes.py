"""Changes on a server: ``agentnn`` over its REST API against scripts with ``MlflowClient``, whole processes.

The server is MLflow's own, with one worker on this machine, on a copy of the store. A promotion claims the alias,
writes its entry of the history and looks whether it was alone; the script only sets the alias. Last, deleting many runs
in this process, per run, against a loop of ``MlflowClient.delete_run``, with one worker and with the four that
``mlflow server`` has by itself. Ours also finds the runs and what is nested in them, and of more than twenty it marks
each, so that one command restores just these.

    python benchmarks/bench_rest_changes.py --runs 10000
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import subjects as given
from bench_delete_runs import FILTER, Store
from bench_rest import at, served
from timing import Goal, alternate, print_header, print_row, run_call, run_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient
    from timing import Command

GOAL = Goal(at_least=4)
MODEL, ALIAS = "bench", "champion"


def main() -> None:
    """Print one row a change."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="runs in the store")
    parser.add_argument("--delete", type=int, default=200, help="how many of them are deleted")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="agentnn-bench-") as folder:
        path = Path(folder, "mlflow.db")
        shutil.copyfile(given.store_of(options.runs), path)
        with served(path) as url:
            print_header(f"Changes on a server with {options.runs:,} runs, whole process")
            whole_processes(given.subjects(options.python, path), url, options.rounds)
        for workers in (1, 4):
            shutil.copyfile(given.store_of(options.runs), path)
            with served(path, workers=workers) as url:
                kind = f"Deleting {options.delete:,} runs of a server by a filter, workers: {workers}"
                print_header(f"{kind}: time per run")
                deleting(Store(path, options.delete), url, max(1, options.rounds // 3))


def whole_processes(fast: given.Subjects, url: str, rounds: int) -> None:
    """Print the rows of a tag, an experiment and a promotion."""
    client = client_of(url)
    (run, *_) = client.search_runs([one.experiment_id for one in client.search_experiments()], max_results=1)
    client.create_registered_model(MODEL)
    for _ in range(2):
        client.create_model_version(MODEL, f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias(MODEL, ALIAS, "2")
    numbers = itertools.count()

    def ours(*arguments: str) -> Command:
        return at(fast.agentnn(*arguments), url)

    def theirs(*arguments: str) -> Command:
        return at(fast.script("peer_change.py", *arguments), url)

    def other_version() -> str:
        return "1" if client.get_registered_model(MODEL).aliases[ALIAS] == "2" else "2"

    row(
        ("a tag of a run", "run tag", "set_tag"),
        lambda: ours("run", "tag", run.info.run_id, "--set", f"bench={next(numbers)}"),
        lambda: theirs("tag", run.info.run_id, "bench", str(next(numbers))),
        rounds,
    )
    row(
        ("an experiment", "experiment create", "create_experiment"),
        lambda: ours("experiment", "create", f"made {next(numbers)}"),
        lambda: theirs("create", f"made {next(numbers)}"),
        rounds,
    )
    row(
        ("a promotion", "model promote --no-verify", "set_registered_model_alias"),
        lambda: ours("model", "promote", MODEL, other_version(), "--alias", ALIAS, "--no-verify"),
        lambda: theirs("promote", MODEL, other_version(), ALIAS),
        rounds,
    )


def row(labels: tuple[str, str, str], own: Callable[[], Command], peer: Callable[[], Command], rounds: int) -> None:
    """Compare two commands, each of which is another one every time."""
    result = alternate(lambda: run_command(own()), lambda: run_command(peer()), rounds, 1)
    print_row(labels, result, GOAL, floor=False)


def deleting(store: Store, url: str, rounds: int) -> None:
    """Print the row of deleting many runs; before each turn they are restored, unmeasured."""
    from agentnn import ModelManager

    manager, client = ModelManager(url), client_of(url)

    def loop() -> None:
        for run_id in store.chosen:
            client.delete_run(run_id)

    result = alternate(
        lambda: store.measure(lambda: run_call(lambda: manager.delete_runs(filter=FILTER))),
        lambda: store.measure(lambda: run_call(loop)),
        rounds,
        1,
    )
    print_row(("delete_runs, in process", "agentnn", "MlflowClient.delete_run"), result, Goal(), floor=False)


def client_of(url: str) -> MlflowClient:
    """MLflow's own client of the server."""
    from mlflow import MlflowClient

    return MlflowClient(url)


if __name__ == "__main__":
    main()
