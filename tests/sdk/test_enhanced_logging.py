"""``EnhancedMLflowLogger``: what arrives in the store, as MLflow's own client finds it; nothing ends training."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from shared_store import copy_of, ended_run, shared_state
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from agentnn import AgentNNWarning, ConfigurationManager, EnhancedMLflowLogger, start_run
from agentnn.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Run

SECRET = "s3cr3t-Swordfish"
RNG = np.random.default_rng(5)
X = RNG.normal(size=(100, 3))
Y = X @ [3.0, -1.0, 0.0]
LOGGER = EnhancedMLflowLogger()


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


def folder_of(run: Run) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


def files_of(run: Run) -> list[str]:
    folder = folder_of(run)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_everything_of_a_training_arrives(uri: str):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    with warnings.catch_warnings(), start_run("all", tracking_uri=uri):
        warnings.simplefilter("error")
        LOGGER.log_model_summary(model, "model_architecture.txt")
        LOGGER.log_model_summary(model, "shapes.txt", input_example=torch.zeros(2, 3))
        LOGGER.log_data_characteristics(X, Y, scaler=StandardScaler().fit(X), reference=X + 1)
        LOGGER.log_training_history({"train_loss": [2.0, 1.0], "val_loss": [2.0, 1.5]})
        LOGGER.log_predictions(Y, Y + 1, prefix="test_")
        LOGGER.log_feature_importance(LinearRegression().fit(X, Y), X, Y)
        LOGGER.log_metrics({"final_loss": 1.5}, step=2)
        LOGGER.log_params({"a": {"b": 1}})
        LOGGER.set_tags({"team": "quant"})
        LOGGER.log_artifact(__file__, "code")
    kept = ended_run(uri, "all")
    assert kept.info.status == "FINISHED"
    assert files_of(kept) == [
        f"code/{Path(__file__).name}",
        *(f"data/{name}" for name in ("characteristics.json", "distributions.png", "drift.json", "features.json")),
        "data/scaler.json",
        *(f"importance/{name}" for name in ("features.json", "importance.json", "importance.png")),
        *("model_architecture.json", "model_architecture.txt"),
        *(f"predictions/predictions.{kind}" for kind in ("csv", "json", "png")),
        *("shapes.json", "shapes.txt"),
        *(f"training/history.{kind}" for kind in ("csv", "json", "png")),
    ]
    folder = folder_of(kept)
    assert "parameters: 21" in (folder / "model_architecture.txt").read_text()
    assert "[2, 4]" in (folder / "shapes.txt").read_text()
    assert (folder / "training" / "history.csv").read_text() == "epoch,train_loss,val_loss\n1,2.0,2.0\n2,1.0,1.5\n"
    assert (folder / "predictions" / "predictions.png").read_bytes().startswith(b"\x89PNG")
    drift = json.loads((folder / "data" / "characteristics.json").read_text())["drift"]
    assert [one["mean_shift"] for one in drift] == pytest.approx([-1, -1, -1])
    assert kept.data.metrics["test_mae"] == pytest.approx(1)
    assert (kept.data.metrics["model_parameters"], kept.data.metrics["final_loss"]) == (21, 1.5)
    assert (kept.data.params, kept.data.tags["team"]) == ({"a.b": "1"}, "quant")
    shown = [one["path"] for one in json.loads(kept.data.tags["mlflow.loggedArtifacts"])]
    assert [path for path in shown if path.startswith("training")] == ["training/history.json"]
    assert pd.read_json(folder / "training" / "history.json", orient="split")["val_loss"].tolist() == [2.0, 1.5]


def test_a_configuration_arrives_as_params_a_file_and_tags(uri: str, tmp_path: Path):
    manager = ConfigurationManager({"model": {"hidden_layers": [8]}, "tracking": {"uri": f"http://a:{SECRET}@host"}})
    with start_run("config", tracking_uri=uri):
        LOGGER.log_config(manager.get_config())
    kept = ended_run(uri, "config")
    assert (kept.data.params["model.hidden_layers"], kept.data.params["training.batch_size"]) == ("[8]", "64")
    assert kept.data.tags["agentnn.config.hash"] == manager.record.hash
    again = tmp_path / "again.yaml"
    again.write_text((folder_of(kept) / "config.yaml").read_text())
    assert ConfigurationManager(again).record.hash == manager.record.hash
    assert SECRET not in str(kept.data) + again.read_text()


def test_any_mapping_is_a_configuration_and_its_secrets_are_struck_out(uri: str):
    config = {"net": {"width": np.int64(3)}, "db": {"password": SECRET}, "uri": f"http://a:{SECRET}@host"}
    with start_run("mapping", tracking_uri=uri):
        LOGGER.log_config(config)
    kept = ended_run(uri, "mapping")
    assert kept.data.params == {"net.width": "3", "db.password": "***", "uri": "http://***@host"}
    assert SECRET not in (folder_of(kept) / "config.yaml").read_text()


# -- code and environment ----------------------------------------------------------------------------------

SCRIPT = """
import sys
from agentnn import EnhancedMLflowLogger, start_run
logger = EnhancedMLflowLogger()
with start_run("environment"):
    logger.log_environment_details()
    logger.log_training_history({"loss": [1, 2]})
    logger.log_data_characteristics([[1.0], [2.0]])
