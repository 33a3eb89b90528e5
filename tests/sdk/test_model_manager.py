"""``ModelManager``: every method, on a real SQLite store and on a real MLflow server."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import (
    ADA,
    BOB,
    CYD,
    DEE,
    EVE,
    Rows,
    agentnn,
    artifacts_of_ada,
    environment,
    error_and_hint,
    execute,
    fill,
    in_process,
)
from real_stores import free_port, make_equal

from agentnn import BestRun, ModelManager
from agentnn.cli.app import run_command
from agentnn.errors import ConflictError, NotFoundError, UnsafeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from real_stores import MlflowServer


@pytest.fixture(autouse=True)
def working_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, in which no method may leave anything."""
    folder = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(folder)
    yield folder
    assert [one.name for one in folder.iterdir()] == []


@pytest.fixture
def manager(filled: Path) -> ModelManager:
    return ModelManager(f"sqlite:///{filled}")


# -- recording ---------------------------------------------------------------------------------------------


def test_a_run_is_recorded_in_one_call_and_read_back(uri: str):
    config = {
        "optimizer": {"name": "adam", "lr": 1e-5, "betas": (0.9, 0.999)},
        "layers": [64, 32],
        "dropout": None,
        "shuffle": True,
        "empty": {},
    }
    before = deepcopy(config)
    metrics, tags = {"sharpe_ratio": 1.5, "trades": 12}, {"stage": "dev", "seed": 7}
    manager = ModelManager(uri)
    run_id = manager.track_run("first", config, metrics, tags, experiment="made-here")
    assert config == before
    run = manager.get_run(run_id)
    assert (run.name, run.experiment, run.status, run.lifecycle_stage) == ("first", "made-here", "FINISHED", "active")
    assert run.params == {
        "optimizer.name": "adam",
        "optimizer.lr": "1e-05",
        "optimizer.betas": "[0.9, 0.999]",
        "layers": "[64, 32]",
        "dropout": "None",
        "shuffle": "True",
        "empty": "{}",
    }
    assert run.metrics == {"sharpe_ratio": 1.5, "trades": 12.0}
    assert run.tags["stage"] == "dev"
    assert run.tags["seed"] == "7"
    assert run.start_time is not None
    assert run.end_time is not None
    assert run.end_time >= run.start_time


def test_a_run_without_anything_else_than_a_name_goes_to_the_default_experiment(uri: str):
    manager = ModelManager(uri)
    run = manager.get_run(manager.track_run("bare"))
    assert (run.experiment, run.params, run.metrics, run.status) == ("Default", {}, {}, "FINISHED")


def test_runs_go_to_the_experiment_that_is_there(uri: str):
    manager = ModelManager(uri)
    for name in ("one", "two"):
        manager.track_run(name, experiment="shared")
    assert [one.name for one in manager.list_experiments()].count("shared") == 1
    assert manager.count_runs("shared") == {"FINISHED": 2}


