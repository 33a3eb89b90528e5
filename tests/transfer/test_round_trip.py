"""Export from one store, import into another, export again: the same files; and MLflow itself sees the same runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli.support import fingerprint
from mlflow import MlflowClient
from transfer.full_store import BEGAN, files_of, fill, seen_by_mlflow

from agentnn import ModelManager, start_run
from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = [("sqlite", "server"), ("server", "sqlite"), ("sqlite", "mlruns"), ("mlruns", "sqlite")]


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
    files = {path: size for path, size in files_of(MlflowClient(target), copy.info.run_id, "")}
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