assert "mlflow" not in sys.modules
assert "torch" not in sys.modules
"""


def test_no_secret_of_code_command_line_or_environment_arrives(uri: str, tmp_path: Path):
    """A06, in a trainer of its own: environment, argv, git remote and diff."""
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["remote", "add", "origin", f"https://ada:{SECRET}@example.org/net.git"],
    ):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    for name in ("train.py", "settings.py", ".env"):
        (tmp_path / name).write_text(SCRIPT if name == "train.py" else "before = 1\n")
    subprocess.run([*git, "add", "-f", "."], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], cwd=tmp_path, check=True)
    (tmp_path / "settings.py").write_text(
        f"epochs = 7\npassword = '{SECRET}'\nuri = 'http://a:{SECRET}@host'\nsay('{SECRET}')\n"
    )
    (tmp_path / ".env").write_text(f"WHATEVER={SECRET}\n")
    (tmp_path / "new.py").touch()
    commit = subprocess.run([*git, "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, check=True).stdout.decode()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "DB_PASSWORD": SECRET, "HARMLESS": SECRET}
    arguments = ["--epochs", "5", "--api-key", SECRET, f"--db=postgresql://a:{SECRET}@b/c", SECRET]
    script = [sys.executable, str(tmp_path / "train.py"), *arguments]
    subprocess.run(script, cwd=tmp_path, env=environment, check=True, timeout=120)
    kept = ended_run(uri, "environment")
    folder = folder_of(kept)
    told = json.loads((folder / "environment" / "environment.json").read_text())
    assert told["arguments"] == ["train.py", "--epochs", "5", "--api-key", "***", "--db=***", "***"]
    assert (told["git"]["branch"], told["git"]["dirty"], told["git"]["untracked"]) == ("main", True, ["new.py"])
    assert told["git"]["remote"] == "https://***@example.org/net.git"
    tags = kept.data.tags
    assert tags["mlflow.source.git.commit"] == tags["git_commit"] == told["git"]["commit"] == commit.strip()
    assert (tags["mlflow.source.git.branch"], tags["git_dirty"]) == ("main", "true")
    diff = (folder / "environment" / "changes.diff").read_text()
    assert "+epochs = 7" in diff
    assert ".env" not in diff
    assert f"numpy=={np.__version__}\n" in (folder / "environment" / "packages.txt").read_text()
    assert "Swordfish" not in str(kept.data)
    database = Path(uri.removeprefix("sqlite:///"))
    for path in (*folder.rglob("*"), *database.parent.glob("mlflow.db*")):
        if path.is_file():
            assert b"Swordfish" not in path.read_bytes(), path


# -- what fails --------------------------------------------------------------------------------------------


def test_without_a_run_it_warns_and_logs_nothing(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        LOGGER.log_metrics({"loss": 0.5})
        LOGGER.log_environment_details()
        LOGGER.log_model_summary(object())
    assert [record.getMessage() for record in caplog.records] == [
        "no run is open: the metrics loss is not logged",
        "no run is open: the environment is not logged",
        "no run is open: the model's summary is not logged",
    ]


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        ("log_config", (3,), "the configuration could not be recorded: a int is no configuration"),
        ("log_model_summary", ({},), "the model's summary could not be recorded: dict is no torch"),
        ("log_data_characteristics", (object(),), "the data could not be recorded: "),
        ("log_training_history", ({},), "the training history could not be recorded: the training history holds no"),
        ("log_predictions", ([1.0], [1.0, 2.0]), "the predictions could not be recorded: 1 actual values"),
        ("log_feature_importance", (len, X, Y), "the importance of the features could not be recorded: "),
    ],
)
def test_a_capture_that_fails_is_a_warning_at_its_caller(uri: str, call: str, arguments: Any, message: str):
    with start_run(f"fails in {call}", tracking_uri=uri) as run, pytest.warns(AgentNNWarning) as caught:
        getattr(LOGGER, call)(*arguments)
        run.log_metric("went_on", 1)
    assert [str(one.message)[: len(message)] for one in caught] == [message]
    assert Path(caught[0].filename).name == Path(__file__).name
    assert ended_run(uri, f"fails in {call}").data.metrics["went_on"] == 1


def test_an_example_that_does_not_fit_leaves_the_table_without_shapes(uri: str):
    with start_run("no shapes", tracking_uri=uri), pytest.warns(AgentNNWarning, match="the shapes of the layers"):
        LOGGER.log_model_summary(torch.nn.Linear(3, 1), input_example=torch.zeros(2, 9))
    assert "parameters: 4" in (folder_of(ended_run(uri, "no shapes")) / "model_summary.txt").read_text()


def test_what_is_left_out_is_said_at_the_caller(uri: str):
    with (
        start_run("left out", tracking_uri=uri),
        pytest.warns(AgentNNWarning, match="1 predictions are left") as caught,
    ):
        LOGGER.log_predictions([1.0, 2.0, float("nan")], [1.0, 2.5, 3.0])
    assert [Path(one.filename).name for one in caught] == [Path(__file__).name]
    assert ended_run(uri, "left out").data.metrics["mae"] == 0.25


def test_params_that_differ_leave_the_configuration_s_file(uri: str):
    with start_run("differ", tracking_uri=uri), pytest.warns(AgentNNWarning, match="'a' is '1' already"):
        LOGGER.log_params({"a": 1})
        LOGGER.log_config({"a": 2})
    assert files_of(ended_run(uri, "differ")) == ["config.yaml"]


def test_what_is_only_handed_on_raises_what_the_run_raises(uri: str):
    with start_run("raises", tracking_uri=uri):
        with pytest.raises(UsageError):
            LOGGER.log_metrics({"loss": "much"})
        LOGGER.log_params({"a": 1})
        with pytest.raises(ConflictError):
            LOGGER.log_params({"a": 2})
        with pytest.raises(UsageError):
            LOGGER.log_figure(object(), "a.png")


def test_an_interruption_is_not_swallowed(uri: str):
    def interrupted(_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), start_run("interrupted", tracking_uri=uri):
        LOGGER.log_feature_importance(interrupted, X, Y)
    assert ended_run(uri, "interrupted").info.status == "KILLED"
