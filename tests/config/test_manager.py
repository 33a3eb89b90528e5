"""``ConfigurationManager`` beside a real store: the history of a configuration, and how runs differ."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from agentnn import ConfigurationManager, ModelManager, start_run
from agentnn.errors import NotFoundError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration in the working directory, outside of any repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    path = tmp_path / "train's.yaml"
    path.write_text("training: {epochs: 3}\n")
    return path


def record(client: MlflowClient, name: str, manager: ConfigurationManager, *, file: bool = True) -> str:
    """A run as MLflow itself writes it, which used a configuration."""
    run_id: str = client.create_run("0", run_name=name).info.run_id
    for key, value in manager.record.tags.items():
        client.set_tag(run_id, key, value)
    if file:
        client.log_text(run_id, manager.record.to_yaml(), "config.yaml")
    for key, value in (("training.epochs", manager.get_config().training.epochs), ("model.hidden_layers", [32, 32])):
        client.log_param(run_id, key, value)
    client.set_terminated(run_id)
    return run_id


def test_the_runs_that_used_a_file_or_the_same_values(uri: str, path: Path):
    client = MlflowClient(uri)
    plain = ConfigurationManager(path)
    overridden = ConfigurationManager(path, ["--training.epochs", "5"])
    same_values = ConfigurationManager({"training": {"epochs": 3}})
    ids = {
        "plain": record(client, "plain", plain),
        "overridden": record(client, "overridden", overridden),
        "same values": record(client, "same values", same_values),
    }
    record(client, "other", ConfigurationManager({"training": {"epochs": 9}}))
    found = plain.history(manager=ModelManager(uri))
    assert [(one.kind, one.name, one.id) for one in found] == [
        ("run", name, ids[name]) for name in ("same values", "overridden", "plain")
    ]
    assert found[1].overrides == ("--training.epochs 5",)
    assert found[1].config_hash == overridden.record.hash
    assert [one.name for one in same_values.history(manager=ModelManager(uri))] == ["same values", "plain"]


def test_without_a_store_and_a_repository_there_is_no_history_and_nothing_is_made(path: Path):
    before = sorted(path.parent.iterdir())
    assert ConfigurationManager(path).history() == []
    assert sorted(path.parent.iterdir()) == before


def test_how_files_dicts_and_runs_differ(uri: str, path: Path):
    client, store = MlflowClient(uri), ModelManager(uri)
    run_id = record(client, "ada", ConfigurationManager(path, {"training.epochs": 5, "model.dropout": 0.5}))
    expected = [("model.dropout", 0.5, 0.0, "changed"), ("training.epochs", 5, 3, "changed")]
    for right in (
        path,
        str(path),
        ConfigurationManager(path),
        ConfigurationManager(path).get_config(),
        {"training": {"epochs": 3}},
    ):
        assert [tuple(one) for one in ConfigurationManager.diff(run_id, right, manager=store)] == expected
    assert ConfigurationManager.diff("ada", run_id, manager=store) == []


def test_a_run_without_the_file_is_compared_by_its_params(uri: str, path: Path):
    record(MlflowClient(uri), "ada", ConfigurationManager(path), file=False)
    found = ConfigurationManager.diff("ada", {"training": {"epochs": 4}}, manager=ModelManager(uri))
    changed = [(one.key, one.left, one.right) for one in found if one.change == "changed"]
    assert changed == [("training.epochs", 3, 4)]
    MlflowClient(uri).create_run("0", run_name="bare")
    with pytest.raises(NotFoundError):
        ConfigurationManager.diff("bare", {}, manager=ModelManager(uri))
    with pytest.raises(NotFoundError):
        ConfigurationManager.diff("nobody", {}, manager=ModelManager(uri))


def test_a_run_of_ours_keeps_a_configuration(uri: str, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MY_TOKEN", "hunter2")
    manager = ConfigurationManager(path, ["--training.epochs=4", "--tracking.params.token", "${env:MY_TOKEN}"])
    with start_run("ada") as run:
        manager.record.log_to(run)
    client = MlflowClient(uri)
    kept = client.get_run(run.run_id)
    assert (kept.data.params["training.epochs"], kept.data.params["model.hidden_layers"]) == ("4", "[32, 32]")
    assert kept.data.params["tracking.params.token"] == "${env:MY_TOKEN}"
    text = Path(client.download_artifacts(run.run_id, "config.yaml", str(path.parent))).read_text()
    assert "hunter2" not in text + str(kept.data)
    (path.parent / "again.yaml").write_text(text)
    again = ConfigurationManager(path.parent / "again.yaml")
    assert again.get_config() == manager.get_config()
    assert again.record.hash == kept.data.tags["agentnn.config.hash"]
    assert [one.id for one in manager.history()] == [run.run_id]
    assert ConfigurationManager.diff("ada", manager) == []


def test_a_configuration_can_be_logged_as_the_mapping_that_it_is(uri: str, path: Path):
    run_id = ModelManager(uri).track_run("ada", ConfigurationManager(path).get_config())
    assert MlflowClient(uri).get_run(run_id).data.params["data.split.train"] == "0.6"
