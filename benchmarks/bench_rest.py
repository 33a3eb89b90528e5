"""A server with N runs: ``agentnn`` over its REST API against ``MlflowClient`` asking the same server.

The server is MLflow's own, with one worker on this machine, on the analysed store. ``run best`` is measured as a whole
process; the other questions in this process, where both sides have been imported and keep their connections.

    python benchmarks/bench_rest.py --runs 10000
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import subjects as given
from timing import Command, Goal, compare_calls, compare_commands, note, print_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S = 120


def main() -> None:
    """Print one row a question."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--large-rounds", type=int, default=3, help="pairs of the questions for many runs")
    parser.add_argument("--stock", action="store_true", help="a store that was never analysed, as MLflow leaves it")
    options = parser.parse_args()
    with served(given.store_of(options.runs, analysed=not options.stock)) as url:
        print_header(f"A server with {options.runs:,} runs, whole process")
        whole_processes(given.subjects(options.python, given.store_of(options.runs)), url, options.rounds)
        print_header(f"A server with {options.runs:,} runs, in process")
        in_process(url, options.rounds, options.large_rounds)


def whole_processes(fast: given.Subjects, url: str, rounds: int) -> None:
    """Print the rows of ``run best``, with its tally and without."""
    peer = at(fast.peer_best(), url)
    best = at(fast.agentnn("run", "best", "-m", given.METRIC), url)
    tallied = at(fast.agentnn("run", "best", "-m", given.METRIC, "--tally"), url)
    goal = Goal(at_least=9)
    compare_commands(("best run", "run best", "MlflowClient script"), best, peer, rounds=rounds, goal=goal)
    row = ("best run, what was left out counted", "run best --tally", "MlflowClient script, which does not count")
    compare_commands(row, tallied, peer, rounds=max(1, rounds // 3))


def in_process(url: str, rounds: int, large_rounds: int) -> None:
    """Print the rows of single questions, small and large."""
    from mlflow import MlflowClient

    from agentnn.query.expressions import Field
    from agentnn.query.filters import parse_filter
    from agentnn.query.runs import OrderBy, RunQuery
    from agentnn.query.selection import BestQuery
    from agentnn.settings import Settings
    from agentnn.stores.opening import open_store

    os.environ["MLFLOW_TRACKING_URI"] = url
    store, client = open_store(Settings(url, registry_uri=url)), MlflowClient(url)
    everywhere = [one.experiment_id for one in client.search_experiments()]
    (run_id, *_) = [run.run_id for run in store.search_runs(RunQuery(limit=1))]
    key = next(iter(store.find_runs([run_id])[0].metrics))
    small = Goal(at_least=2.5)

    def row(question: str, ours: Callable[[], Any], theirs: Callable[[], Any], goal: Goal, count: int) -> None:
        labels = (question, f"RestStore, {requests_of(ours)} requests", "MlflowClient")
        compare_calls(labels, ours, theirs, rounds=count, goal=goal)

    find = store.find_experiment
    row("one experiment", lambda: find(experiment_id="1"), lambda: client.get_experiment("1"), small, rounds * 3)
    row("all experiments", store.list_experiments, client.search_experiments, small, rounds * 3)
    history = (run_id, key)
    theirs = client.get_metric_history
    row("one history", lambda: store.metric_history(*history), lambda: theirs(*history), small, rounds * 3)

    def run_and_experiment() -> Any:
        return client.get_experiment(client.get_run(run_id).info.experiment_id)

    row("one run, with its experiment's name", lambda: store.find_runs([run_id]), run_and_experiment, small, rounds * 3)

    def best() -> Any:
        return client.search_runs(everywhere, order_by=[f"metrics.{given.METRIC} DESC"], max_results=1)

    row("best run", lambda: store.best_runs(BestQuery(given.METRIC)), best, Goal(), rounds)
    filtered = RunQuery(filter=parse_filter(f"metrics.{given.METRIC} > 1 AND params.optimizer = 'adam'"), limit=100)
    text = f"metrics.{given.METRIC} > 1 AND params.optimizer = 'adam'"
    even = Goal(at_least=0.95)
    searched = client.search_runs
    row("100 runs by a filter", lambda: list(store.search_runs(filtered)),
        lambda: searched(everywhere, text, max_results=100), even, rounds)  # fmt: skip
    twenty = RunQuery(limit=20, order_by=(OrderBy(Field("metric", given.METRIC), ascending=False),))
    order = [f"metrics.{given.METRIC} DESC"]
    row("20 runs, sorted by a metric", lambda: list(store.search_runs(twenty)),
        lambda: searched(everywhere, order_by=order, max_results=20), Goal(), rounds)  # fmt: skip
    row("1000 runs", lambda: list(store.search_runs(RunQuery(limit=1000))),
        lambda: searched(everywhere, max_results=1000), even, large_rounds)  # fmt: skip


def requests_of(ours: Callable[[], Any]) -> int:
    """How many requests a question of ours takes."""
    from agentnn.stores.rest.connection import Connection

    exchange, count = Connection.exchange, 0

    def counted(*request: Any) -> Any:
        nonlocal count
        count += 1
        return exchange(*request)

    Connection.exchange = counted  # type: ignore[method-assign]
    try:
        ours()
    finally:
        Connection.exchange = exchange  # type: ignore[method-assign]
    return count


def at(command: Command, url: str) -> Command:
    """The same command on the server."""
    return Command(command.argv, {**command.env, "MLFLOW_TRACKING_URI": url}, command.cwd)


@contextmanager
def served(store: Path, *more: str, workers: int = 1) -> Iterator[str]:
    """The address of a server on a store, for the duration; with further options of ``mlflow server``."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--backend-store-uri", f"sqlite:///{store}", "--host", "127.0.0.1", "--port", str(port))
    environment = {**given.clean_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("mlflow")), "server", *options, *more, "--workers", str(workers)],
            cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(port, process)
            note(f"a server on {store.name} answers")
            yield f"http://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers.

    Raises:
        SystemExit: It has ended, or says nothing for long.
    """
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and process.poll() is None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection, suppress(OSError):
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise SystemExit("error: the server does not answer")


if __name__ == "__main__":
    main()
