"""``MLRun``: what it writes, how it ends, and how it is found again; wandb is left out, it has tests of its own."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import pickle
import subprocess
import threading
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from wandb_scripts import Script

from agentnn import MLRun, ModelManager
from agentnn.errors import AgentNNError, ConflictError, CorruptDataError, NotFoundError, StoreUnavailable, UsageError
from agentnn.tracking import local_run_start
from agentnn.tracking.journal.process_identity import this_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of projects, in a working directory without git."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "checkpoints"


@pytest.fixture
def run(base: Path) -> Iterator[MLRun]:
    """A run that is open."""
    made = MLRun.create({"lr": 0.001, "model": {"name": "CNN"}}, base, "demo")
    yield made
    made.finish()


def written(run: MLRun, name: str = "config.toml") -> dict[str, Any]:
    """A file of a run, as another program reads it."""
    return tomllib.loads((run.run_dir / name).read_text(encoding="utf-8"))


# -- create


def test_a_run_has_a_folder_with_its_config(run: MLRun, base: Path):
    assert run.run_dir == base / "demo" / run.run_id
    assert len(run.run_id) == 8
    assert run.run_id.isalnum()
    document = written(run)
    meta = document.pop("_meta")
    assert document == run.config == {"lr": 0.001, "model": {"name": "CNN"}}
    assert (meta["run_id"], meta["project"], meta["status"]) == (run.run_id, "demo", "RUNNING")
    assert meta["user"]
    assert json.loads(meta["process"]) == json.loads(this_process().to_json())
    assert abs(datetime.now(UTC) - meta["created_at"]).total_seconds() < 600
    assert (run.project_name, run.base_dir, run.status, run.metrics) == ("demo", base, "RUNNING", {})
    assert run.wandb_run is None
    assert run.get_wandb_url() == ""


def test_the_arguments_may_be_given_by_place(base: Path):
    made = MLRun.create({"lr": 1}, str(base), "demo", "entity")
    made.finish()
    assert made.run_dir.is_dir()


def test_name_id_tags_and_parent_are_kept(base: Path):
    with MLRun.create(
        {}, base, "demo", name="first try", run_id="mine", tags={"fold": 3}, parent_run_id="other"
    ) as made:
        meta = written(made)["_meta"]
    assert made.run_id == "mine"
    assert (meta["name"], meta["tags"], meta["parent_run_id"]) == ("first try", {"fold": "3"}, "other")


def test_the_commit_of_the_code_is_recorded(base: Path, tmp_path: Path):
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=T", "-c", "user.email=t@example.org")
        asked = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return asked.stdout.strip()

    git("init")
    git("commit", "--allow-empty", "-m", "first")
    with MLRun.create({}, base, "demo") as made:
        assert written(made)["_meta"]["git_commit"] == made.meta["git_commit"] == git("rev-parse", "HEAD")


def test_without_git_there_is_no_commit(run: MLRun):
    assert "git_commit" not in written(run)["_meta"]


def test_the_callers_config_is_neither_changed_nor_kept(base: Path):
    config: dict[str, Any] = {"lr": 0.1, "model": {"layers": [1, 2]}}
    with MLRun.create(config, base, "demo") as made:
        config["model"]["layers"].append(3)
        config["lr"] = 7
        made.config["model"]["layers"].append(4)
    assert config == {"lr": 7, "model": {"layers": [1, 2, 3]}}
    assert MLRun.load(made.run_id, base).config == {"lr": 0.1, "model": {"layers": [1, 2]}}


@dataclass
class Options:
    lr: float
    layers: tuple[int, ...]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Options(0.1, (1, 2)), {"lr": 0.1, "layers": [1, 2]}),
        (argparse.Namespace(lr=0.1, resume=None), {"lr": 0.1, "resume": None}),
        (
            {"lr": np.float32(0.5), "sizes": np.arange(3), "on": np.bool_(True)},
            {"lr": 0.5, "sizes": [0, 1, 2], "on": True},
        ),
        ({"since": datetime(2024, 1, 2, tzinfo=UTC)}, {"since": datetime(2024, 1, 2, tzinfo=UTC)}),
        ({"a": {"b": None}, "rows": [{"x": 1}, {"x": 2}]}, {"a": {"b": None}, "rows": [{"x": 1}, {"x": 2}]}),
        ({"lr": 1, "_meta": {"run_id": "old"}, "_wandb": {"url": "old"}}, {"lr": 1}),
    ],
    ids=["dataclass", "namespace", "numpy", "date", "none", "of an earlier run"],
)
def test_whatever_holds_a_config_is_taken(config: Any, expected: dict[str, Any], base: Path):
    with MLRun.create(config, base, "demo") as made:
        loaded = MLRun.load(made.run_id, base)
    assert loaded.config == expected
    assert loaded.get_wandb_url() == ""


@pytest.mark.parametrize("config", [None, 3, "config.yaml", [("lr", 1)], Options], ids=repr)
def test_what_is_no_config_is_refused_before_anything_is_made(config: Any, base: Path):
    with pytest.raises(UsageError, match="a config is a mapping"):
        MLRun.create(config, base, "demo")
    assert not base.exists()


def test_an_id_that_is_taken_is_a_conflict_in_its_project(base: Path):
    with MLRun.create({"n": 1}, base, "demo", run_id="mine"):
        with pytest.raises(ConflictError, match="mine"):
            MLRun.create({"n": 2}, base, "demo", run_id="mine")
        MLRun.create({"n": 3}, base, "other", run_id="mine").finish()
    assert MLRun.load("mine", base, "demo").config == {"n": 1}


def test_an_id_of_our_own_that_is_taken_is_drawn_again(base: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = iter("a" * 8 + "a" * 8 + "b" * 8)
    monkeypatch.setattr(local_run_start.secrets, "choice", lambda _: next(drawn))
    first, second = (MLRun.create({"n": n}, base, "demo") for n in (1, 2))
    second.finish()
    first.finish()
    assert [first.run_id, second.run_id] == ["a" * 8, "b" * 8]
    assert written(second)["_meta"]["run_id"] == "b" * 8


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ".hidden", "/etc", "50%", "x" * 300, "übung", "a b"])
def test_an_odd_name_stays_in_the_folder_and_leads_back(name: str, base: Path, tmp_path: Path):
    with MLRun.create({"n": 1}, base, name, run_id=name) as made:
        made.add_metrics({"acc": 1.0})
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    assert made.run_dir.parent.parent == base
    assert made.project_name == name
    for found in (MLRun.load(name, base), MLRun.load(name, base, name), MLRun.load(made.run_id, base)):
        assert (found.run_dir, found.metrics) == (made.run_dir, {"acc": 1.0})


# -- metrics


def test_metrics_are_updated_and_saved_as_a_whole(run: MLRun):
    assert run.add_metrics({"accuracy": 0.9, "epoch": 1}) is None
    run.add_metrics({"accuracy": 0.92, "f1": np.float64(0.91)})
    assert run.metrics == {"accuracy": 0.92, "epoch": 1, "f1": 0.91}
    assert written(run, "metrics.toml") == run.metrics
    assert MLRun.load(run.run_id, run.base_dir).metrics == run.metrics


def test_metrics_with_a_step_keep_their_history(run: MLRun):
    for step, loss in [(0, 1.0), (2, 0.25), (1, 0.5)]:
        run.add_metrics({"loss": loss, "val": {"loss": loss * 2}}, step=step)
    run.add_metrics({"accuracy": 0.9})
    assert [(point.step, point.value) for point in run.history("loss")] == [(0, 1.0), (1, 0.5), (2, 0.25)]
    assert [point.value for point in run.history("val.loss")] == [2.0, 1.0, 0.5]
    assert [(point.step, point.value) for point in run.history("accuracy")] == [(0, 0.9)]
    assert run.history("los") == []
    assert run.metrics["loss"] == 0.25, "the value of the greatest step"


def test_a_metric_that_can_not_be_written_changes_nothing(run: MLRun):
    run.add_metrics({"accuracy": 0.9})
    with pytest.raises(UsageError):
        run.add_metrics({"loss": 1.0}, step="first")  # type: ignore[arg-type]
    assert written(run, "metrics.toml") == run.metrics == {"accuracy": 0.9}


def test_threads_may_share_a_run(run: MLRun):
    def work(number: int) -> None:
        for n in range(10):
            run.add_metrics({f"m{number}_{n}": n})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        run.metrics == written(run, "metrics.toml") == {f"m{number}_{n}": n for number in range(6) for n in range(10)}
    )


def test_forked_processes_add_to_the_same_run_and_never_end_it(run: MLRun):
    def work(number: int) -> None:
        for n in range(5):
            run.add_metrics({f"m{number}_{n}": n})
        run.finish()

    with run._run._lock:  # as another thread of this process might, at the moment of the fork
        workers = [multiprocessing.get_context("fork").Process(target=work, args=(number,)) for number in range(3)]
        for one in workers:
            one.start()
    for one in workers:
        one.join(60)
    assert [one.exitcode for one in workers] == [0, 0, 0]
    assert written(run, "metrics.toml") == {f"m{number}_{n}": n for number in range(3) for n in range(5)}
    assert written(run)["_meta"]["status"] == "RUNNING"


def test_a_run_can_be_given_to_another_process(run: MLRun):
    other = pickle.loads(pickle.dumps(run))
    other.add_metrics({"accuracy": 0.9})
    other.finish()
    assert (other.run_dir, other.project_name) == (run.run_dir.absolute(), "demo")
    assert written(run, "metrics.toml") == {"accuracy": 0.9}
    assert written(run)["_meta"]["status"] == "RUNNING"


# -- the end


def test_a_run_that_finished_takes_nothing_more(run: MLRun):
    run.add_metrics({"accuracy": 0.9})
    run.finish()
    ended = written(run)["_meta"]["ended_at"]
    run.finish("FAILED")
    meta = written(run)["_meta"]
    assert (run.status, meta["status"], meta["ended_at"]) == ("FINISHED", "FINISHED", ended)
    assert meta["created_at"] <= ended
    with pytest.raises(ConflictError, match="has ended"):
        run.add_metrics({"accuracy": 1.0})
    assert written(run, "metrics.toml") == {"accuracy": 0.9}


def test_a_run_can_not_end_in_any_way(run: MLRun):
    with pytest.raises(UsageError, match="'DONE'"):
        run.finish("DONE")
    assert run.status == "RUNNING"


def test_an_end_that_could_not_be_written_can_be_tried_again(run: MLRun):
    good = (run.run_dir / "config.toml").read_text(encoding="utf-8")
    (run.run_dir / "config.toml").write_text("no = = toml")
    with pytest.raises(CorruptDataError, match="config.toml"):
        run.finish()
    assert run.status == "RUNNING"
    (run.run_dir / "config.toml").write_text("# mine\n" + good)
    run.finish()
    assert written(run)["_meta"]["status"] == run.status == "FINISHED"
    assert (run.run_dir / "config.toml").read_text(encoding="utf-8").startswith("# mine\n")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (None, "FINISHED", None),
        (ValueError("boom"), "FAILED", "ValueError: boom"),
        (KeyboardInterrupt(), "KILLED", "interrupted (SIGINT)"),
        (SystemExit(0), "FINISHED", None),
        (SystemExit(3), "FAILED", "exit code 3"),
        (SystemExit(143), "KILLED", "ended by SIGTERM"),
    ],
    ids=repr,
)
def test_a_with_block_ends_a_run_with_the_truth(
    error: BaseException | None, status: str, reason: str | None, base: Path
):
    with suppress(BaseException), MLRun.create({}, base, "demo") as made:
        if error is not None:
            raise error
    meta = written(made)["_meta"]
    assert (made.status, meta["status"], meta.get("tags", {}).get("agentnn.end_reason")) == (status, status, reason)


def test_the_first_error_is_the_one_that_is_shown(base: Path):
    with pytest.raises(ValueError, match="the first"), MLRun.create({}, base, "demo") as made:
        (made.run_dir / "config.toml").write_text("no = = toml")
        raise ValueError("the first")
    with pytest.raises(AgentNNError), MLRun.create({}, base, "demo") as made:
        (made.run_dir / "config.toml").write_text("no = = toml")


ENDINGS = {
    "nothing": ("pass", 0, "FINISHED"),
    "error": ("1 / 0", 1, "FAILED"),
    "exit": ("sys.exit(3)", 3, "FAILED"),
    "well": ("sys.exit(0)", 0, "FINISHED"),
    "interrupt": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -2, "KILLED"),
    "term": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", 143, "KILLED"),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL); time.sleep(60)", -9, "RUNNING"),
}


def test_a_run_that_nobody_finished_ends_as_its_process_does(base: Path, tmp_path: Path):
    start = (
        "import os, signal, sys, time\nfrom agentnn import MLRun\n"
        "run = MLRun.create({}, 'checkpoints', 'demo', run_id=%r)\nrun.add_metrics({'loss': 0.5})\n"
    )
    started = {
        name: Script(start % name + body, tmp_path, {"WANDB_MODE": "disabled"})
        for name, (body, _, _) in ENDINGS.items()
    }
    ended = {name: script.wait() for name, script in started.items()}
    runs = {name: MLRun.load(name, base) for name in ENDINGS}
    assert {name: (ended[name].code, runs[name].status) for name in ENDINGS} == {
        name: (code, status) for name, (_, code, status) in ENDINGS.items()
    }
    assert all(run.metrics == {"loss": 0.5} for run in runs.values())
    assert json.loads(runs["kill"].meta["process"])["pid"] == started["kill"].process.pid
    assert "ended_at" not in runs["kill"].meta
    assert [finding.run_id for finding in ModelManager(f"toml:{base}").diagnose(fix=True).findings] == ["kill"]
    assert MLRun.load("kill", base).status == "FAILED"


# -- load


def test_a_run_is_found_in_all_projects(run: MLRun, base: Path):
    for found in (
        MLRun.load(run.run_id, base),
        MLRun.load(run.run_id, str(base), "demo"),
        MLRun.load(run_id=run.run_id, base_dir=base, project_name="demo"),
        MLRun.load(f"demo/{run.run_id}", base),
    ):
        assert (found.run_dir, found.config, found.project_name) == (run.run_dir, run.config, "demo")
        assert found.wandb_run is None


def test_an_id_that_two_projects_have_is_ambiguous(base: Path):
    for project in ("one", "two"):
        MLRun.create({"project": project}, base, project, run_id="same").finish()
    with pytest.raises(NotFoundError, match="ambiguous") as caught:
        MLRun.load("same", base)
    assert caught.value.exit_code == 3
    assert caught.value.candidates == ("one/same", "two/same")
    assert MLRun.load("same", base, "two").config == MLRun.load("two/same", base).config == {"project": "two"}


def test_a_run_that_is_not_there_is_an_error_that_names_those_nearby(base: Path):
    MLRun.create({}, base, "demo", run_id="bert-large").finish()
    with pytest.raises(NotFoundError, match="there is no run 'bert-larg'") as caught:
        MLRun.load("bert-larg", base)
    assert caught.value.candidates == ("bert-large",)
    with pytest.raises(NotFoundError, match="the project 'other'"):
        MLRun.load("bert-large", base, "other")
    with pytest.raises(StoreUnavailable, match="nowhere"):
        MLRun.load("bert-large", base / "nowhere")


@pytest.mark.parametrize(
    "run_id", ["../../secret/run", "..", ".", "", "/", "demo/../../secret/run", "demo/", "a\0b", "x" * 5000, "\ud800"]
)
def test_no_id_leads_out_of_the_folder(run_id: str, base: Path, tmp_path: Path):
    MLRun.create({}, base, "demo", run_id="mine").finish()
    (tmp_path / "secret" / "run").mkdir(parents=True)
    (tmp_path / "secret" / "run" / "config.toml").write_text("password = 1")
    with pytest.raises((NotFoundError, UsageError)):
        MLRun.load(run_id, base)
    with pytest.raises((NotFoundError, UsageError)):
        MLRun.load("run", base, "../secret")
    with pytest.raises((NotFoundError, UsageError)):
        MLRun.load(str(tmp_path / "secret" / "run"), base)


@pytest.mark.parametrize("name", ["config.toml", "metrics.toml"])
def test_a_damaged_file_is_named(name: str, run: MLRun, base: Path):
    run.finish()
    (run.run_dir / name).write_text("a = [1,\n")
    with pytest.raises(CorruptDataError) as caught:
        MLRun.load(run.run_id, base)
    assert str(run.run_dir / name) in str(caught.value)


def test_a_loaded_run_takes_more_and_its_status_stays(run: MLRun, base: Path):
    run.add_metrics({"accuracy": 0.9})
    run.finish("FAILED")
    before = written(run)
    with MLRun.load(run.run_id, base) as loaded:
        loaded.add_metrics({"test_accuracy": 0.8})
    loaded.finish()
    assert written(run) == before
    assert loaded.metrics == written(run, "metrics.toml") == {"accuracy": 0.9, "test_accuracy": 0.8}
    assert loaded.status == "FAILED"


def test_a_deleted_run_takes_nothing(run: MLRun, base: Path):
    run.finish()
    with (run.run_dir / "config.toml").open("a", encoding="utf-8") as file:
        file.write("\n[_meta.more]\n")
    text = (run.run_dir / "config.toml").read_text(encoding="utf-8")
    (run.run_dir / "config.toml").write_text(text.replace("[_meta]", '[_meta]\nlifecycle_stage = "deleted"'))
    with pytest.raises(ConflictError, match="is deleted"):
        MLRun.load(run.run_id, base).add_metrics({"accuracy": 1.0})
    assert not (run.run_dir / "metrics.toml").exists()


def test_files_of_another_tool_are_a_run(base: Path):
    folder = base / "theirs" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('lr = 0.1\n[_wandb]\nentity = "me"\nproject = "p q"\nrun_id = "abc"\n')
    loaded = MLRun.load("abc", base)
    assert (loaded.config, loaded.metrics, loaded.status) == ({"lr": 0.1}, {}, "FINISHED")
    assert loaded.get_wandb_url() == "https://wandb.ai/me/p%20q/runs/abc"


def test_the_address_is_on_the_server_that_the_environment_names(base: Path, monkeypatch: pytest.MonkeyPatch):
    folder = base / "theirs" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[_wandb]\nentity = "me"\nproject = "p"\nrun_id = "abc"\n')
    for variable, server, expected in [
        ("WANDB_BASE_URL", "https://api.wandb.ai", "https://wandb.ai"),
        ("WANDB_BASE_URL", "https://wandb.example.org/", "https://wandb.example.org"),
        ("WANDB_APP_URL", "https://app.example.org", "https://app.example.org"),
    ]:
        monkeypatch.setenv(variable, server)
        assert MLRun.load("abc", base).get_wandb_url() == f"{expected}/me/p/runs/abc"


def test_it_says_what_it_is(run: MLRun):
    assert repr(run) == f"MLRun(demo/{run.run_id}, RUNNING)"


def test_nothing_is_left_beside_the_files_of_a_run(run: MLRun):
    run.add_metrics({"accuracy": 0.9}, step=1)
    run.finish()
    visible = {path.name for path in run.run_dir.iterdir() if not path.name.startswith(".")}
    assert visible == {"config.toml", "metrics.toml", "history.jsonl"}
