"""``run train``: what a shell sees of it, and what is in the store afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from cli.support import EXECUTABLE, agentnn, environment, error_and_hint, in_process, in_terminal
from faults.trainers import wait_until
from mlflow import MlflowClient
from shared_store import copy_of, shared_state
from trained import LONG, QUIET, TINY, files_of, history_of, kept_runs, weights_of, write_config

from agentnn import ModelManager
from agentnn.config.loader import load_config
from agentnn.errors import ConflictError
from agentnn.sdk.configurations_of_runs import check_data_are_the_same
from agentnn.training import train_nn_model
from agentnn.training.data.prices import load_prices, make_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Run
    from real_stores import MlflowServer


pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    write_config(tmp_path)
    return tmp_path


def train(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    ran = in_process("run", "train", *arguments)
    assert ran.returncode == code, ran.stderr
    return ran


@pytest.fixture(scope="module")
def trained(uri: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One training with all that belongs to it: its JSON, and what it said."""
    place = tmp_path_factory.mktemp("trained")
    write_config(place)
    with chdir(place), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        ran = in_process("run", "train", "tiny.yaml", "--name", "first", "--tag", "owner=ada", "-o", "json")
    assert ran.returncode == 0, ran.stderr
    return {**json.loads(ran.stdout), "stderr": ran.stderr}


@pytest.fixture(scope="module")
def kept(uri: str, trained: dict[str, Any]) -> Run:
    return MlflowClient(uri).get_run(trained["run_id"])


# -- what is in the store ------------------------------------------------------------------------------------


def test_the_run_has_its_configuration_its_data_and_its_tags(kept: Run, trained: dict[str, Any]):
    params, tags = kept.data.params, kept.data.tags
    assert (kept.info.status, kept.info.run_name) == ("FINISHED", "first")
    assert (params["training.epochs"], params["model.hidden_layers"], params["data.window"]) == ("3", "[4]", "1")
    assert (params["dataset.name"], params["dataset.train_samples"]) == ("goog", "590")
    assert (params["dataset.task"], params["dataset.test_end"]) == ("direction", "2008-10-13")
    assert params["dataset.digest"] == trained["dataset"]["digest"]
    assert (tags["project"], tags["owner"], tags["model_type"], tags["dataset"]) == ("X", "ada", "mlp", "goog")
    assert len(tags["agentnn.config.hash"]) == 64
    assert "252 periods, ddof 1, risk-free 0" in tags["agentnn.metric_conventions"]
    assert json.loads(tags["agentnn.equity_curve"])["dates"] == ["2008-01-03", "2008-10-14"]


def test_every_epoch_and_the_ends_are_in_the_run(uri: str, kept: Run, trained: dict[str, Any]):
    for name in ("train_loss", "val_loss", "val_accuracy", "learning_rate"):
        points = history_of(uri, kept.info.run_id, name)
        assert points == list(zip((1, 2, 3), trained["history"][name], strict=True)), name
    assert kept.data.metrics.items() >= trained["metrics"].items()
    metrics = kept.data.metrics
    assert metrics["best_val_loss"] == min(trained["history"]["val_loss"]) == pytest.approx(metrics["validation_loss"])
    assert trained["best_epoch"] == metrics["best_epoch"]
    for name in ("sharpe_ratio", "max_drawdown", "validation_sharpe_ratio", "buy_and_hold_sharpe_ratio", "test_loss",
                 "test_accuracy", "n_trades", "test_drift_max_ks", "validation_drift_max_ks"):  # fmt: skip
        assert name in metrics
        assert len(history_of(uri, kept.info.run_id, name)) == 1, name


def test_the_files_tell_the_rest(uri: str, kept: Run):
    files = files_of(uri, kept.info.run_id)
    assert files >= {
        "config.yaml", "environment/environment.json", "environment/packages.txt", "model_summary.txt",
        "data/train/characteristics.json", "data/train/scaler.json", "data/train/distributions.png",
        "data/validation/drift.json", "data/test/drift.json", "training/history.csv", "training/history.png",
        "predictions/predictions.csv", "importance/importance.json", "importance/importance.png",
        "backtest/results.json", "backtest/trades.csv", "backtest/portfolio_values.csv",
        "backtest/equity_and_drawdown.png", "model/MLmodel", "model/data/network/weights.pt",
    }  # fmt: skip
    client = MlflowClient(uri)
    values = Path(client.download_artifacts(kept.info.run_id, "backtest/portfolio_values.csv")).read_text().splitlines()
    assert values[0] == "date,value,position,net_return"
    assert (values[1].split(",")[0], len(values)) == ("2008-01-03", 1 + 1 + 197)
    assert float(values[-1].split(",")[1]) == pytest.approx(1 + kept.data.metrics["total_return"])
    summary = Path(client.download_artifacts(kept.info.run_id, "model_summary.txt")).read_text()
    assert "[2, 1, 3]" in summary  # the shapes of the example


