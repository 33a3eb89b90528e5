"""Tagging, deleting and restoring runs and experiments that are TOML files: what stands in the files afterwards."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import error_and_hint, in_process

from agentnn import ModelManager
from agentnn.errors import ConflictError, NotFoundError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
# tuned by hand
lr = 5e-5  # small

[_meta]
name = "first"
created_at = 2026-01-01T00:00:00Z
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with two projects; one of their runs has comments, one is nested in it, and one is of another tool."""
    base = tmp_path / "checkpoints"
    for place, text in {
        "demo/one": CONFIG,
        "demo/two": 'lr = 1.0\n[_meta]\nparent_run_id = "one"\n',
        "other/three": "lr = 2.0\n",
    }.items():
        (base / place).mkdir(parents=True)
        (base / place / "config.toml").write_text(text)
    return base


@pytest.fixture
def manager(base: Path) -> ModelManager:
    return ModelManager(f"toml:{base}")


def meta_of(base: Path, place: str) -> dict[str, Any]:
    """What ``_meta`` says of a run, as the standard library reads it."""
    found = tomllib.loads((base / place / "config.toml").read_text()).get("_meta", {})
    assert isinstance(found, dict)
    return found


def project_of(base: Path, name: str) -> dict[str, Any]:
    return tomllib.loads((base / name / "project.toml").read_text())


def test_tags_of_runs_and_their_names(base: Path, manager: ModelManager):
    manager.tag_runs(["first"], {"team": "quant", "mlflow.runName": "renamed"})
    assert meta_of(base, "demo/one")["tags"] == {"team": "quant"}
    assert meta_of(base, "demo/one")["name"] == "renamed"
    text = (base / "demo/one/config.toml").read_text()
    assert text.startswith("# tuned by hand\nlr = 5e-5  # small\n")
    manager.tag_runs(["renamed"], remove=["team"])
    assert "tags" not in meta_of(base, "demo/one")
    manager.set_note("three", "looks good")
    assert manager.get_note("three") == "looks good"
    manager.tag_runs(["two"], {"mlflow.parentRunId": "three"})
    assert meta_of(base, "demo/two")["parent_run_id"] == "three"


def test_where_a_run_was_made_is_a_tag_like_others(base: Path, manager: ModelManager):
    manager.tag_runs(["three"], {"agentnn.imported_from": "elsewhere", "a": "b"})
    assert tomllib.loads((base / "other/three/origin.toml").read_text()) == {"store": "elsewhere"}
    assert meta_of(base, "other/three")["tags"] == {"a": "b"}
    assert manager.get_run("three").tags["agentnn.imported_from"] == "elsewhere"
    manager.tag_runs(["three"], remove=["agentnn.imported_from"])
    assert "agentnn.imported_from" not in manager.get_run("three").tags


def test_deleting_marks_and_removes_nothing(base: Path, manager: ModelManager):
    files = sorted(base.rglob("*.toml"))
    plan = manager.delete_runs(["first"])
    assert [run.run_id for run in plan.runs] == ["one", "two"]
    assert sorted(base.rglob("*.toml")) == files
    assert meta_of(base, "demo/one")["lifecycle_stage"] == meta_of(base, "demo/two")["lifecycle_stage"] == "deleted"
    assert [run.run_id for run in manager.list_runs()] == ["three"]
    with pytest.raises(ConflictError, match="is deleted"):
        manager.tag_runs(["one"], {"a": "b"})
    manager.restore_runs(["one"], with_children=True)
    assert "lifecycle_stage" not in meta_of(base, "demo/two")
    assert "tags" not in meta_of(base, "demo/two"), "the mark of the deletion goes with it"
    assert (base / "demo/one/config.toml").read_text().startswith("# tuned by hand\nlr = 5e-5  # small\n")


