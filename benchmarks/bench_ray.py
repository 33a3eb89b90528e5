"""A study of 200 trials on a Ray cluster of two nodes, one of which is killed in the middle: how many trials are lost?

    python benchmarks/bench_ray.py --trials 200 --kill-after 60

Both nodes are on this machine, in processes of their own and with journals of their own, as on two machines; the second
one's processes get SIGKILL. Counted is what stands in the MLflow store afterwards, by MLflow's own client.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from ray_nodes import RayCluster
from real_stores import end_senders

from agentnn.config.loader import load_config
from agentnn.sdk.experiment_organizer import ExperimentOrganizer
from agentnn.training.run_hpo import run_hpo_study

if TYPE_CHECKING:
    from agentnn.training.hpo.results import StudyResult

COLUMNS = (
    "trials", "a trial takes", "killed after", "ended there", "died with it", "tried again", "complete in the study",
    "complete in the store", "lost", "wall", "trials/min",
)  # fmt: skip


class Watch:
    """Kills a node once so many trials have ended, and some of them there."""

    def __init__(self, cluster: RayCluster, after: int) -> None:
        self._node = cluster.add_node(cpus=1, environment={"NODE": "second"})
        self._after = after
        self._ended = 0
        self._is_killed = False
        self.there = 0
        self.died = 0

    def began(self, _: Any) -> None:
        """Take note of the study."""

    def submitted(self, _: Any) -> None:
        """Take note of a trial."""

    def ended(self, record: Any) -> None:
        """Count."""
        self._ended += 1
        self.there += int(record.metrics.get("second", 0))
        self.died += bool(record.lost)
        if self._ended >= self._after and self.there > 1 and not self._is_killed:
            self._is_killed = True
            threading.Timer(0.1, self._node.kill).start()


def main() -> None:
    """Print a table with one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--kill-after", type=int, default=60, help="trials that have ended by then")
    parser.add_argument("--seconds", type=float, default=0.2, help="what a trial takes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-ray-"))
    os.environ["AGENTNN_STATE_DIR"] = str(folder / "state")
    cluster = RayCluster(cpus=1)
    os.environ.update(cluster.environment)
    try:
        watch = Watch(cluster, options.kill_after)
        started = time.perf_counter()
        found = study(cluster, folder, options, watch)
        took = time.perf_counter() - started
        print_row(found, watch, stored(folder, found), took, options)
    finally:
        cluster.end()
        end_senders(folder / "state")
        shutil.rmtree(folder, ignore_errors=True)


def study(cluster: RayCluster, folder: Path, options: argparse.Namespace, watch: Watch) -> StudyResult:
    """Run it."""
    seconds = options.seconds

    def objective(trial: Any) -> dict[str, float]:
        import os
        import time

        time.sleep(seconds)
        return {"loss": trial.params["dropout"], "second": os.environ.get("NODE") == "second"}

    hpo = {"param_space": {"dropout": {"low": 0.0, "high": 0.5}}, "num_trials": options.trials, "metric": "loss"}
    hpo |= {"sampler": "random", "engine": "ray", "address": cluster.address, "study_name": "bench"}
    config = load_config({"experiment": {"name": "bench"}, "tracking": {"uri": uri(folder)}, "hpo": hpo})
    organizer = ExperimentOrganizer(config)
    return run_hpo_study(config, None, None, None, None, organizer, objective=objective, events=watch)


def stored(folder: Path, found: StudyResult) -> set[float]:
    """What the trials in the store came to."""
    from mlflow import MlflowClient

    client = MlflowClient(uri(folder))
    [experiment] = client.search_experiments(filter_string="name = 'bench'")
    query = f"tags.`mlflow.parentRunId` = '{found.run_id}' AND attributes.status = 'FINISHED'"
    runs = client.search_runs([experiment.experiment_id], query, max_results=50_000)
    return {run.data.metrics["loss"] for run in runs}


def print_row(found: StudyResult, watch: Watch, values: set[float], took: float, options: argparse.Namespace) -> None:
    """Print the table."""
    complete = {one.values[0] for one in found.trials if one.state == "complete"}
    again = sum(one.retry_of is not None for one in found.trials)
    cells = (
        options.trials, f"{options.seconds:g} s", options.kill_after, watch.there, watch.died, again, len(complete),
        len(values & complete), options.trials - len(values & complete), f"{took:.1f} s",
        f"{60 * options.trials / took:.0f}",
    )  # fmt: skip
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n| {' | '.join(map(str, cells))} |")


def uri(folder: Path) -> str:
    """The store."""
    return f"sqlite:///{folder / 'mlflow.db'}"


if __name__ == "__main__":
    main()