def test_the_network_loads_without_trust_and_says_the_same(uri: str, kept: Run, trained: dict[str, Any]):
    loaded = ModelManager(uri).load_model(f"runs:/{kept.info.run_id}/model", trust=False)
    samples = make_samples(load_prices(), 1).inputs[-197:]
    columns = [0, 1, 8]  # return_1, return_5, rsi_14
    said = loaded.predict(samples[:, :, columns])
    path = MlflowClient(uri).download_artifacts(kept.info.run_id, "predictions/predictions.csv")
    logged = np.genfromtxt(path, delimiter=",", names=True)["predicted"]
    np.testing.assert_allclose(said, logged, rtol=1e-5)
    assert ((said > 0.5) == (np.genfromtxt(path, delimiter=",", names=True)["actual"] > 0.5)).mean() == pytest.approx(
        trained["metrics"]["test_accuracy"]
    )


def test_a_model_version_comes_of_it_where_that_is_said(uri: str):
    ran = train("tiny.yaml", *QUIET, "--tracking.register_as", "direction", "--training.epochs", "1", "-o", "json")
    told = json.loads(ran.stdout)
    assert told["registered"] == "direction/1"
    assert "registered as models:/direction/1" in ran.stderr
    assert MlflowClient(uri).get_model_version("direction", "1").run_id == told["run_id"]
    assert in_process("model", "load", "direction/1").returncode == 0  # without --trust
    _, hint = error_and_hint(train("tiny.yaml", "--tracking.register_as", "a/b", code=2).stderr)
    assert hint


# -- what is said --------------------------------------------------------------------------------------------


def test_what_is_said_on_the_way(trained: dict[str, Any]):
    first, ratio, last = trained["stderr"].splitlines()
    assert first == "training first on goog: 590 samples to learn from, 197 to choose, 197 unseen"
    assert ratio.startswith("Sharpe ratio on days it never saw: ")
    assert last == f"see agentnn run show {trained['run_id']}"


def test_a_pipe_gets_the_metrics_part_by_part_and_a_folder_that_is_named_keeps_the_checkpoints(folder: Path):
    lines = train("tiny.yaml", *QUIET, "--training.checkpoint_dir", "states").stdout.splitlines()
    assert (folder / "states" / "last.pt").is_file()
    assert lines[0] == "metric\tvalidation\ttest\tbuy_and_hold"
    assert [line.split("\t")[0] for line in lines[1:4]] == ["loss", "accuracy", "total_return"]


def test_a_person_sees_a_bar_and_a_table(uri: str):
    shown = ("--name", "seen", "--training.progress", "true")
    seen = in_terminal("run", "train", "tiny.yaml", *QUIET, *shown, width=100, env={"MLFLOW_TRACKING_URI": uri})
    assert seen.code == 0
    assert "━━━" in seen.text
    for text in ("validation", "buy_and_hold", "sharpe_ratio", "3 epochs, the best one is"):
        assert text in seen.text
    assert max(len(line) for line in seen.text.splitlines() if "sharpe" in line) < 100


# -- what is refused -----------------------------------------------------------------------------------------


