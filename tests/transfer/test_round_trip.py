"""Export from one store, import into another, export again: the same files; and MLflow itself sees the same runs."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import fingerprint
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, ViewType

from agentnn import ModelManager, start_run
from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = [("sqlite", "server"), ("server", "sqlite"), ("sqlite", "mlruns"), ("mlruns", "sqlite")]
ODD_FILES = ["odd/q?x&y.txt", "odd/a+b c;d.txt", "odd/100%.txt", "-dash"]
BEGAN = 1_767_225_600_000
ODD_KEYS = ["a/b", "with space", "val.loss", "x-1", "time:12", "ünïcode", "日本"]
TEXTS = {
    "emoji": "🚀 up",
    "lines": "a\nb\n",
    "empty": "",
    "html": "<script>&",
    "controls": "\x1b[31m\x07",
    "e": "1e-05",
}


def fill(uri: str) -> dict[str, str]:
    """Runs with everything that a run can have, made by MLflow itself; their ids by name."""
    client = MlflowClient(uri)
    experiment = client.create_experiment("curves & co", tags={"team": "quant", "mlflow.note.content": "first\nsecond"})
    made: dict[str, str] = {}

    def run(name: str, at: int, status: str | None, *, parent: str | None = None, **tags: str) -> str:
        nested = {"mlflow.parentRunId": made[parent]} if parent else {}
        info = client.create_run(experiment, BEGAN + at, {"mlflow.user": "ada", **nested, **tags}, name).info
        made[name] = info.run_id
        return str(info.run_id)

    sweep = run("sweep", 0, "FINISHED")
    for number in range(3):
        child = run(f"trial {number}", 10 - number, None, parent="sweep")
        client.log_param(child, "lr", repr(10.0**-number))
        client.log_metric(child, "loss", 1 / (number + 1), BEGAN + 50, number)
        client.set_terminated(child, "FINISHED", BEGAN + 1000 + number)
    run("grandchild", 20, None, parent="trial 1")
    client.set_terminated(made["grandchild"], "KILLED", BEGAN + 21)

    full = run("full", 30, None, **{f"tag {key}": text for key, text in TEXTS.items()})
    points = [Metric("loss", random.Random(step).gauss(0, 1) / 3, BEGAN + step, step) for step in range(1500)]
    points += [Metric(key, 0.1 + 0.2, BEGAN, step) for key in ODD_KEYS for step in (-3, 0, 2**62)]
    odd = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623155e308, 123456789.123456789]
    points += [Metric("odd", value, BEGAN + 7, step) for step, value in enumerate(odd)]
    points += [Metric("again", value, BEGAN + at, 0) for value in (2.0, 1.0, math.nan) for at in (0, 1)]
    for start in range(0, len(points), 1000):
        client.log_batch(full, metrics=points[start : start + 1000])
    for key in ODD_KEYS:
        client.log_param(full, key, f"{key} = {TEXTS['emoji']}")
    for key, text in TEXTS.items():
        client.log_param(full, f"param {key}", text)
    client.log_param(full, "long", "ä" * 6000)
    client.log_text(full, "hello", "notes/hello.txt")
    client.log_text(full, "", "empty.txt")
    for name in ODD_FILES if not uri.startswith("http") else ():  # MLflow's client would put them elsewhere there
        file = Path(client.get_run(full).info.artifact_uri.removeprefix("file://")) / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
    client.log_dict(full, {"a": 1}, "deep/er/ü ñ.json")
    data = Dataset("prices", "ab12", "local", '{"uri": "/data"}', schema='{"x": 1}', profile='{"rows": 3}')
    client.log_inputs(full, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    client.set_terminated(full, "FAILED", BEGAN + 12_345)

    gone = run("gone", 40, None)
    client.log_metric(gone, "loss", 1.0, BEGAN, 0)
    client.set_terminated(gone, "FINISHED", BEGAN + 41)
    client.delete_run(gone)
    run("still running", 50, None)
    client.create_run("0", BEGAN + 60, {}, "default")
    client.set_terminated(sweep, "FINISHED", BEGAN + 99)
    return made


def seen_by_mlflow(uri: str) -> dict[str, Any]:
    """All runs as MLflow's own client gives them, by name, without what belongs to the store."""
    client = MlflowClient(uri)
    experiments = {one.experiment_id: one for one in client.search_experiments(view_type=ViewType.ALL)}
    runs = client.search_runs(list(experiments), run_view_type=ViewType.ALL)
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(runs) == len({*names.values()})
    return {run.info.run_name: _plainly(client, run, names, experiments[run.info.experiment_id]) for run in runs}


def _plainly(client: MlflowClient, run: Any, names: dict[str, str], experiment: Any) -> dict[str, Any]:
    info, tags = run.info, {key: value for key, value in run.data.tags.items() if not key.startswith("agentnn.import")}
    parent = tags.pop("mlflow.parentRunId", None)
    histories = {}
    for key in run.data.metrics:
        points = client.get_metric_history(info.run_id, key)
        # Infinities are the largest number in SQL, and zero has no sign there.
        values = [max(min(point.value, 1.7976931348623157e308), -1.7976931348623157e308) + 0.0 for point in points]
        histories[key] = sorted((p.step, p.timestamp, repr(value)) for p, value in zip(points, values, strict=True))
    inputs = [
        (one.dataset.name, one.dataset.digest, one.dataset.source_type, one.dataset.source, one.dataset.schema,
         one.dataset.profile, [(tag.key, tag.value) for tag in one.tags])
        for one in (run.inputs.dataset_inputs if run.inputs else [])
    ]  # fmt: skip
    return {
        "info": (info.status, info.lifecycle_stage, info.start_time, info.end_time, info.user_id),
        "experiment": (experiment.name, experiment.tags),
        "parent": names.get(parent) if parent else None,
        "params": run.data.params,
        "tags": tags,
        "metrics": histories,
        "inputs": inputs,
        "files": sorted(_files(client, info.run_id, "")),
    }


