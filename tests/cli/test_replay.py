"""``run replay``: the same again, what differs, and the code of another commit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli.support import environment, error_and_hint, in_process, on_terminal
from faults.trainers import wait_until
from mlflow import MlflowClient
from shared_store import copy_of, shared_state
from trained import QUIET, kept_runs, write_config

import agentnn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Run

PRICES = "date,close\n" + "".join(
    f"{2000 + month // 12}-{month % 12 + 1:02d}-01,{100 + month * 7 % 13}\n" for month in range(200)
)


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
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    write_config(tmp_path)
    (tmp_path / "prices.csv").write_text(PRICES)
    return tmp_path


def train(name: str, *arguments: str) -> str:
    """The id of a run of the prices in the working directory."""
    data = ("--data.path", "prices.csv", "--data.features", "[return_1, return_5]", "--training.epochs", "2")
    ran = in_process("run", "train", "tiny.yaml", *QUIET, *data, *arguments, "--name", name, "-o", "id")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def replay(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    ran = in_process("run", "replay", *arguments)
    assert ran.returncode == code, ran.stderr
    return ran


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make_repository(root: Path) -> str:
    """All that is in a folder as a repository; its commit."""
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    return git(root, "rev-parse", "HEAD")


# -- here ----------------------------------------------------------------------------------------------------


def test_the_same_comes_out_and_is_a_run_of_its_own(uri: str, folder: Path):
    checkpoints = ("--training.checkpoint_dir", "states", "--tracking.register_as", "once")
    run_id = train("plain", *checkpoints)
    kept = (folder / "states" / "last.pt").read_bytes()
    ran = replay("plain", "-o", "json")
    told = json.loads(ran.stdout)
    assert (told["equal"], told["differences"], told["same_data"], told["commit"]) == (True, [], True, None)
    assert {"train_loss", "val_loss", "sharpe_ratio", "test_loss"} <= set(told["compared"])
    assert "epoch_seconds" not in told["compared"]
    again = MlflowClient(uri).get_run(told["replayed"]["run_id"])
    assert again.data.tags["agentnn.replay_of"] == run_id
    assert (again.info.run_name, again.info.status) == ("plain (replay)", "FINISHED")
    assert again.info.experiment_id == MlflowClient(uri).get_run(run_id).info.experiment_id
    assert (folder / "states" / "last.pt").read_bytes() == kept, "the checkpoints of the run are its own"
    assert len(MlflowClient(uri).search_model_versions("name = 'once'")) == 1
    assert ran.stderr.splitlines()[0] == "training plain again"

    best = in_process(
        "run", "best", "-m", "best_epoch", "-e", "tiny", "-f", "tags.`agentnn.replay_of` IS NULL", "-o", "id"
    )
    assert told["replayed"]["run_id"] not in best.stdout


def test_what_differs_is_told_with_its_first_step(uri: str, folder: Path):
    run_id = train("spoilt")
    client = MlflowClient(uri)
    true = {point.step: point.value for point in client.get_metric_history(run_id, "val_loss")}
    client.log_metric(run_id, "val_loss", true[2] + 0.25, step=2)
    client.log_metric(run_id, "by_hand", 1.0)
    (folder / "prices.csv").write_text(PRICES + "2020-01-01,100\n")

    ran = replay("spoilt", "--metrics", "val_loss,train_loss", "--tolerance", "0.5")
    assert "the data are not the same" in ran.stderr
    (folder / "prices.csv").write_text(PRICES)
    ran = replay("spoilt", code=8)
    lines = [line.split("\t") for line in ran.stdout.splitlines()]
    assert lines[0][:5] == ["metric", "step", "original", "replayed", "difference"]
    found = {line[0]: line for line in lines[1:]}
    assert set(found) == {"val_loss", "by_hand"}
    assert found["val_loss"][1] == "2"
    assert float(found["val_loss"][4]) == pytest.approx(-0.25)
    assert "error: 2 of " in ran.stderr
    assert "metrics of spoilt differ by more than 1e-06" in ran.stderr
    assert "hint: agentnn run compare" in ran.stderr


def test_a_person_sees_how_it_compares(uri: str, folder: Path):
    train("looked at", "--training.seed", "3")
    seen = on_terminal("run", "replay", "looked at", width=100, env={"MLFLOW_TRACKING_URI": uri})
    assert seen.code == 0
    for text in ("looked at (replay)", "as it is here", "the same"):
        assert text in seen.text


def test_what_can_t_be_repeated_is_said(uri: str, folder: Path):
    client = MlflowClient(uri)
    experiment = client.create_experiment("others")
    by_hand = client.create_run(experiment, run_name="by hand").info.run_id
    error, _ = error_and_hint(replay(by_hand, code=6).stderr)
    assert "is RUNNING: there is no end to compare with" in error
    client.set_terminated(by_hand)
    error, hint = error_and_hint(replay(by_hand, code=3).stderr)
    assert error == "the run 'by hand' has no config.yaml"
    assert hint == "it was not started by agentnn run train"
    client.log_text(by_hand, "tracking: {params: {token: '***'}}\n", "config.yaml")
    error, hint = error_and_hint(replay(by_hand, code=2).stderr)
    assert error == "tracking.params.token was a secret when 'by hand' was started, and was not kept"
    assert "${env:NAME}" in hint
    assert "tolerance" in replay(by_hand, "--tolerance", "-1", code=2).stderr


def test_a_secret_of_the_environment_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, folder: Path):
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-of-mine")
    train("secret", "--tracking.params.token", "${env:MY_TOKEN}")
    assert "s3cr3t" not in replay("secret", "-o", "json").stdout
    monkeypatch.delenv("MY_TOKEN")
    assert "MY_TOKEN" in replay("secret", code=2).stderr


def test_what_a_store_says_leads_to_no_other_store(uri: str, folder: Path, tmp_path: Path):
    run_id = train("elsewhere")
    text = Path(MlflowClient(uri).download_artifacts(run_id, "config.yaml")).read_text()
    MlflowClient(uri).log_text(run_id, text.replace("uri: null", f"uri: sqlite:///{tmp_path}/other.db"), "config.yaml")
    before = len(kept_runs(uri))
    replay(run_id)
    assert len(kept_runs(uri)) == before + 1
    assert not (tmp_path / "other.db").exists()


# -- commits -------------------------------------------------------------------------------------------------


def test_the_work_tree_that_the_run_was_trained_with_is_taken_as_it_is(uri: str, folder: Path):
    (folder / "code.py").write_text("a = 1\n")
    make_repository(folder)
    (folder / "code.py").write_text("a = 2\n")
    train("dirty", "--tracking.log_environment", "true")
    [run] = [one for one in kept_runs(uri) if one.info.run_name == "dirty"]
    assert run.data.tags["git_dirty"] == "true"
    assert json.loads(replay("dirty", "-o", "json").stdout)["commit"] is None

    (folder / "code.py").write_text("a = 3\n")
    error, hint = error_and_hint(replay("dirty", code=7).stderr)
    assert error.endswith("which are code from the store")
    assert f"agentnn run artifacts cat {run.info.run_id} environment/changes.diff" in hint
    assert "--trust, or --here" in hint


def test_a_commit_that_is_not_here_is_said(uri: str, folder: Path):
    run_id = train("far away")
    client = MlflowClient(uri)
    client.set_tag(run_id, "git_commit", "0123456789abcdef0123456789abcdef01234567")
    error, hint = error_and_hint(replay(run_id, code=3).stderr)
    assert error.endswith("with the commit 0123456789ab, and the working directory is in no repository")
    make_repository(folder)
    error, hint = error_and_hint(replay(run_id, code=3).stderr)
    assert error.endswith("and it is not in this repository")
    assert hint == "go to the repository, or git fetch; --here trains with the code that is here"
    client.set_tag(run_id, "git_commit", "--output=/tmp/x")  # no commit, and no option of git's
    replay(run_id)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds agentnn itself, and data."""
    root = tmp_path_factory.mktemp("project")
    package = Path(agentnn.__file__).parent
    shutil.copytree(package, root / "agentnn", ignore=shutil.ignore_patterns("__pycache__"))
    write_config(root)
    (root / "prices.csv").write_text(PRICES)
    (root / ".gitignore").write_text("__pycache__/\n")
    make_repository(root)
    return root


