"""``agentnn run export`` and ``agentnn run import``."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from cli.support import error_and_hint, fingerprint, in_process
from mlflow import MlflowClient
from mlflow.entities import Metric, ViewType
from shared_store import copy_of

from agentnn import ModelManager
from agentnn.errors import StoreUnavailable
from agentnn.stores.mlflow.importer import MlflowImporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEGAN = 1_767_225_600_000


@pytest.fixture(scope="module")
def source(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with a sweep of three runs, and another run; each has a curve, a file and params. Nobody changes it."""
    uri = copy_of(template_database, tmp_path_factory)
    client = MlflowClient(uri)
    parent = client.create_run("0", BEGAN, {}, "sweep").info.run_id
    for number, name in enumerate(("one", "two", "three", "alone")):
        tags = {"mlflow.parentRunId": parent} if name != "alone" else {}
        run = client.create_run("0", BEGAN + number, tags, name).info.run_id
        client.log_param(run, "lr", str(number))
        client.log_batch(run, [Metric("loss", 1 / (step + 1), BEGAN + step, step) for step in range(20)])
        client.log_text(run, name, "notes/name.txt")
        client.set_terminated(run, "FINISHED", BEGAN + 100)
    client.set_terminated(parent, "FINISHED", BEGAN + 200)
    return uri


@pytest.fixture
def changed(source: str, tmp_path: Path) -> str:
    """A copy of it that a test may change."""
    shutil.copyfile(source.removeprefix("sqlite:///"), tmp_path / "changed.db")
    return f"sqlite:///{tmp_path / 'changed.db'}"


@pytest.fixture
def target(make_store: Callable[[str], str]) -> str:
    """An empty store."""
    return make_store("sqlite")


def run(uri: str, *arguments: str, cwd: Path) -> tuple[int, str, str]:
    """Exit code, output and messages of ``agentnn run …``."""
    ran = in_process("--tracking-uri", uri, "run", *arguments, cwd=cwd)
    return ran.returncode, ran.stdout, ran.stderr


def names(uri: str, path: Path) -> list[str]:
    """The names of the runs of an export, in order."""
    runs = json.loads((path / "manifest.json").read_text())["runs"]
    return [MlflowClient(uri).get_run(one).info.run_name for one in runs]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["sweep", "one", "two", "three", "alone"]),
        (["sweep"], ["sweep", "one", "two", "three"]),
        (["sweep", "--exclude-children"], ["sweep"]),
        (["alone", "two"], ["two", "alone"]),
        (["-f", "params.lr = '2'"], ["three"]),
        (["-f", "run_name = 'sweep'"], ["sweep", "one", "two", "three"]),
        (["-e", "Default", "@last"], ["alone"]),
    ],
    ids=" ".join,
)
def test_these_runs_are_exported_a_parent_before_its_children(
    arguments: list[str], expected: list[str], source: str, tmp_path: Path
):
    code, out, err = run(source, "export", "out", *arguments, "-o", "json", cwd=tmp_path)
    assert (code, err) == (0, f"{len(expected)} run{'s' * (len(expected) != 1)} exported to out\n")
    assert [one["name"] for one in json.loads(out)] == names(source, tmp_path / "out") == expected
    assert {one["points"] for one in json.loads(out)} <= {0, 20}


@pytest.mark.parametrize("name", ["out", "out.zip", "out.tar.gz"])
def test_what_is_imported_is_there_once(name: str, source: str, target: str, tmp_path: Path):
    assert run(source, "export", name, cwd=tmp_path)[0] == 0
    code, out, err = run(target, "import", name, "-o", "json", cwd=tmp_path)
    assert (code, err) == (0, "5 runs imported\n")
    made = json.loads(out)
    assert [(one["name"], one["result"]) for one in made] == [
        (one, "imported") for one in ("sweep", "one", "two", "three", "alone")
    ]
    code, out, err = run(target, "import", name, "-o", "json", cwd=tmp_path)
    assert (code, err) == (0, "0 runs imported, 5 already there\n")
    assert [one["run_id"] for one in json.loads(out)] == [one["run_id"] for one in made]
    client = MlflowClient(target)
    found = {one.info.run_name: one for one in client.search_runs(["0"])}
    assert len(client.search_runs(["0"], run_view_type=ViewType.ALL)) == 5
    assert found["two"].data.tags["mlflow.parentRunId"] == found["sweep"].info.run_id == made[0]["run_id"]
    assert len(client.get_metric_history(found["two"].info.run_id, "loss")) == 20


def test_an_import_where_the_runs_come_from_leaves_them_alone(source: str, tmp_path: Path):
    run(source, "export", "out", cwd=tmp_path)
    assert run(source, "import", "out", cwd=tmp_path)[2] == "0 runs imported, 5 already there\n"
    assert len(MlflowClient(source).search_runs(["0"])) == 5


def test_all_go_into_one_experiment_when_told_so(source: str, target: str, tmp_path: Path):
    run(source, "export", "out", cwd=tmp_path)
    code, out, _ = run(target, "import", "out", "-e", "copies", "-o", "json", cwd=tmp_path)
    assert (code, {one["experiment"] for one in json.loads(out)}) == (0, {"copies"})
    experiment = MlflowClient(target).get_experiment_by_name("copies")
    assert len(MlflowClient(target).search_runs([experiment.experiment_id])) == 5


