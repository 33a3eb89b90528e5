"""A folder of runs, MLflow's file store: ``ModelManager`` against ``MlflowClient`` on the same files, in process.

The folder is written by hand as MLflow 3.17 writes it, from a seed, and kept in ``benchmarks/.data``; both sides have
to find the same runs. MLflow opens every file of every run for each question. Our side reads the files, then it answers
by the index that it has of them; at last both read a metric of a million lines.

    python benchmarks/bench_mlruns.py --runs 5000
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import subjects as given
from make_store import DATA, FIRST_START, METRICS, SPACING, SWEEP
from timing import Goal, compare_calls, note, print_header

CURVES, POINTS, PARAMS, TAGS = ("val_loss", "train_loss"), 100, 10, 5
EXPERIMENT = "100000000000000001"
LATEST, PAGE, LARGE = 100, 1000, 5000
LINES = 1_000_000
GOALS = {"best run": Goal(at_least=50), f"latest {LATEST}": Goal(at_least=15), "filter": Goal(at_least=15)} | {
    "all runs, pages of 1000": Goal(at_least=15)
}
INDEXED = ("best run", "best run, all counted", "best run of a curve", f"latest {LATEST}", "filter")
WARM_GOALS = {"best run": Goal(at_least=100)}


def main() -> None:
    """Print a table a size."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[5000])
    parser.add_argument("--lines", type=int, default=LINES, help="of a metric's file")
    options = parser.parse_args()
    if Path(options.python).absolute() != Path(sys.executable).absolute():
        os.execve(options.python, [options.python, *sys.argv], given.clean_environment())
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # for MLflow's own client
    with tempfile.TemporaryDirectory() as state:
        os.environ["AGENTNN_STATE_DIR"] = state
        for runs in options.runs:
            compare(runs, folder_of(runs), options.rounds)
    compare_lines(options.lines, folder_of_lines(options.lines), options.rounds)


def compare(runs: int, folder: Path, rounds: int) -> None:
    """Print the rows of one folder."""
    peer = peer_calls(folder)
    expected = {question: ask() for question, ask in peer.items()}
    goals = (GOALS, WARM_GOALS) if runs >= LARGE else ({}, {})
    for its_goals, megabytes, how in zip(goals, ("0", "64"), ("", ", warm index"), strict=True):
        os.environ["AGENTNN_CACHE_MB"] = megabytes
        own = own_calls(folder)
        asked = own if not how else INDEXED if runs >= LARGE else ()  # few runs have no index
        for question in asked:
            given.same(question, own[question](), expected[question])
        note("both sides find the same")
        print_header(f"{runs:,} runs in an mlruns folder, in process{how}")
        for question in asked:
            labels = (question, "agentnn", "MlflowClient")
            goal = its_goals.get(question)
            compare_calls(labels, own[question], peer[question], rounds=rounds, warmup=0, goal=goal)


def compare_lines(lines: int, folder: Path, rounds: int) -> None:
    """Print the rows of one run with a long metric, whose index is cold."""
    from mlflow import MlflowClient

    from agentnn import ModelManager

    os.environ["AGENTNN_CACHE_MB"] = "0"
    manager, client = ModelManager(str(folder)), MlflowClient(str(folder))
    [run_id] = ids(manager.list_runs())
    calls: dict[str, tuple[Any, Any]] = {
        "latest value": (
            lambda: manager.get_run(run_id).metrics["loss"],
            lambda: client.get_run(run_id).data.metrics["loss"],
        ),
        "history": (
            lambda: len(manager.get_metric_history(run_id, "loss")),
            lambda: len(client.get_metric_history(run_id, "loss")),
        ),
    }
    print_header(f"a metric of {lines:,} lines in an mlruns folder, in process")
    for question, (own, peer) in calls.items():
        given.same(question, own(), peer())
        compare_calls((question, "agentnn", "MlflowClient"), own, peer, rounds=rounds, warmup=0)


def own_calls(folder: Path) -> dict[str, Any]:
    """Give our side's calls; each answers with what both sides can be compared by."""
    from agentnn import ModelManager

    manager = ModelManager(str(folder))
    one = manager.list_runs(limit=1)[0].run_id
    return {
        "best run": lambda: manager.get_best_run(given.METRIC).run_id,
        "best run, all counted": lambda: manager.get_best_run(given.METRIC, tally=True).run_id,
        "best run of a curve": lambda: manager.get_best_run(CURVES[0], mode="max").run_id,
        f"latest {LATEST}": lambda: ids(manager.list_runs(limit=LATEST)),
        "filter": lambda: ids(manager.list_runs(filter="metrics.val_loss < 0.05 AND params.p0 = '7'", limit=None)),
        "all runs, pages of 1000": lambda: ids(manager.list_runs(limit=None)),
        "all runs, one page": lambda: ids(manager.list_runs(limit=None)),
        "history of a metric": lambda: len(manager.get_metric_history(one, "val_loss")),
    }


