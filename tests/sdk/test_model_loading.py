"""Loading a model from the registry, a run or a folder, and the run that records it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from faults.trainers import wait_until
from mlflow import MlflowClient
from shared_store import copy_of, shared_state

from agentnn import ModelManager, start_run
from agentnn.errors import AgentNNWarning, NotFoundError, UnsafeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow.entities import Run
    from real_stores import MlflowServer


class Foreign(torch.nn.Linear):
    """A class that a file may only name."""


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


def linear(weight: float, kind: type[torch.nn.Linear] = torch.nn.Linear) -> torch.nn.Linear:
    made = kind(2, 1)
    torch.nn.init.constant_(made.weight, weight)
    torch.nn.init.zeros_(made.bias)
    return made


X = np.ones((3, 2), np.float32)


@pytest.fixture(scope="module")
def manager(uri: str) -> ModelManager:
    """A store with two versions of a model, w = 1 and w = 2, and a third whose file names a class of somebody's."""
    found = ModelManager(uri)
    for name, model in (("one", linear(1.0)), ("two", linear(2.0)), ("foreign", linear(3.0, Foreign))):
        with start_run(name, tracking_uri=uri) as run:
            run.log_model(model, input_example=X)
    for name in ("one", "two"):
        found.register_model("net", name)
    MlflowClient(uri).set_registered_model_alias("net", "champion", "1")
    return found


def folder_of(manager: ModelManager, tmp_path: Path) -> Path:
    return manager.download_model("net/2", tmp_path / "net").folder


def recorded(uri: str, experiment: str, count: int = 1) -> list[Run]:
    """The ended runs of an experiment, the oldest first."""
    client = MlflowClient(uri)
    found: list[Run] = []

    def are_there() -> bool:
        kept = client.get_experiment_by_name(experiment)
        found[:] = [] if kept is None else client.search_runs([kept.experiment_id], order_by=["start_time ASC"])
        return len(found) >= count and all(one.info.status != "RUNNING" for one in found)

    wait_until(are_there, "the runs that record what was loaded")
    return found


@pytest.mark.parametrize(
    ("source", "asked", "weight"),
    [
        ("registry", "net", 2.0),
        ("registry", "net@champion", 1.0),
        ("registry", "models:/net/2", 2.0),
        ("run", "one", 1.0),
        ("run", "@last", 3.0),
        ("run", "runs:/{one}/model", 1.0),
        (None, "runs:/{one}/model", 1.0),
        (None, "net@champion", 1.0),
        ("local", "{folder}", 2.0),
        (None, "{folder}", 2.0),
    ],
)
def test_a_model_is_loaded_from_where_it_is_said_to_be(
    manager: ModelManager, tmp_path: Path, source: str | None, asked: str, weight: float
):
    one = manager.get_run("one").run_id
    uri = asked.format(one=one, folder=folder_of(manager, tmp_path) if "folder" in asked else "")
    trust = weight == 3.0
    loaded = manager.load_model(uri, source=source, trust=trust)  # type: ignore[arg-type]
    np.testing.assert_allclose(loaded.predict(X)[:, 0], 2 * weight)