def test_a_child_finds_its_parent_that_came_with_an_earlier_import(source: str, target: str, tmp_path: Path):
    run(source, "export", "first", "sweep", "--exclude-children", cwd=tmp_path)
    run(source, "export", "second", "two", cwd=tmp_path)
    run(target, "import", "first", cwd=tmp_path)
    run(target, "import", "second", cwd=tmp_path)
    found = {one.info.run_name: one for one in MlflowClient(target).search_runs(["0"])}
    assert found["two"].data.tags["mlflow.parentRunId"] == found["sweep"].info.run_id
    run(target, "export", "third", "two", cwd=tmp_path)
    assert fingerprint(tmp_path / "third") == fingerprint(tmp_path / "second")


@pytest.mark.parametrize(
    ("kind", "calls"), [*(("sqlite", n) for n in (0, 2, 7, 12, 17)), ("mlruns", 10), ("mlruns", 11)]
)
def test_an_interrupted_import_goes_on_and_nothing_is_twice(
    kind: str,
    calls: int,
    source: str,
    make_store: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """The store goes away after so many writes, of which the last one still arrives while its answer is lost."""
    target = make_store(kind)
    ModelManager(source).export_runs(tmp_path / "out")
    left = [calls]

    def losing(method: str) -> None:
        whole = getattr(MlflowImporter, method)

        def broken(self: MlflowImporter, *arguments: object, **more: object) -> object:
            answer = whole(self, *arguments, **more)
            left[0] -= 1
            if left[0] < 0:
                raise StoreUnavailable("gone")
            return answer

        monkeypatch.setattr(MlflowImporter, method, broken)

    for method in ("create_run", "log_batch", "put_files", "set_status", "delete_tag"):
        losing(method)
    with pytest.raises(StoreUnavailable, match="gone"):
        ModelManager(target).import_runs(tmp_path / "out")
    monkeypatch.undo()
    if kind == "mlruns":
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    ModelManager(target).import_runs(tmp_path / "out")
    assert len(MlflowClient(target).search_runs(["0"], run_view_type=ViewType.ALL)) == 5
    for one in MlflowClient(target).search_runs(["0"]):
        assert "agentnn.import_unfinished" not in one.data.tags
        if one.data.metrics:
            assert len(MlflowClient(target).get_metric_history(one.info.run_id, "loss")) == 20
    ModelManager(target).export_runs(tmp_path / "again")
    assert fingerprint(tmp_path / "again") == fingerprint(tmp_path / "out")


def test_a_run_that_is_imported_in_part_is_not_exported(changed: str, tmp_path: Path):
    (alone,) = MlflowClient(changed).search_runs(["0"], "run_name = 'alone'")
    MlflowClient(changed).set_tag(alone.info.run_id, "agentnn.import_unfinished", "true")
    code, out, err = run(changed, "export", "out", "alone", cwd=tmp_path)
    assert (code, out) == (6, "")
    assert "imported only in part" in error_and_hint(err)[0]
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["export", "there"], 6, "there is there already"),
        (["export", "there.zip"], 6, "there.zip is there already"),
        (["export", "out.tgz"], 2, "archive of another kind"),
        (["export", "no/such/out"], 3, "there is no folder"),
        (["export", "out", "nobody"], 3, "there is no run 'nobody'"),
        (["export", "out", "-f", "params.lr = '99'"], 3, "there is no run to export"),
        (["export", "out", "-f", "params.lr ="], 2, "filter:"),
        (["export", "out", "alone", "-f", "params.lr = '3'"], 2, "either named or filtered"),
        (["import", "nowhere"], 3, "there is no nowhere"),
        (["import", "there"], 3, "there is no manifest.json in there"),
        (["import", "there.zip"], 5, "damaged"),
        (["import", "there.txt"], 2, "is no archive"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_not_be_done_is_said_and_nothing_is_left(
    arguments: list[str], code: int, said: str, source: str, tmp_path: Path
):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("x")
    for name in ("there.zip", "there.txt"):
        (tmp_path / name).write_text("x")
    before = fingerprint(tmp_path)
    found, out, err = run(source, *arguments, cwd=tmp_path)
    assert (found, out) == (code, "")
    assert said in error_and_hint(err)[0]
    assert fingerprint(tmp_path) == before


def test_an_experiment_that_is_deleted_is_said_with_the_way_out(changed: str, target: str, tmp_path: Path):
    client = MlflowClient(changed)
    run_id = client.create_run(client.create_experiment("gone"), BEGAN, {}, "there").info.run_id
    run(changed, "export", "out", run_id, cwd=tmp_path)
    client = MlflowClient(target)
    client.delete_experiment(client.create_experiment("gone"))
    code, _, err = run(target, "import", "out", cwd=tmp_path)
    assert (code, "still holds its name" in err, "-e" in err) == (6, True, True)


def test_what_a_store_would_not_take_comes_back_all_the_same(source: str, target: str, tmp_path: Path):
    """Old stores have runs without a name or a start, which MLflow makes up."""
    run(source, "export", "made", "alone", cwd=tmp_path)
    (path,) = (tmp_path / "made").glob("runs/*/run.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": "", "start_time": None}, indent=2) + "\n")
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text())
    for one in manifest["files"]:
        data = (tmp_path / "made" / one["path"]).read_bytes()
        one.update(size=len(data), sha256=sha256(data).hexdigest())
    (tmp_path / "made" / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    assert run(target, "import", "made", cwd=tmp_path)[0] == 0
    assert run(target, "export", "again", cwd=tmp_path)[0] == 0
    assert fingerprint(tmp_path / "again") == fingerprint(tmp_path / "made")