def peer_calls(folder: Path) -> dict[str, Any]:
    """Give the peer's calls."""
    from mlflow import MlflowClient

    client = MlflowClient(str(folder))
    everywhere = [one.experiment_id for one in client.search_experiments()]
    one = client.search_runs(everywhere, max_results=1)[0].info.run_id

    def found(text: str = "", order: str = "start_time DESC", most: int = 50_000) -> list[str]:
        return [run.info.run_id for run in client.search_runs(everywhere, text, max_results=most, order_by=[order])]

    def best(metric: str) -> str:
        return found("attributes.status = 'FINISHED'", f"metrics.{metric} DESC", 1)[0]

    return {
        "best run": lambda: best(given.METRIC),
        "best run, all counted": lambda: best(given.METRIC),
        "best run of a curve": lambda: best(CURVES[0]),
        f"latest {LATEST}": lambda: found(most=LATEST),
        "filter": lambda: found("metrics.val_loss < 0.05 AND params.p0 = '7'"),
        "all runs, pages of 1000": lambda: ids_of_pages(client, everywhere),
        "all runs, one page": found,
        "history of a metric": lambda: len(client.get_metric_history(one, "val_loss")),
    }


def ids_of_pages(client: Any, everywhere: list[str]) -> list[str]:
    """Every run through ``MlflowClient``, page by page."""
    found: list[str] = []
    token = None
    while True:
        page = client.search_runs(everywhere, max_results=PAGE, page_token=token)
        found += [run.info.run_id for run in page]
        token = page.token
        if not token:
            return found


def ids(runs: Any) -> list[str]:
    """The ids of runs."""
    return [run.run_id for run in runs]


# --- the folder


def folder_of(runs: int) -> Path:
    """Give the folder of so many runs, which is made when there is none."""
    folder = DATA / f"mlruns-{runs}-1"
    if not folder.exists():
        note(f"writing {folder}")
        unfinished = folder.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_folder(unfinished, folder, runs)
        unfinished.rename(folder)
    return folder


def write_folder(folder: Path, place: Path, runs: int) -> None:
    """Write a folder of runs that is to lie somewhere else in the end."""
    from agentnn.stores.mlruns.meta import as_yaml, changed_run, experiment_meta, run_meta

    chance = random.Random(1)  # noqa: S311
    location = f"{place}/{EXPERIMENT}"
    for experiment_id, name in (("0", "Default"), (EXPERIMENT, "bench")):
        inside = folder / experiment_id
        inside.mkdir(parents=True)
        (inside / "meta.yaml").write_bytes(as_yaml(experiment_meta(experiment_id, name, location, FIRST_START)))
    (folder / ".trash").mkdir()
    parent = ""
    for number in range(runs):
        run_id = f"{chance.getrandbits(128):032x}"
        start = FIRST_START + number * SPACING
        begun = run_meta(run_id, EXPERIMENT, f"run-{number}", f"{location}/{run_id}/artifacts", "ada", start)
        ended = changed_run(begun, status="FINISHED" if number % 20 != 7 else "FAILED", end_time=start + 60_000)
        texts = {"mlflow.runName": f"run-{number}", **{f"tag{one}": f"{chance.random()}" for one in range(TAGS)}}
        if number % SWEEP == 0:
            parent = run_id
        else:
            texts["mlflow.parentRunId"] = parent
        values = {f"p{one}": str(chance.randrange(10)) for one in range(PARAMS)}
        write_run(folder / EXPERIMENT / run_id, as_yaml(ended), values, texts, start, chance)


def folder_of_lines(lines: int) -> Path:
    """Give the folder of one run with a metric of so many values, which is made when there is none."""
    folder = DATA / f"mlruns-lines-{lines}"
    if not folder.exists():
        note(f"writing {folder}")
        unfinished = folder.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_folder(unfinished, folder, 1)
        [metrics] = unfinished.glob("*/*/metrics")
        with (metrics / "loss").open("w", encoding="ascii") as file:
            file.writelines(f"{FIRST_START + step} {1 / (step + 1)} {step}\n" for step in range(lines))
        unfinished.rename(folder)
    return folder


def write_run(
    folder: Path, meta: bytes, params: dict[str, str], tags: dict[str, str], start: int, chance: random.Random
) -> None:
    """Write the files of one run."""
    for kind in ("metrics", "params", "artifacts", "tags"):
        (folder / kind).mkdir(parents=True)
    (folder / "meta.yaml").write_bytes(meta)
    for kind, texts in (("params", params), ("tags", tags)):
        for key, text in texts.items():
            (folder / kind / key).write_text(text, encoding="utf-8")
    for key in METRICS:
        steps = range(POINTS if key in CURVES else 1)
        lines = [f"{start + step} {chance.random()} {step}\n" for step in steps]
        (folder / "metrics" / key).write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