def test_a_wrong_configuration_is_refused_before_anything_heavy_is_loaded(uri: str, folder: Path):
    script = (
        "import sys\n"
        "from agentnn.cli.app import run_command\n"
        "code = run_command(['run', 'train', 'tiny.yaml', '--training.epoch', '5'])\n"
        "print(code, [one for one in ('torch', 'mlflow', 'numpy', 'pandas') if one in sys.modules])\n"
    )
    before = len(kept_runs(uri))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=True)
    assert ran.stdout == "2 []\n"
    assert "training.epoch: unknown key (did you mean epochs?)" in ran.stderr
    assert len(kept_runs(uri)) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tiny.yaml", "--data.path", "none.csv"], 3, "there is no file"),
        (["tiny.yaml", "--data.path", "gap.csv"], 5, "gap.csv:3: the value of return_1 is missing"),
        (["tiny.yaml", "--data.features", "[return_1, retrun_5]"], 2, "'retrun_5' is neither a column of goog"),
        (["tiny.yaml", "--model.input_dim", "7"], 2, "model.input_dim is 7, but the data have 3 features"),
        (["tiny.yaml", "--training.momentum", "0.9"], 2, "training.momentum: AdamW has none"),
        (["tiny.yaml", "--backtest.position_rule", "long_short", "--backtest.threshold", "0.2"], 2, "both be true"),
        (["tiny.yaml", "--model.output_dim", "2"], 2, "model.output_dim is 2: expected 1"),
        ([], 2, "there is no configuration to train from"),
        (["--training.epochs", "5"], 2, "the configuration stands before its overrides"),
        (["tiny.yaml", "--tag", "x"], 2, "x"),
    ],
)
def test_what_can_t_be_trained_leaves_no_run(uri: str, folder: Path, arguments: list[str], code: int, message: str):
    (folder / "gap.csv").write_text("date,close,return_1,return_5,rsi_14\n2020-01-01,1,1,1,1\n2020-01-02,1,,1,1\n")
    before = len(kept_runs(uri))
    error, hint = error_and_hint(train(*arguments, code=code).stderr)
    assert message in error
    assert hint
    assert len(kept_runs(uri)) == before


def test_a_loss_that_is_no_longer_finite_is_a_failure(uri: str):
    hot = ("--training.optimizer", "SGD", "--training.learning_rate", "1e30", "--training.loss", "mse")
    ran = train("tiny.yaml", *QUIET, *hot, "--name", "hot", code=8)
    assert "no longer finite" in ran.stderr
    [run] = [one for one in kept_runs(uri) if one.info.run_name == "hot"]
    assert run.info.status == "FAILED"
    assert "no longer finite" in run.data.tags["agentnn.end_reason"]
    error, hint = error_and_hint(train("--resume", "hot", code=3).stderr)
    assert error.startswith("the run 'hot' has no checkpoint")
    assert "train again" in hint
    assert "nobody" in error_and_hint(train("--resume", "nobody", code=3).stderr)[0]


# -- stores --------------------------------------------------------------------------------------------------