def test_an_experiment_is_named_tagged_deleted_and_restored(base: Path, manager: ModelManager):
    made = manager.create_experiment("new/one", tags={"team": "quant"})
    assert made.experiment_id == "new%2Fone"
    assert project_of(base, "new%2Fone")["name"] == "new/one"
    assert project_of(base, "new%2Fone")["tags"] == {"team": "quant"}

    renamed = manager.rename_experiment("demo", "the demo")
    assert (renamed.experiment_id, renamed.name) == ("demo", "the demo"), "the folder keeps its name"
    again = manager.create_experiment("demo")
    assert (again.experiment_id, again.name) == ("demo 2", "demo")
    manager.tag_experiment("the demo", {"a": "b", "c": "d"}, remove=[])
    manager.tag_experiment("the demo", remove=["a"])
    assert project_of(base, "demo")["tags"] == {"c": "d"}

    manager.delete_runs(["two"])
    manager.delete_experiments(["the demo"])
    assert project_of(base, "demo")["lifecycle_stage"] == "deleted"
    assert {meta_of(base, f"demo/{run}")["lifecycle_stage"] for run in ("one", "two")} == {"deleted"}
    with pytest.raises(ConflictError, match="is deleted but still holds its name"):
        manager.create_experiment("the demo")
    with pytest.raises(ConflictError, match="is deleted but still holds its name"):
        manager.track_run("late", {}, {}, experiment="the demo")
    with pytest.raises(ConflictError, match="is deleted"):
        manager.restore_runs(["one"])
    manager.restore_experiment("the demo")
    assert "lifecycle_stage" not in project_of(base, "demo")
    assert sorted(run.run_id for run in manager.list_runs(experiment="the demo")) == ["one", "two"]


NAMES = ("../up", ".hidden", "a%2Fb", "a/b", "/etc", " ", "x" * 256, "demo", "🚀", "a\nb")


def test_whatever_an_experiment_is_called_its_runs_are_in_the_folder(base: Path, manager: ModelManager):
    before = sorted(base.parent.iterdir())
    for name in NAMES:
        manager.track_run(name, {}, {}, experiment=name)
    assert sorted(base.parent.iterdir()) == before
    found = {run.name: run.experiment for run in manager.list_runs(experiment=list(NAMES))}
    assert {name: found[name] for name in NAMES} == {name: name for name in NAMES}
    for name in NAMES:
        assert [run.name for run in manager.list_runs(experiment=name) if run.name == name] == [name]


def test_what_can_not_be_is_said(base: Path, manager: ModelManager):
    with pytest.raises(ConflictError, match="already"):
        manager.create_experiment("demo")
    with pytest.raises(UsageError, match="own folder"):
        manager.create_experiment("elsewhere", artifact_location=str(base))
    with pytest.raises(NotFoundError):
        manager.tag_runs(["nobody"], {"a": "b"})
    assert sorted(one.name for one in base.iterdir() if one.is_dir()) == ["demo", "other"]


def test_the_commands_end_as_in_every_store(base: Path, tmp_path: Path):
    def run(*arguments: str) -> tuple[int, str, str]:
        ran = in_process("--tracking-uri", f"toml:{base}", *arguments, cwd=tmp_path)
        return ran.returncode, ran.stdout, ran.stderr

    assert run("experiment", "create", "demo")[0] == 6
    assert run("run", "delete", "first", "--yes")[0] == 0
    code, out, _ = run("run", "list", "--view", "deleted", "-o", "json")
    assert (code, sorted(one["run_id"] for one in json.loads(out))) == (0, ["one", "two"])
    assert run("run", "restore", "one")[0] == 0
    assert run("experiment", "delete", "demo", "--yes")[0] == 0
    code, _, err = run("run", "restore", "one")
    assert (code, "experiment restore demo" in error_and_hint(err)[1]) == (6, True)
    assert run("experiment", "restore", "demo")[0] == 0
    assert run("run", "doctor")[0] == 0
    assert run("run", "sync")[0] == 0