def _files(client: MlflowClient, run_id: str, path: str) -> list[tuple[str, int]]:
    found = []
    for one in client.list_artifacts(run_id, path or None):
        found += _files(client, run_id, one.path) if one.is_dir else [(one.path, one.file_size or 0)]
    return found


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_the_same_files_come_out_and_mlflow_sees_the_same_runs(
    first: str, second: str, make_store: Callable[[str], str], tmp_path: Path
):
    source, target = make_store(first), make_store(second)
    made = fill(source)
    exported = ModelManager(source).export_runs(tmp_path / "one", view="all")
    assert {run.run_id for run in exported} >= set(made.values())

    imported = ModelManager(target).import_runs(tmp_path / "one")
    assert [run.result for run in imported] == ["imported"] * len(exported)
    seen, expected = seen_by_mlflow(target), seen_by_mlflow(source)
    assert seen.keys() == expected.keys()
    for name, run in expected.items():
        for part, value in run.items():
            assert seen[name][part] == value, (name, part)

    ModelManager(target).export_runs(tmp_path / "two", view="all")
    assert fingerprint(tmp_path / "two") == fingerprint(tmp_path / "one")

    again = ModelManager(target).import_runs(tmp_path / "two")
    assert {run.result for run in again} == {"there"}
    assert [run.run_id for run in again] == [run.run_id for run in imported]
    assert seen_by_mlflow(target).keys() == expected.keys()


def test_a_run_of_our_own_with_a_long_param_and_a_model_is_the_same_after_two_stores(
    make_store: Callable[[str], str], tmp_path: Path
):
    source, middle, target = make_store("sqlite"), make_store("server"), make_store("sqlite")
    long = "x" * 10_000
    with start_run("ours", tracking_uri=source) as run:
        run.log_params({"long": long, "odd*key": 1})
        run.log_metric("loss", math.nan, 0)
        run.log_metric("loss", 0.5, 1)
    client = MlflowClient(source)
    model = client.create_logged_model("0", "net", source_run_id=run.run_id)
    client.log_model_artifacts(model.model_id, str(_folder_with(tmp_path / "net", "MLmodel", "flavors: {}\n")))
    client.finalize_logged_model(model.model_id, "READY")

    for number, (there, here) in enumerate([(source, middle), (middle, target)]):
        ModelManager(there).export_runs(tmp_path / f"export {number}.zip")
        ModelManager(here).import_runs(tmp_path / f"export {number}.zip")
    ModelManager(target).export_runs(tmp_path / "export 2.zip")
    archives = [(tmp_path / f"export {number}.zip").read_bytes() for number in range(3)]
    assert archives[0] == archives[1] == archives[2]

    (copy,) = MlflowClient(target).search_runs(["0"])
    files = {path: size for path, size in _files(MlflowClient(target), copy.info.run_id, "")}
    assert files["net/MLmodel"] == len("flavors: {}\n")
    assert files["agentnn/params/long.txt"] == len(long)
    assert copy.data.tags["agentnn.imported_run_id"] == run.run_id
    assert copy.data.tags["agentnn.imported_from"] == source
    assert not {"agentnn.run_uuid", "agentnn.process", "agentnn.heartbeat"} & copy.data.tags.keys()
    manager = ModelManager(target)
    assert b"".join(manager.read_artifact("ours", "net/MLmodel")) == b"flavors: {}\n"


def _folder_with(folder: Path, name: str, text: str) -> Path:
    folder.mkdir()
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", ["a#b.txt", "p%41.txt"])
def test_a_file_that_a_server_would_put_elsewhere_is_said_before_anything_is_written(
    name: str, make_store: Callable[[str], str], tmp_path: Path
):
    source, target = make_store("sqlite"), make_store("server")
    folder = Path(MlflowClient(source).create_run("0", run_name="odd").info.artifact_uri)
    folder.mkdir(parents=True)
    (folder / name).write_text("x")
    ModelManager(source).export_runs(tmp_path / "out")
    with pytest.raises(UsageError, match="can't keep a file of the name"):
        ModelManager(target).import_runs(tmp_path / "out")
    assert MlflowClient(target).search_runs(["0"]) == []


def test_the_files_are_what_the_format_says(make_store: Callable[[str], str], tmp_path: Path):
    uri = make_store("sqlite")
    made = fill(uri)
    ModelManager(uri).export_runs(tmp_path / "out", ["sweep", "full"])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    names = {run_id: name for name, run_id in made.items()}
    assert (manifest["format"], manifest["version"]) == ("agentnn-export", 1)
    assert [names[one] for one in manifest["runs"]] == [
        "sweep", "trial 2", "trial 1", "grandchild", "trial 0", "full",
    ]  # fmt: skip
    on_disk = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert {one["path"] for one in manifest["files"]} == on_disk - {"manifest.json"}
    folder = tmp_path / "out" / "runs" / made["full"]
    run = json.loads((folder / "run.json").read_text())
    assert (run["run_id"], run["status"], run["start_time"]) == (made["full"], "FAILED", BEGAN + 30)
    assert run["origin"] == {"store": uri, "experiment_id": MlflowClient(uri).get_run(made["full"]).info.experiment_id}
    lines = (folder / "metrics.jsonl").read_text().split("\n")[:-1]
    points = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [one["value"] for one in points if one["key"] == "odd"][:3] == ["NaN", "Infinity", "-Infinity"]
    assert {one["value"] for one in points if one["key"] == "a/b"} == {0.1 + 0.2}
    assert (folder / "artifacts" / "notes" / "hello.txt").read_text() == "hello"
