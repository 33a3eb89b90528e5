"""Runs between MLflow and TOML files: the same export wherever they are, and the same documents when they are back."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli.support import error_and_hint, fingerprint, in_process
from generated_stores import examples, stores, write_store
from hypothesis import HealthCheck, given, settings
from mlflow import MlflowClient
from mlflow.entities import ViewType
from transfer.full_store import BEGAN, files_of, fill, seen_by_mlflow

from agentnn import ModelManager, start_run
from agentnn.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from generated_stores import StoreSpec

CONFIG = """\
# the baseline, tuned by hand
learning_rate = 5e-5  # found by grid search
seed = 0x10
when = 2026-01-01T10:00:00

[model]
name = "CNN" # small
layers = 5
"lr*" = true

[[stages]]
n = 1

[_meta]
name = "baseline"
created_at = 2026-01-01T09:00:00Z
git_commit = "abc123"

[_meta.tags]
team = "quant"

[_wandb]
url = "https://wandb.example/runs/1"
"""
METRICS = """\
# final
accuracy = 0.92
epoch = 10
note = "good"

[val]
f1 = 1
"""


def moved(chain: Sequence[str]) -> None:
    """Take all runs from each store to the next."""
    for there, here in zip(chain, chain[1:], strict=False):
        got = ModelManager(here).import_runs(from_store=there, view="all")
        assert {run.result for run in got} == {"imported"}


def exports(chain: Sequence[str], folder: Path) -> list[dict[str, str]]:
    """The files of the exports of all runs of each store."""
    for number, uri in enumerate(chain):
        ModelManager(uri).export_runs(folder / f"export {number}", view="all")
    return [fingerprint(folder / f"export {number}") for number in range(len(chain))]


def documents(run: Path) -> tuple[bytes, bytes]:
    """The two documents of a run."""
    return (run / "config.toml").read_bytes(), (run / "metrics.toml").read_bytes()


def test_every_run_is_the_same_after_three_stores(make_store: Callable[[str], str], tmp_path: Path):
    chain = [make_store(kind) for kind in ("sqlite", "toml", "server", "toml")]
    made = fill(chain[0])
    moved(chain)
    first, *others = exports(chain, tmp_path)
    assert all(one == first for one in others)
    assert seen_by_mlflow(chain[2]) == seen_by_mlflow(chain[0])

    again = ModelManager(chain[1]).import_runs(tmp_path / "export 3")
    assert {run.result for run in again} == {"there"}
    assert {run.run_id for run in again} >= set(made.values()), "a run keeps its id"


def test_the_files_say_what_mlflow_said(make_store: Callable[[str], str]):
    source, target = make_store("sqlite"), make_store("toml")
    made = fill(source)
    moved([source, target])
    base = Path(target.removeprefix("toml:"))
    assert sorted(one.name for one in base.iterdir() if one.is_dir()) == ["Default", "curves & co"]
    project = tomllib.loads((base / "curves & co" / "project.toml").read_text())
    assert (project["name"], project["tags"]["team"]) == ("curves & co", "quant")

    folder = base / "curves & co" / made["full"]
    config = tomllib.loads((folder / "config.toml").read_text())
    meta = config["_meta"]
    stored = MlflowClient(source).get_run(made["full"])
    assert meta["status"] == "FAILED"
    assert meta["created_at"] == datetime.fromtimestamp(BEGAN / 1000, tz=UTC).replace(microsecond=30_000)
    assert (meta["run_id"], meta["name"], meta["user"]) == (made["full"], "full", "ada")
    assert meta["tags"]["tag emoji"] == stored.data.tags["tag emoji"]
    assert meta["datasets"][0]["source"] == '{"uri": "/data"}'
    assert config["val"]["loss"] == stored.data.params["val.loss"]
    assert config["param e"] == 1e-05
    metrics = tomllib.loads((folder / "metrics.toml").read_text())
    assert metrics["loss"] == stored.data.metrics["loss"]
    assert (folder / "deep" / "er" / "ü ñ.json").is_file()
    child = tomllib.loads((base / "curves & co" / made["trial 1"] / "config.toml").read_text())
    assert child == {**child, "lr": 0.1}
    assert child["_meta"]["parent_run_id"] == made["sweep"]
    gone = tomllib.loads((base / "curves & co" / made["gone"] / "config.toml").read_text())
    assert gone["_meta"]["lifecycle_stage"] == "deleted"
    assert tomllib.loads((folder / "origin.toml").read_text())["store"] == source


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(store=stores(max_runs=5).filter(lambda store: store.runs))
def test_whatever_runs_there_are_their_export_is_the_same(
    store: StoreSpec, make_store: Callable[[str], str], tmp_path: Path
):
    source, between = make_store("sqlite"), make_store("toml")
    write_store(Path(source.removeprefix("sqlite:///")), store)
    moved([source, between])
    shutil.rmtree(tmp_path / "exports", ignore_errors=True)
    (tmp_path / "exports").mkdir()
    first, second = exports([source, between], tmp_path / "exports")
    assert first == second


@pytest.fixture
def written(make_store: Callable[[str], str]) -> str:
    """A store with a run that somebody wrote by hand, and files beside it."""
    uri = make_store("toml")
    folder = Path(uri.removeprefix("toml:")) / "demo" / "baseline"
    (folder / "plots").mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    (folder / "metrics.toml").write_text(METRICS)
    (folder / "history.jsonl").write_text('{"step": 3, "time": 1767225600000, "metrics": {"accuracy": 0.92}}\n')
    (folder / "plots" / "loss.svg").write_text("<svg/>")
    (folder / ".cache").write_text("ours")
    return uri


def test_a_run_of_toml_files_comes_back_from_mlflow_with_types_and_comments(
    written: str, make_store: Callable[[str], str], tmp_path: Path
):
    chain = [written, make_store("sqlite"), make_store("toml")]
    moved(chain)
    first, *others = exports(chain, tmp_path)
    assert all(one == first for one in others)
    back = Path(chain[2].removeprefix("toml:")) / "demo" / "baseline"
    assert documents(back) == (CONFIG.encode(), METRICS.encode())

    client = MlflowClient(chain[1])
    (run,) = client.search_runs([client.get_experiment_by_name("demo").experiment_id])
    assert run.info.run_name == "baseline"
    assert run.data.params["model.layers"] == "5"
    assert run.data.params["model.lr_x002A_"] == "True", "MLflow takes no asterisk"
    assert run.data.metrics == {"accuracy": 0.92, "epoch": 10.0, "val.f1": 1.0}
    assert run.data.tags["metrics.note"] == "good"
    assert run.data.tags["wandb.url"] == "https://wandb.example/runs/1"
    assert run.data.tags["mlflow.source.git.commit"] == "abc123"
    assert files_of(client, run.info.run_id) == [
        ("config.toml", len(CONFIG)), ("metrics.toml", len(METRICS)), ("plots/loss.svg", 6),
    ]  # fmt: skip
    assert client.get_metric_history(run.info.run_id, "accuracy")[0].step == 3


def test_what_was_changed_in_mlflow_is_so_in_the_files_and_the_comments_stay(
    written: str, make_store: Callable[[str], str]
):
    chain = [written, make_store("sqlite"), make_store("toml")]
    moved(chain[:2])
    client = MlflowClient(chain[1])
    (run,) = client.search_runs([client.get_experiment_by_name("demo").experiment_id])
    client.set_tag(run.info.run_id, "team", "macro")
    client.log_metric(run.info.run_id, "accuracy", 0.95, step=4)
    moved(chain[1:])
    back = Path(chain[2].removeprefix("toml:")) / "demo" / "baseline"
    config = (back / "config.toml").read_text()
    assert "# found by grid search" in config
    assert "seed = 0x10" in config
    assert tomllib.loads(config)["_meta"]["tags"]["team"] == "macro"
    assert tomllib.loads((back / "metrics.toml").read_text())["accuracy"] == 0.95

    client.log_param(run.info.run_id, "new", "1")
    shutil.rmtree(back.parent.parent)
    moved(chain[1:])
    config = (back / "config.toml").read_text()
    assert "#" not in config, "the file of then does not say what the run is now"
    assert tomllib.loads(config)["new"] == 1
    assert tomllib.loads(config)["learning_rate"] == 5e-5


def test_another_run_of_the_same_id_is_no_copy(written: str, make_store: Callable[[str], str]):
    target = make_store("sqlite")
    moved([written, target])
    other = make_store("toml")
    folder = Path(other.removeprefix("toml:")) / "demo" / "baseline"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("learning_rate = 1.0\n")
    with pytest.raises(ConflictError, match="there is another run 'baseline'"):
        ModelManager(target).import_runs(from_store=other)
    assert [run.result for run in ModelManager(target).import_runs(from_store=written)] == ["there"]


def test_a_run_that_was_logged_here_is_the_same_everywhere_and_nothing_is_delivered_to_its_copies(
    make_store: Callable[[str], str], tmp_path: Path
):
    chain = [make_store("toml"), make_store("sqlite"), make_store("toml")]
    with start_run("parent", tracking_uri=chain[0], tags={"odd*tag": "x"}) as parent:
        parent.log_params({"model": {"layers": 3, "dropout": None, "sizes": [1, 2]}, "odd*key": 1, "long": "x" * 9000})
        parent.log_metrics({"loss": float("nan"), "größe": float("inf"), "a": 1.0, "a.b": -0.0}, 2**62)
        parent.log_text("mine", "config.toml")
        with start_run("child", nested=True) as child:
            child.log_metric("loss", 0.5, 0)
    moved(chain)
    first, *others = exports(chain, tmp_path)
    assert all(one == first for one in others)
    base, back = (Path(chain[number].removeprefix("toml:")) / "Default" for number in (0, 2))
    assert {one.name for one in back.iterdir()} == {one.name for one in base.iterdir()}
    there, here = (tomllib.loads((one / child.run_id / "config.toml").read_text())["_meta"] for one in (base, back))
    assert here["parent_run_id"] == there["parent_run_id"] == parent.run_id
    assert "agentnn.run_uuid" in there["tags"]
    assert "agentnn.run_uuid" not in here.get("tags", {})
    assert "process" not in here


def test_a_damaged_run_keeps_no_other_out(written: str, make_store: Callable[[str], str]):
    base = Path(written.removeprefix("toml:"))
    target = make_store("toml")
    moved([written, target])
    copy = Path(target.removeprefix("toml:")) / "demo" / "baseline"
    (copy / "config.toml").write_text("= damaged")
    (base / "demo" / "second").mkdir()
    (base / "demo" / "second" / "config.toml").write_text("lr = 1.0\n")
    got = ModelManager(target).import_runs(from_store=written)
    assert {run.run_id: run.result for run in got} == {"baseline": "there", "second": "imported"}
    assert (copy / "config.toml").read_text() == "= damaged"


def test_runs_that_two_projects_call_the_same_stay_two(written: str, make_store: Callable[[str], str], tmp_path: Path):
    base = Path(written.removeprefix("toml:"))
    shutil.copytree(base / "demo", base / "other")
    chain = [written, make_store("sqlite"), make_store("toml")]
    moved(chain)
    first, *others = exports(chain, tmp_path)
    assert all(one == first for one in others)
    back = Path(chain[2].removeprefix("toml:"))
    assert sorted(str(one.parent.relative_to(back)) for one in back.glob("*/*/config.toml")) == [
        "demo/demo.baseline", "other/other.baseline",
    ]  # fmt: skip


def test_files_called_like_ours_are_told_apart(make_store: Callable[[str], str], tmp_path: Path):
    chain = [make_store("sqlite"), make_store("toml"), make_store("sqlite")]
    client = MlflowClient(chain[0])
    run_id = client.create_run("0", BEGAN, {}, "odd").info.run_id
    names = ("config.toml", "metrics.toml", "history.jsonl", "origin.toml", ".hidden", "%2Ehidden", "%63onfig.toml",
             ".lock", "sub/config.toml", "sub/.hidden", "project.toml")  # fmt: skip
    for name in names:
        file = Path(client.get_run(run_id).info.artifact_uri) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {name}\n")
    moved(chain)
    first, *others = exports(chain, tmp_path)
    assert all(one == first for one in others)
    back = MlflowClient(chain[2])
    (copy,) = back.search_runs(["0"])
    assert sorted(files_of(back, copy.info.run_id)) == sorted((name, len(name) + 3) for name in names)
    assert b"".join(ModelManager(chain[1]).read_artifact("odd", ".hidden")) == b"# .hidden\n"


KILLED = """
import os, signal, sys
from agentnn import ModelManager, start_run

