"""``run replay``: the same again, what differs, and the code of another commit."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli.support import environment, error_and_hint, in_process
from faults.trainers import wait_until
from mlflow import MlflowClient
from rich.console import Console
from shared_store import copy_of, shared_state
from trained import QUIET, kept_runs, write_config

import agentnn
from agentnn import ModelManager
from agentnn.cli.training_views import replay_view
from agentnn.errors import NotFoundError
from agentnn.training.replay import MetricDifference, Replay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Run

pytestmark = pytest.mark.usefixtures("undrawn")

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


@pytest.fixture(scope="module")
def base(uri: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A run that has all that a repetition must leave alone, and the folder that it was trained in."""
    folder = tmp_path_factory.mktemp("base")
    write_config(folder)
    (folder / "prices.csv").write_text(PRICES)
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MY_TOKEN", "s3cr3t-of-mine")
        own = ("--training.checkpoint_dir", "states", "--tracking.register_as", "once")
        return train("base", *own, "--tracking.params.token", "${env:MY_TOKEN}"), folder


# -- here ----------------------------------------------------------------------------------------------------


def test_the_same_comes_out_and_is_a_run_of_its_own(
    base: tuple[str, Path], uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (run_id, folder), client = base, MlflowClient(uri)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-of-mine")
    kept = (folder / "states" / "last.pt").read_bytes()
    text = Path(client.download_artifacts(run_id, "config.yaml")).read_text()
    assert "uri: null" in text
    client.log_text(run_id, text.replace("uri: null", f"uri: sqlite:///{tmp_path}/other.db"), "config.yaml")

    ran = replay(run_id, "-o", "json")
    told = json.loads(ran.stdout)
    assert (told["equal"], told["differences"], told["same_data"], told["commit"]) == (True, [], True, None)
    assert {"train_loss", "val_loss", "sharpe_ratio", "test_loss"} <= set(told["compared"])
    assert "epoch_seconds" not in told["compared"]
    assert ran.stderr.splitlines()[0] == "training base again"
    again = client.get_run(told["replayed"]["run_id"])
    assert again.data.tags["agentnn.replay_of"] == run_id
    assert (again.info.run_name, again.info.status) == ("base (replay)", "FINISHED")
    assert again.info.experiment_id == client.get_run(run_id).info.experiment_id

    assert (folder / "states" / "last.pt").read_bytes() == kept, "the checkpoints of the run are its own"
    assert len(client.search_model_versions("name = 'once'")) == 1, "a repetition registers nothing"
    assert not (tmp_path / "other.db").exists(), "what a store says leads to no other store"
    assert "s3cr3t" not in ran.stdout + ran.stderr
    without = ("-e", "tiny", "-f", "tags.`agentnn.replay_of` IS NULL", "-o", "id")
    assert told["replayed"]["run_id"] not in in_process("run", "list", *without).stdout


def test_a_secret_of_the_environment_is_asked_for_again(base: tuple[str, Path]):
    assert "MY_TOKEN" in replay(base[0], code=2).stderr


def test_what_differs_is_told_with_its_first_step(uri: str):
    run_id, client = train("spoilt"), MlflowClient(uri)
    true = {point.step: point.value for point in client.get_metric_history(run_id, "val_loss")}
    client.log_metric(run_id, "val_loss", true[2] + 0.25, step=2)
    client.log_metric(run_id, "by_hand", 1.0)
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


def test_a_person_sees_how_it_compares():
    differences = (MetricDifference("val_loss", 2, 0.5, 0.75, 1, 3),)
    for found, texts in ((), ("the same",)), (differences, ("not the same", "val_loss", "0.25")):
        told = Replay("a" * 32, "first", "b" * 32, "first (replay)", None, ("val_loss",), found, 1e-6, True)
        console = Console(width=100, record=True, file=io.StringIO())
        picture = replay_view(told).picture
        assert picture is not None
        console.print(picture(console))
        shown = console.export_text()
        for text in ("first (replay)", "as it is here", *texts):
            assert text in shown


def test_what_can_t_be_repeated_is_said(uri: str):
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


# -- commits -------------------------------------------------------------------------------------------------


def test_the_work_tree_that_the_run_was_trained_with_is_taken_as_it_is(uri: str, folder: Path):
    (folder / "code.py").write_text("a = 1\n")
    commit, manager = make_repository(folder), ModelManager(uri)
    (folder / "code.py").write_text("a = 2\n")
    run_id = train("dirty", "--tracking.log_environment", "true")
    run = MlflowClient(uri).get_run(run_id)
    assert (run.data.tags["git_dirty"], run.data.tags["git_commit"]) == ("true", commit)
    assert manager._code_of(manager.get_run(run_id), trust=False) == (None, commit, "")

    (folder / "code.py").write_text("a = 3\n")
    error, hint = error_and_hint(replay("dirty", code=7).stderr)
    assert error.endswith("which are code from the store")
    assert f"agentnn run artifacts cat {run.info.run_id} environment/changes.diff" in hint
    assert "--trust, or --here" in hint


def test_a_commit_that_is_not_here_is_said(base: tuple[str, Path], uri: str, folder: Path):
    client, manager = MlflowClient(uri), ModelManager(uri)

    def code_of(commit: str) -> object:
        client.set_tag(base[0], "git_commit", commit)
        try:
            return manager._code_of(manager.get_run(base[0]), trust=False)
        finally:
            client.delete_tag(base[0], "git_commit")

    with pytest.raises(NotFoundError, match="with the commit 0123456789ab, and the working directory is in no repo"):
        code_of("0123456789abcdef0123456789abcdef01234567")
    commit = make_repository(folder)
    with pytest.raises(NotFoundError, match="and it is not in this repository") as raised:
        code_of("0123456789abcdef0123456789abcdef01234567")
    assert raised.value.hint == "go to the repository, or git fetch; --here trains with the code that is here"
    assert code_of(commit) == (None, commit, ""), "the work tree is what it was"
    assert code_of("--output=/tmp/x") == (None, None, ""), "no commit, and no option of git's"


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
    change(project, "agentnn/training/data/prices.py", "prepend=np.nan), 14)", "prepend=np.nan), 7)")  # of rsi_14
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

    with chdir(project):
        here = replay("then", "--here", "-o", "json", code=8)
    told = json.loads(here.stdout)
    assert {"train_loss", "val_loss"} <= {one["metric"] for one in told["differences"]}
    assert (told["commit"], told["same_data"]) == (None, False)
    assert "the data are not the same" in here.stderr
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