def run_in(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """agentnn as it is in the project."""
    return subprocess.run(
        [sys.executable, "-m", "agentnn", *arguments],
        cwd=project,
        env=environment({"MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]}),
        capture_output=True,
        text=True,
        check=False,
    )


def change(project: Path, file: str, old: str, new: str) -> None:
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))


@pytest.mark.slow
def test_the_code_of_the_runs_commit_is_checked_out(uri: str, project: Path):
    data = ("--data.path", "prices.csv", "--data.features", "[return_1, rsi_14]", "--training.epochs", "2")
    ran = run_in(project, "run", "train", "tiny.yaml", *QUIET, *data, "--name", "then", "-o", "id")
    assert ran.returncode == 0, ran.stderr
    commit = git(project, "rev-parse", "HEAD")
    change(project, "agentnn/training/data.py", "prepend=np.nan), 14)", "prepend=np.nan), 7)")  # of rsi_14
    change(project, "prices.csv", ",100\n", ",90\n")
    git(project, "commit", "--quiet", "-a", "-m", "second")
    before = git(project, "status", "--porcelain"), git(project, "worktree", "list"), git(project, "rev-parse", "HEAD")

    again = run_in(project, "run", "replay", "then", "-o", "json")
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert (told["equal"], told["commit"], told["same_data"]) == (True, commit, True)
    replayed: Run = MlflowClient(uri).get_run(told["replayed"]["run_id"])
    assert (replayed.info.status, replayed.data.tags["git_commit"]) == ("FINISHED", commit)
    assert replayed.data.tags["agentnn.replay_of"] == ran.stdout.strip()

    here = run_in(project, "run", "replay", "then", "--here", "-o", "json")
    assert here.returncode == 8, here.stderr
    assert {"train_loss", "val_loss"} <= {one["metric"] for one in json.loads(here.stdout)["differences"]}
    after = git(project, "status", "--porcelain"), git(project, "worktree", "list"), git(project, "rev-parse", "HEAD")
    assert after == before


@pytest.mark.slow
def test_a_replay_that_is_ended_leaves_nothing_behind(uri: str, project: Path):
    run_id, client = train("long"), MlflowClient(uri)
    text = Path(client.download_artifacts(run_id, "config.yaml")).read_text()
    client.log_text(run_id, text.replace("epochs: 2", "epochs: 100000"), "config.yaml")
    client.set_tag(run_id, "git_commit", git(project, "rev-parse", "HEAD"))
    git(project, "commit", "--quiet", "--allow-empty", "-m", "another")
    before = git(project, "worktree", "list")
    process = subprocess.Popen(
        [sys.executable, "-m", "agentnn", "run", "replay", "long"],
        cwd=project,
        env=environment({"MLFLOW_TRACKING_URI": uri}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def repetition() -> list[Run]:
        return [one for one in kept_runs(uri) if one.info.run_name == "long (replay)"]

    wait_until(lambda: repetition() or process.poll() is not None, "the repetition")
    process.send_signal(signal.SIGTERM)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 143, shown
    assert git(project, "worktree", "list") == before
    [run] = repetition()
    assert run.info.status == "KILLED"