def test_a_folder_may_be_named_as_one_stands(manager: ModelManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = folder_of(manager, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert manager.load_model("net", source="local", trust=False).predict(X).shape == (3, 1)
    assert manager.load_model(folder, source="local").predict(X).shape == (3, 1)
    assert manager.load_model(f"file:{folder}", source="local").predict(X).shape == (3, 1)
    assert manager.load_module("net", source="local").weight.tolist() == [[2.0, 2.0]]


def test_what_was_loaded_is_a_run(manager: ModelManager, uri: str, tmp_path: Path):
    before = len(manager.list_runs())
    manager.load_model("net@champion", trust=False)
    assert len(manager.list_runs()) == before  # unless it is asked for, nothing is recorded
    manager.load_model("net@champion", source="registry", trust=False, track=True)
    [run] = recorded(uri, "model_loading")
    params = run.data.params
    version = MlflowClient(uri).get_model_version("net", "1")
    assert (run.info.status, params["source"], params["uri"]) == ("FINISHED", "registry", "net@champion")
    assert (params["model"], params["version"], params["run_id"]) == ("net", "1", version.run_id)
    assert params["flavors"] == "python_function, pytorch"
    folder = manager.download_model("net/1", tmp_path / "net").folder
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert (params["files"], params["size"]) == (
        str(len(files)),
        str(sum((folder / one).stat().st_size for one in files)),
    )
    assert len(params["digest"]) == 64
    assert run.data.metrics["load_seconds"] > 0


def test_the_digest_is_that_of_names_and_contents(manager: ModelManager, uri: str, tmp_path: Path):
    folder = folder_of(manager, tmp_path)
    manager.load_model(folder, source="local", track=True, experiment="digests")
    whole = hashlib.sha256()
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    for path in sorted(paths, key=lambda one: (len(one.parts), one)):  # there are no folders in folders
        one = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        whole.update(f"{path.as_posix()}\0{one}\n".encode())
    (folder / "conda.yaml").write_text("other: true\n")
    manager.load_model(folder, source="local", track=True, experiment="digests")
    first, second = recorded(uri, "digests", 2)
    assert first.data.params["digest"] == whole.hexdigest()
    assert second.data.params["digest"] != whole.hexdigest()


def test_what_is_loaded_within_a_run_is_recorded_below_it(manager: ModelManager, uri: str):
    with start_run("training on", tracking_uri=uri) as run:
        manager.load_module("one", source="run", track=True, experiment="below")
        parent = run.run_id
        run.log_metric("still_open", 1.0)
    [child] = recorded(uri, "below")
    assert child.data.tags["mlflow.parentRunId"] == parent
    assert (child.data.params["run_name"], child.data.params["source"]) == ("one", "run")
    assert MlflowClient(uri).get_run(parent).data.metrics == {"still_open": 1.0}


def test_what_can_t_be_loaded_is_a_failed_run(manager: ModelManager, uri: str, tmp_path: Path):
    foreign = manager.get_run("foreign").run_id
    with pytest.raises(UnsafeError):
        manager.load_module("foreign", source="run", track=True, experiment="failures")
    with pytest.raises(NotFoundError, match="there is no model 'nobody'"):
        manager.load_model("nobody", track=True, experiment="failures")
    with pytest.raises(NotFoundError, match="there is no folder"):
        manager.load_model(tmp_path / "nothing", source="local", track=True, experiment="failures")
    with pytest.raises(UsageError, match="is no model folder"):
        manager.load_model(tmp_path, source="local", track=True, experiment="failures")
    runs = recorded(uri, "failures", 4)
    assert {one.info.status for one in runs} == {"FAILED"}
    assert (runs[0].data.params["run_id"], len(runs[0].data.params["digest"])) == (foreign, 64)
    assert "there is no model 'nobody'" in runs[1].data.tags["agentnn.end_reason"]
    with pytest.raises(UsageError, match="there is no source 'registri' of models"):
        manager.load_model("net", source="registri")  # type: ignore[arg-type]


def test_a_store_that_is_down_does_not_keep_a_model_from_being_loaded(
    manager: ModelManager, tmp_path: Path, state_dir: Path
):
    folder = folder_of(manager, tmp_path)
    down = ModelManager("http://127.0.0.1:9")
    loaded = down.load_model(folder, source="local", trust=False, track=True)
    np.testing.assert_allclose(loaded.predict(X)[:, 0], 4.0)
    [journal] = [path for path in state_dir.glob("*/runs/*/journal") if str(folder).encode() in path.read_bytes()]
    assert b'"status": "FINISHED"' in journal.read_bytes()


def test_a_record_that_can_t_be_begun_is_said_and_the_model_is_loaded(manager: ModelManager, uri: str):
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.warns(AgentNNWarning, match="the loading of the model could not be recorded: the experiment 'gone'"):
        loaded = manager.load_model("net/1", trust=False, track=True, experiment="gone")
    np.testing.assert_allclose(loaded.predict(X)[:, 0], 2.0)


@pytest.mark.slow
def test_with_a_server(mlflow_server: MlflowServer, tmp_path: Path):
    served = ModelManager(mlflow_server.url)
    with start_run("served", tracking_uri=mlflow_server.url) as run:
        run.log_model(linear(5.0), input_example=X)
    served.register_model("net", "served", alias="champion")
    assert served.load_model("net@champion", trust=False, track=True).predict(X)[0, 0] == 10.0
    folder = served.download_model("net@champion", tmp_path / "net").folder
    assert served.load_model(folder, source="local", trust=False).predict(X)[0, 0] == 10.0
    [record] = recorded(mlflow_server.url, "model_loading")
    assert (record.data.params["model"], record.data.params["version"]) == ("net", "1")