def test_metrics_that_are_not_finite_are_kept_as_what_they_are(uri: str):
    manager = ModelManager(uri)
    run_id = manager.track_run("odd", metrics={"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1})
    metrics = manager.get_run(run_id).metrics
    assert math.isnan(metrics["a"])
    assert (metrics["b"], metrics["c"], metrics["d"]) == (math.inf, -math.inf, 1.0)


@pytest.mark.parametrize("value", ["high", None, [1], {"v": 1}])
def test_a_metric_that_is_no_number_is_refused_and_nothing_is_written(value: Any, uri: str):
    manager = ModelManager(uri)
    with pytest.raises(UsageError, match="'loss' is .*, not a number"):
        manager.track_run("bad", metrics={"loss": value})
    assert manager.list_runs(view="all") == []


def test_a_deleted_experiment_still_holds_its_name(uri: str):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(ConflictError, match="'gone' is deleted but still holds its name") as caught:
        ModelManager(uri).track_run("late", experiment="gone")
    assert "restore" in caught.value.hint


def test_many_params_and_metrics_are_recorded_without_loss(uri: str):
    manager = ModelManager(uri)
    run_id = manager.track_run(
        "wide", {f"p{number}": number for number in range(350)}, {f"m{number}": number for number in range(1200)}
    )
    run = manager.get_run(run_id)
    assert len(run.params) == 350
    assert sum(run.metrics.values()) == sum(range(1200))


def test_a_name_that_mlflow_does_not_take_is_kept_and_can_be_read_back(uri: str):
    from agentnn.values.keys import decode_key

    manager = ModelManager(uri)
    run = manager.get_run(manager.track_run("odd", {"bad*key\n": 1}, {"m": 1.0}))
    assert (run.status, run.params, run.metrics) == ("FINISHED", {"bad_x002A_key_x000A_": "1"}, {"m": 1.0})
    assert decode_key(*run.params) == "bad*key\n"


def test_a_store_is_made_by_the_first_recording_and_not_by_reading(tmp_path: Path):
    manager = ModelManager(f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(ConnectionError):
        manager.list_runs()
    assert list(tmp_path.iterdir()) == []
    run_id = manager.track_run("first", metrics={"m": 1.0})
    assert [run.run_id for run in manager.list_runs()] == [run_id]


def test_recording_leaves_the_environment_as_it_was(uri: str):
    before = dict(os.environ)
    ModelManager(uri).track_run("clean")
    assert dict(os.environ) == before


# -- asking ------------------------------------------------------------------------------------------------


def test_experiments_are_listed_and_found_by_name_or_id(manager: ModelManager):
    assert [one.name for one in manager.list_experiments()] == ["alpha", "Default"]
    assert manager.get_experiment("alpha").experiment_id == "1"
    assert manager.get_experiment("1").name == manager.get_experiment(1).name == "alpha"
    assert manager.get_experiment("alpha").tags == {"team": "quant"}


def test_a_name_that_looks_like_an_id_is_tried_as_a_name_first(filled: Path):
    with Rows(filled) as rows:
        rows.experiment(7, "1")
    assert ModelManager(f"sqlite:///{filled}").get_experiment("1").experiment_id == "7"


def test_runs_are_counted_by_status(manager: ModelManager):
    assert manager.count_runs() == {"FINISHED": 3, "RUNNING": 1}
    assert manager.count_runs("alpha") == {"FINISHED": 3}
    assert manager.count_runs(view="all") == {"FINISHED": 4, "RUNNING": 1}


def test_runs_are_listed_the_newest_first(manager: ModelManager):
    assert [run.run_id for run in manager.list_runs()] == [DEE, CYD, BOB, ADA]
    assert [run.run_id for run in manager.list_runs(limit=2)] == [DEE, CYD]
    assert [run.run_id for run in manager.list_runs(["alpha", "Default"], view="deleted")] == [EVE]
    assert [run.run_id for run in manager.list_runs("alpha", order_by=["metrics.sharpe DESC"])] == [ADA, BOB, CYD]
    assert [run.run_id for run in manager.iter_runs(filter="params.lr = '0.01'")] == [BOB]


def test_a_run_is_found_by_every_selector(manager: ModelManager):
    for selector in (ADA, "aaaa", "ada", "@best:sharpe", "@best:loss:max", "models:/net@champion", "models:/net/2"):
        assert manager.get_run(selector).run_id == ADA, selector
    assert manager.get_run("@last").run_id == DEE
    assert manager.get_run("@last", experiment="alpha").run_id == CYD
    assert manager.get_run("models:/net/Production").run_id == BOB
    assert manager.get_run(EVE).lifecycle_stage == "deleted"


def test_a_summary_is_a_plain_dict(manager: ModelManager):
    summary = manager.get_run_summary("bob")
    assert summary == {
        "run_id": BOB,
        "status": "FINISHED",
        "metrics": {"loss": 0.125, "sharpe": 1.0},
        "params": {"optimizer": "adam", "layers": "2", "lr": "0.01"},
        "tags": {"mlflow.runName": "bob", "note": "wide"},
    }
    assert all(type(summary[key]) is dict for key in ("metrics", "params", "tags"))


def test_the_best_run_says_why_it_is(manager: ModelManager):
    best = manager.get_best_run("sharpe")
    assert isinstance(best, BestRun)
    assert (best.run_id, best.metrics["sharpe"], best.best.margin, best.best.runner_up) == (ADA, 1.25, 0.25, BOB)
    assert best.best.considered is None
    assert manager.get_best_run("sharpe", tally=True).best.considered == 2
    assert manager.get_best_run("loss", "min").run_id == BOB
    assert manager.get_best_run("loss", mode="min", filter="run_name != 'bob'").run_id == ADA
    assert manager.get_best_run("sharpe", include_unfinished=True).run_id == DEE


def test_more_than_one_best_run_is_a_list(manager: ModelManager):
    ranked = manager.get_best_run("sharpe", top=5)
    assert isinstance(ranked, list)
    assert [(run.run_id, run.best.rank) for run in ranked] == [(ADA, 1), (BOB, 2)]


@pytest.mark.parametrize("wrong", [{"mode": "avg"}, {"aggregate": "median"}, {"top": 0}])
def test_a_wrong_question_is_refused(wrong: dict[str, Any], manager: ModelManager):
    with pytest.raises(UsageError):
        manager.get_best_run("sharpe", **wrong)


def test_runs_are_compared(manager: ModelManager):
    compared = manager.compare_runs(["ada", "cyd"])
    assert [run.run_id for run in compared.runs] == [ADA, CYD]
    assert [(row.section, row.key) for row in compared.differences] == [
        ("attribute", "duration_s"),
        ("metric", "loss"),
        ("metric", "sharpe"),
    ]
    with pytest.raises(UsageError, match="1 runs can't be compared"):
        manager.compare_runs(["ada"])


def test_histories_come_in_the_order_of_steps(manager: ModelManager):
    assert [(point.step, point.value) for point in manager.get_metric_history("ada", "loss")] == [
        (0, 0.9),
        (1, 0.5),
        (2, 0.25),
    ]
    assert manager.get_metric_history("ada", "nobody") == []
    assert {key: len(points) for key, points in manager.get_metric_histories("ada").items()} == {"loss": 3, "sharpe": 1}


def test_the_names_of_fields_are_listed(manager: ModelManager):
    assert manager.list_field_keys("metric") == ["loss", "sharpe"]
    assert manager.list_field_keys("metric", "Default") == ["sharpe"]
    assert manager.list_field_keys("param") == ["layers", "lr", "optimizer"]
    assert "note" in manager.list_field_keys("tag")


def test_models_and_their_versions_are_listed(manager: ModelManager):
    [model] = manager.list_models()
    assert (model.name, model.latest_version, model.aliases, model.stages) == (
        "net", 2, {"champion": 2}, {"Production": 1},
    )  # fmt: skip
    assert model == manager.get_model("net")
    assert manager.list_models(with_metrics=True)[0].metrics == {"loss": 0.25, "sharpe": 1.25}
    assert [one.version for one in manager.list_model_versions("net")] == [2, 1]
    with pytest.raises(NotFoundError, match="there is no model 'nett'"):
        manager.list_model_versions("nett")


@pytest.mark.parametrize(
    ("name", "version", "found"),
    [
        ("net", None, 2),
        ("net", 1, 1),
        ("net", "1", 1),
        ("net", "champion", 2),
        ("net", "Production", 1),
        ("net", "production", 1),
        ("models:/net@champion", None, 2),
        ("models:/net/1", None, 1),
        ("models:/net/latest", None, 2),
        ("net@champion", None, 2),
    ],
)
def test_a_version_is_found_by_number_alias_or_stage(name: str, version: Any, found: int, manager: ModelManager):
    assert manager.get_model_version(name, version).version == found


@pytest.mark.parametrize("version", [3, "challenger", "Staging", 0])
def test_a_version_that_is_not_there_is_an_error(version: Any, manager: ModelManager):
    with pytest.raises(NotFoundError, match="has no version, alias or stage"):
        manager.get_model_version("net", version)


# -- artifacts and models ----------------------------------------------------------------------------------


@pytest.fixture
def artifacts(filled: Path) -> ModelManager:
    folder = artifacts_of_ada(filled, filled.parent / "files")
    (folder / "plots" / "deep").mkdir(parents=True)
    (folder / "plots" / "loss.png").write_bytes(b"12345")
    (folder / "plots" / "deep" / "x.txt").write_text("x")
    (folder / "notes.txt").write_text("done")
    (filled.parent / "outside.txt").write_text("private")
    return ModelManager(f"sqlite:///{filled}")


def test_artifacts_are_listed_a_folder_at_a_time(artifacts: ModelManager):
    assert [(one.path, one.is_dir, one.size) for one in artifacts.list_artifacts("ada")] == [
        ("notes.txt", False, 4),
        ("plots", True, None),
    ]
    assert [(one.path, one.is_dir) for one in artifacts.list_artifacts("ada", "plots")] == [
        ("plots/deep", True),
        ("plots/loss.png", False),
    ]
    assert [one.path for one in artifacts.list_artifacts("ada", "plots/deep/")] == ["plots/deep/x.txt"]


@pytest.mark.parametrize("path", ["..", "../", "plots/../..", "/etc", "plots/../../files", "../outside.txt"])
def test_a_path_that_leaves_the_run_is_refused(path: str, artifacts: ModelManager):
    with pytest.raises(UnsafeError, match="leaves the run's folder"):
        artifacts.list_artifacts("ada", path)


def test_a_file_is_listed_as_itself(artifacts: ModelManager):
    assert [one.path for one in artifacts.list_artifacts("ada", "notes.txt")] == ["notes.txt"]


@pytest.mark.parametrize("path", ["missing", "notes.txt/missing", "plots/missing"])
def test_a_folder_that_is_not_there_is_an_error(path: str, artifacts: ModelManager):
    with pytest.raises(NotFoundError, match="there is no artifact"):
        artifacts.list_artifacts("ada", path)


def test_a_link_that_leaves_the_run_is_not_followed(artifacts: ModelManager, filled: Path):
    (filled.parent / "files" / ADA / "artifacts" / "escape").symlink_to("/etc")
    with pytest.raises((UnsafeError, NotFoundError)):
        artifacts.list_artifacts("ada", "escape")


LOG_MODELS = """
import mlflow, mlflow.pyfunc, os
from mlflow import MlflowClient

class Times(mlflow.pyfunc.PythonModel):
    def __init__(self, factor):
        self.factor = factor

    def predict(self, context, model_input: list[float], params=None) -> list[float]:
        return [value * self.factor for value in model_input]

client = MlflowClient()
experiment_id = client.create_experiment("models", artifact_location=os.path.abspath("artifacts"))
for factor in (1, 2, 3):
    with mlflow.start_run(experiment_id=experiment_id, run_name=f"times-{factor}"):
        mlflow.log_metric("score", factor)
        mlflow.pyfunc.log_model(
            name="model", python_model=Times(factor), pip_requirements=["mlflow"],
            registered_model_name="times", input_example=[1.0, 2.0],
        )
client.set_registered_model_alias("times", "champion", "2")
client.transition_model_version_stage("times", "1", "Production")
"""


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, template_database: Path) -> ModelManager:
    """A store with a model of MLflow 3 in three versions, each of which multiplies by its number.

    Another process logs them: MLflow's fluent functions write to the environment of the one that calls them.
    """
    folder = tmp_path_factory.mktemp("registered")
    shutil.copyfile(template_database, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    logged = subprocess.run(
        [sys.executable, "-c", LOG_MODELS],
        cwd=folder,
        env=environment({"MLFLOW_TRACKING_URI": uri}),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert logged.returncode == 0, logged.stderr
    return ModelManager(uri)


@pytest.mark.parametrize(
    ("stage", "factor"), [("Production", 1), ("production", 1), ("champion", 2), (2, 2), ("3", 3), (3, 3)]
)
def test_a_model_is_loaded_by_stage_alias_or_version(stage: str | int, factor: int, registered: ModelManager):
    assert list(registered.load_model_from_registry("times", stage).predict([2.0])) == [2.0 * factor]


@pytest.mark.parametrize(
    ("uri", "factor"),
    [("models:/times@champion", 2), ("models:/times/1", 1), ("models:/times/Production", 1), ("times", 3)],
)
def test_a_model_is_loaded_by_its_uri(uri: str, factor: int, registered: ModelManager):
    assert list(registered.load_model(uri).predict([2.0])) == [2.0 * factor]


def test_a_model_is_loaded_from_its_run(registered: ModelManager):
    run = registered.get_run("times-2")
    assert list(registered.load_model(f"runs:/{run.run_id}/model").predict([2.0])) == [4.0]


def test_a_model_that_is_pickled_is_not_loaded_without_trust(registered: ModelManager):
    with pytest.raises(UnsafeError, match="runs code that it brings along") as caught:
        registered.check_model("times@champion")
    assert "--trust" in caught.value.hint
    with pytest.raises(UnsafeError):
        registered.load_model("times", trust=False)


def test_a_trusted_model_is_tried_on_its_own_example(registered: ModelManager):
    check = registered.check_model("models:/times@champion", trust=True)
    assert (check.flavors, check.example_rows, check.prediction) == (("python_function",), 2, [2.0, 4.0])
    assert check.size > 0
    assert check.files >= 3
    json.dumps(check.to_dict(), allow_nan=False)


def test_the_command_line_refuses_and_trusts_likewise(registered: ModelManager):
    uri = registered.settings.tracking_uri
    refused = in_process("--tracking-uri", uri, "model", "load", "times@champion")
    error, hint = error_and_hint(refused.stderr)
    assert (refused.returncode, refused.stdout) == (7, "")
    assert "--trust" in hint
    trusted = in_process("--tracking-uri", uri, "model", "load", "times@champion", "--trust", "-o", "json")
    assert trusted.returncode == 0, trusted.stderr
    assert json.loads(trusted.stdout)["prediction"] == [2.0, 4.0]


def test_a_model_that_mlflow_keeps_beside_the_run_is_listed_among_its_artifacts(registered: ModelManager):
    assert ("model", True) in [(one.path, one.is_dir) for one in registered.list_artifacts("times-1")]
    inside = {one.path for one in registered.list_artifacts("times-1", "model")}
    assert {"model/MLmodel", "model/python_model.pkl"} <= inside


def test_a_model_that_a_run_has_stored_is_registered(registered: ModelManager):
    version = registered.register_model("copy", "times-3", alias="fresh")
    assert (version.name, version.version, version.aliases) == ("copy", 1, ("fresh",))
    assert version.run_id == registered.get_run("times-3").run_id
    assert list(registered.load_model("copy@fresh").predict([2.0])) == [6.0]
    with pytest.raises(NotFoundError):
        registered.register_model("copy", "times-3", artifact_path="missing")


def test_a_model_whose_files_are_gone_is_said_to_be(registered: ModelManager, tmp_path: Path):
    database = tmp_path / "mlflow.db"
    shutil.copyfile(registered.settings.tracking_uri.removeprefix("sqlite:///"), database)
    execute(database, "UPDATE model_versions SET source = '/nowhere/at/all', storage_location = '/nowhere/at/all'")
    with pytest.raises(NotFoundError, match="there is no model at /nowhere/at/all"):
        ModelManager(f"sqlite:///{database}").load_model("times")


# -- a real server -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(
    mlflow_server: MlflowServer,
    _server_database: Path,
    _server_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """The URL of an ``mlflow server`` and the database behind it."""
    filled = tmp_path_factory.mktemp("filled") / "mlflow.db"
    shutil.copyfile(_server_template, filled)
    fill(filled)
    make_equal(_server_database, filled)
    return mlflow_server.url, _server_database


def ask(uri: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command in process, where MLflow is loaded once; its exit code and what it wrote to both streams."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command(["--tracking-uri", uri, *arguments])
    return code, out.getvalue(), err.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("experiment", "list"),
        ("experiment", "show", "alpha"),
        ("run", "list"),
        ("run", "list", "-e", "alpha", "--sort", "metrics.loss", "-f", "params.lr < 0.1 OR tags.note = 'wide'"),
        ("run", "show", "ada"),
        ("run", "show", "@best:sharpe"),
        ("run", "best", "-m", "sharpe"),
        ("run", "best", "-m", "loss", "--mode", "min", "--top", "3"),
        ("run", "history", "ada", "-m", "loss"),
        ("model", "list"),
        ("model", "versions", "net"),
        ("model", "show", "net@champion"),
        ("run", "check", "bob", "-r", "sharpe > 0", "--baseline", "models:/net@champion", "--max-regress", "30%"),
        ("run", "compare", "ada", "bob", "--fail-if-worse", "loss:min"),
        ("run", "list", "-e", "alpha", "--group-by-params", "--over", "lr"),
        ("run", "best", "-m", "sharpe", "--group-by-params", "--over", "lr"),
        ("run", "watch", "ada"),
    ],
    ids=" ".join,
)
def test_a_server_gives_the_answers_of_the_database_behind_it(command: tuple[str, ...], server: tuple[str, Path]):
    url, database = server
    code, out, err = ask(url, *command, "-o", "json")
    assert code == 0, err
    expected_code, expected_out, expected_err = ask(f"sqlite:///{database}", *command, "-o", "json")
    assert (expected_code, err) == (0, expected_err)
    assert json.loads(out) == json.loads(expected_out)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("run", "show", "nobody"),
        ("run", "best", "-m", "nobody"),
        ("run", "list", "-e", "nobody"),
        ("experiment", "show", "99"),
        ("model", "show", "nobody"),
        ("run", "list", "-f", "metrics.loss <"),
    ],
    ids=" ".join,
)
def test_a_server_gives_the_errors_of_the_database_behind_it(command: tuple[str, ...], server: tuple[str, Path]):
    url, database = server
    code, out, err = ask(url, *command)
    assert code in (2, 3)
    expected_code, expected_out, expected_err = ask(f"sqlite:///{database}", *command)
    assert (code, out, err.replace(url, "STORE")) == (
        expected_code, expected_out, expected_err.replace(f"sqlite:///{database}", "STORE"),
    )  # fmt: skip


@pytest.mark.slow
def test_the_executable_asks_a_server_too(server: tuple[str, Path]):
    ran = agentnn("run", "best", "-m", "sharpe", "-o", "id", env={"MLFLOW_TRACKING_URI": server[0]})
    assert (ran.returncode, ran.stdout) == (0, f"{ADA}\n"), ran.stderr
    assert ran.stderr == "2 runs considered; left out: 1 not finished, 1 NaN\n"


@pytest.mark.slow
def test_a_run_is_recorded_over_http(server: tuple[str, Path]):
    url, database = server
    remote = ModelManager(url)
    run_id = remote.track_run("remote", {"a": {"b": 1}}, {"remote_score": 2.5}, {"t": "x"}, experiment="remote-made")
    local = ModelManager(f"sqlite:///{database}")
    try:
        for manager in (remote, local):
            summary = manager.get_run_summary(run_id)
            assert (summary["status"], summary["params"], summary["metrics"]) == (
                "FINISHED", {"a.b": "1"}, {"remote_score": 2.5},
            )  # fmt: skip
            assert manager.get_best_run("remote_score").run_id == run_id
            assert manager.list_artifacts(run_id) == [] if manager is remote else True
    finally:  # the other tests compare whole lists
        execute(database, f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = '{run_id}'")


@pytest.mark.slow
@pytest.mark.parametrize("command", [("run", "list"), ("model", "list")], ids=" ".join)
def test_a_server_that_is_down_is_4_within_35_seconds(command: tuple[str, ...], tmp_path: Path):
    started = time.monotonic()
    ran = agentnn("--tracking-uri", f"http://127.0.0.1:{free_port()}", *command, cwd=tmp_path, timeout=60)
    took = time.monotonic() - started
    error, hint = error_and_hint(ran.stderr)
    assert (ran.returncode, ran.stdout) == (4, "")
    assert "does not answer" in error
    assert hint
    assert took < 35
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_web_page_that_is_no_server_of_mlflow_is_4(tmp_path: Path):
    pages = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port := free_port()), "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        ran = agentnn("--tracking-uri", f"http://127.0.0.1:{port}", "run", "list", cwd=tmp_path, timeout=60)
    finally:
        pages.terminate()
        pages.wait()
    error_and_hint(ran.stderr)
    assert (ran.returncode, ran.stdout) == (4, "")