def test_a_store_that_is_down_does_not_stop_training(state_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    ran = train("tiny.yaml", *QUIET, "-o", "json")
    told = json.loads(ran.stdout)
    assert told["run_id"] is None
    assert told["metrics"]["best_epoch"] >= 1
    assert f"waits on this machine as {told['uuid']}" in ran.stderr
    [journal] = state_dir.glob(f"*/runs/{told['uuid']}/journal")
    assert b'"status": "FINISHED"' in journal.read_bytes()


def test_a_real_server_that_the_configuration_names(mlflow_server: MlflowServer):
    server = ("--tracking.uri", mlflow_server.url, "--experiment.name", "served", "--tracking.register_as", "served")
    told = json.loads(train("tiny.yaml", *QUIET, *server, "-o", "json").stdout)
    run = MlflowClient(mlflow_server.url).get_run(told["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics.items() >= told["metrics"].items()
    assert "model/data/network/weights.pt" in files_of(mlflow_server.url, told["run_id"])
    assert told["registered"].startswith("served/")


def test_the_store_of_the_option_goes_before_that_of_the_configuration(uri: str):
    config = load_config({"tracking": {"uri": "sqlite:///named.db"}})
    assert ModelManager()._for(config).settings.tracking_uri == "sqlite:///named.db"
    assert ModelManager()._for(config).settings.registry_uri == "sqlite:///named.db"
    assert ModelManager(uri)._for(config).settings.tracking_uri == uri
    assert ModelManager()._for(load_config({})).settings.tracking_uri == uri


# -- broken off, and gone on with ----------------------------------------------------------------------------


def start(*arguments: str) -> subprocess.Popen[str]:
    """A training in a process of its own, in the background."""
    return subprocess.Popen(
        [str(EXECUTABLE), "run", "train", *arguments],
        env=environment({"MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def wait_for_a_checkpoint(state_dir: Path, process: subprocess.Popen[str]) -> Path:
    found: list[Path] = []

    def is_there() -> bool:
        found[:] = [one for one in state_dir.glob("*/checkpoints/*/last.pt") if one.stat().st_mtime > began]
        return bool(found) or process.poll() is not None

    began = time.time() - 5
    wait_until(is_there, "the first checkpoint")
    assert process.poll() is None, process.communicate()
    return found[0].parent


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_end(uri: str, state_dir: Path):
    whole = json.loads(train("tiny.yaml", *QUIET, *LONG, "--name", "whole", "-o", "json").stdout)
    for one in state_dir.glob("*/checkpoints/*"):
        assert one.name != whole["uuid"], "the checkpoints of a run that has finished are gone"
    process = start("tiny.yaml", *QUIET, *LONG, "--name", "killed")
    checkpoints = wait_for_a_checkpoint(state_dir, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(
        lambda: [one for one in kept_runs(uri) if one.info.run_name == "killed" and one.info.status != "RUNNING"],
        "the end of the killed run",
    )
    [killed] = [one for one in kept_runs(uri) if one.info.run_name == "killed"]
    assert killed.data.tags["agentnn.checkpoints"] == str(checkpoints)

    resumed = json.loads(train("--resume", "killed", "-o", "json").stdout)
    assert resumed["run_id"] == killed.info.run_id
    assert 1 <= resumed["resumed_from"] < 120
    assert MlflowClient(uri).get_run(killed.info.run_id).info.status == "FINISHED"
    measured = {"epoch_seconds"}
    ours, theirs = ({k: v for k, v in one["metrics"].items() if k not in measured} for one in (resumed, whole))
    assert ours == theirs
    for name in ("train_loss", "val_loss"):
        assert history_of(uri, killed.info.run_id, name) == history_of(uri, whole["run_id"], name)
    manager = ModelManager(uri)
    ours, theirs = weights_of(manager, killed.info.run_id), weights_of(manager, whole["run_id"])
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not checkpoints.exists()
    error, _ = error_and_hint(train("--resume", "killed", code=6).stderr)
    assert error == "the run 'killed' has finished, and there is nothing to go on with"


@pytest.mark.slow
def test_ctrl_c_ends_the_run_and_says_how_it_goes_on(uri: str, state_dir: Path, folder: Path):
    process = start("tiny.yaml", *QUIET, *LONG, "--name", "interrupted")
    wait_for_a_checkpoint(state_dir, process)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 130, shown
    [run] = [one for one in kept_runs(uri) if one.info.run_name == "interrupted"]
    assert run.info.status == "KILLED"
    assert f"agentnn run train --resume {run.info.run_id}" in shown
    assert "Traceback" not in shown

    error, _ = error_and_hint(train("tiny.yaml", "--resume", "interrupted", code=6).stderr)
    assert "was started with another configuration" in error
    assert "training.batch_size was 16 and is 64" in error


def test_other_data_are_not_gone_on_with(uri: str, trained: dict[str, Any]):
    run = ModelManager(uri).get_run(trained["run_id"])
    check_data_are_the_same(trained["dataset"]["digest"], run)
    with pytest.raises(
        ConflictError, match="the data have changed since 'first' was started: their SHA-256 was 848aa8"
    ):
        check_data_are_the_same("0" * 64, run)


# -- the script ----------------------------------------------------------------------------------------------


def test_the_script_is_the_command(
    uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (folder / "config_templates").mkdir()
    write_config(folder, TINY, "config_templates/basic_training_example.yaml")
    monkeypatch.setattr(sys, "argv", ["train_nn_model.py", "--model.learning_rate", "0.005", *QUIET, "-o", "id"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as left:
        train_nn_model.main()
    assert left.value.code == 0
    run = MlflowClient(uri).get_run(capsys.readouterr().out.strip())
    assert (run.data.params["training.learning_rate"], run.info.status) == ("0.005", "FINISHED")


def test_the_script_runs_by_its_path(folder: Path):
    command = [sys.executable, str(train_nn_model.__file__), "tiny.yaml", "--training.epoch", "5"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert ran.returncode == 2
    assert "training.epoch: unknown key (did you mean epochs?)" in ran.stderr


def test_the_commands_help_tells_what_it_does():
    shown = agentnn("run", "train", "--help").stdout
    for text in ("--resume", "--name", "--tag", "exit code 8", "overrides"):
        assert text in shown