left = [int(sys.argv[3])]

def hook(event, arguments):
    if event == "os.rename" and sys.argv[2].removeprefix("toml:") in str(arguments[0]):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
ModelManager(sys.argv[2]).import_runs(from_store=sys.argv[1], view="all")
"""


def test_an_import_that_is_killed_goes_on_and_nothing_is_twice(make_store: Callable[[str], str], tmp_path: Path):
    """F09: at some replacement of a file; each time in what the one before has left."""
    chain = [make_store(kind) for kind in ("sqlite", "toml", "toml")]
    fill(chain[0])
    moved(chain[:2])
    kills = 0
    for number in (0, 1, 3, 7, 20, 40):
        command = [sys.executable, "-c", KILLED, *chain[1:], str(number)]
        kills += subprocess.run(command, check=False, timeout=120).returncode == -9
    assert kills == 6
    ModelManager(chain[2]).import_runs(from_store=chain[1], view="all")
    first, second = exports(chain[1:], tmp_path)
    assert first == second
    base, copy = (Path(uri.removeprefix("toml:")) for uri in chain[1:])
    there, here = ({one.relative_to(top) for one in top.glob("*/*")} for top in (base, copy))
    assert here == there, "under the same ids, and nothing else"
    assert list(copy.rglob("*.writing")) == []


def test_the_command_takes_runs_from_another_store(make_store: Callable[[str], str], tmp_path: Path):
    source, target = make_store("sqlite"), make_store("toml")
    made = fill(source)

    def run(*arguments: str) -> tuple[int, str, str]:
        ran = in_process("--tracking-uri", target, "run", "import", *arguments, cwd=tmp_path)
        return ran.returncode, ran.stdout, ran.stderr

    assert run("--from", source, "sweep", "-o", "id")[1].split() == [
        made[name] for name in ("sweep", "trial 2", "trial 1", "grandchild", "trial 0")
    ]
    code, out, err = run("--from", source, "-f", "params.lr = 1", "-e", "copies", "-o", "id")
    assert (code, out, err) == (0, f"{made['trial 0']}\n", "0 runs imported, 1 already there\n")
    code, _, err = run("--from", source, "--from-experiment", "curves & co", "--view", "all")
    assert (code, err) == (0, "3 runs imported, 5 already there\n")
    for arguments in ([], ["a", "b"], ["a", "-f", "params.lr = 1"], ["--from", source, "sweep", "-f", "params.lr = 1"]):
        code, out, err = run(*arguments)
        assert (code, out) == (2, ""), arguments
    code, _, err = run("--from", "toml:./nowhere")
    assert code == 4
    code, _, err = run("--from", "http://ada:s3cret@127.0.0.1:9/")
    assert code == 4
    assert "s3cret" not in err
    assert error_and_hint(err)


def test_nobody_gets_out_of_the_folder_through_a_link(written: str, tmp_path: Path, make_store: Callable[[str], str]):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (Path(written.removeprefix("toml:")) / "demo" / "baseline" / "link").symlink_to(outside)
    target = make_store("toml")
    ran = in_process("--tracking-uri", target, "run", "import", "--from", written, cwd=tmp_path)
    assert ran.returncode == 7
    assert not Path(target.removeprefix("toml:")).exists()


def test_experiments_and_deleted_ones_come_along(make_store: Callable[[str], str]):
    source, target = make_store("toml"), make_store("sqlite")
    manager = ModelManager(source)
    manager.create_experiment("a/b", tags={"team": "quant"})
    run_id = manager.track_run("one", {"lr": 0.1}, {"loss": 1.0}, experiment="a/b")
    manager.delete_runs([run_id])
    moved([source, target])
    client = MlflowClient(target)
    experiment = client.get_experiment_by_name("a/b")
    assert experiment.tags["team"] == "quant"
    (run,) = client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY)
    assert (run.info.run_name, run.data.params) == ("one", {"lr": "0.1"})
