"""What is written straight to a folder of runs is what MLflow would have written: the trees are compared, byte by byte.

And whenever the writer is killed, MLflow reads everything that was written before.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import ViewType
from stores.writer_requests import NOON, REQUESTS, Player

from agentnn.errors import AgentNNError, ConflictError, CorruptDataError, NotFoundError, StoreUnavailable, UsageError
from agentnn.records import RUN_NAME_TAG, Metric, Run
from agentnn.settings import Settings
from agentnn.stores.mlflow.experiment_changes import MlflowExperimentChanges
from agentnn.stores.mlflow.run_changes import MlflowRunChanges
from agentnn.stores.mlflow.writer import MlflowWriter
from agentnn.stores.mlruns.experiment_changes import MlrunsExperimentChanges
from agentnn.stores.mlruns.meta import as_yaml, parse, run_meta
from agentnn.stores.mlruns.run_changes import MlrunsRunChanges
from agentnn.stores.mlruns.writer import MlrunsWriter
from agentnn.stores.opening import open_store
from agentnn.stores.run_changes import DELETION_TAG
from agentnn.stores.run_writer import UUID_TAG, open_writer

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = re.compile(r"^(creation_time|last_update_time|deleted_time): \d+$", re.MULTILINE)


class FolderPlayer(Player):
    """Carries out requests in a folder of runs, where the ids of experiments are random and a batch is no whole."""

    def __init__(self, writer: Any) -> None:
        super().__init__(writer)
        self.experiments = ["0"]

    def tree(self, root: Path) -> dict[str, str | None]:
        """Every file and folder, without ids and times of the clock."""
        return {
            self.without_ids(str(path.relative_to(root))): None if path.is_dir() else self._text_of(path, root)
            for path in root.rglob("*")
        }

    def without_ids(self, text: str) -> str:
        for number, experiment_id in enumerate(self.experiments[1:], start=1):
            text = text.replace(experiment_id, f"experiment {number}")
        return super().without_ids(text)

    def _play(self, name: str, *arguments: Any) -> object:
        if name == "ensure_experiment":
            found = self.writer.ensure_experiment(*arguments)
            if found not in self.experiments:
                self.experiments.append(found)
            return self.experiments.index(found)
        if name == "create_run":
            return super()._play(name, self.experiments[arguments[0]], *arguments[1:])
        if name == "log_batch":
            number, points, params, tags = arguments
            for key, text in params.items():  # MLflow keeps those before one that it refuses
                super()._play(name, number, (), {key: text}, {})
            return super()._play(name, number, points, {}, tags)
        return super()._play(name, *arguments)

    def _text_of(self, path: Path, root: Path) -> str:
        text = path.read_bytes().decode("utf-8").replace(str(root), "/root")
        return TIMES.sub(r"\1: some time", self.without_ids(text)) if path.name == "meta.yaml" else text


@pytest.fixture(autouse=True)
def _opt_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


@pytest.fixture(scope="module")
def two_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[Path, FolderPlayer]]]:
    """Two new folders: one that is written straight, one that MLflow writes."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        yield [
            (folder / name, FolderPlayer(writer(Settings(str(folder / name)))))
            for name, writer in (("ours", MlrunsWriter), ("mlflows", MlflowWriter))
        ]


@given(requests=st.lists(REQUESTS, min_size=1, max_size=12))
@example([("create_run", 0, "yes", {"a/b": "c"}), ("delete_run", 0), ("reopen", 0)])
@settings(max_examples=25)
def test_any_requests_leave_what_mlflow_leaves(
    two_stores: list[tuple[Path, FolderPlayer]], requests: list[tuple[Any, ...]]
) -> None:
    (ours, us), (theirs, them) = two_stores
    us.first = them.first = len(us.runs)
    begin = [("ensure_experiment", "alpha"), ("create_run", 1, "first", {"team": "a"})]
    for request in [*begin, *requests]:
        assert us.play(request) == them.play(request), request
    assert us.tree(ours) == them.tree(theirs)


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "{}/mlruns", "{}/my runs/", "file://{}/mlruns", "file:{}/m%20l"])
def test_it_lies_where_mlflow_would_put_it(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name, kind in (("ours", MlrunsWriter), ("mlflows", MlflowWriter)):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        writer = kind(Settings(uri.format(folder)))
        player = FolderPlayer(writer)
        for request in (("ensure_experiment", "a: b"), ("create_run", 1, "first", {})):
            player.play(request)
        found.append(player.tree(folder))
    assert found[0] == found[1]


def test_what_was_written_is_read_back(two_stores: list[tuple[Path, FolderPlayer]]) -> None:
    for _, player in two_stores:
        writer = player.writer
        experiment_id = writer.ensure_experiment("alpha")
        run_id = writer.create_run(experiment_id, "first", NOON, {UUID_TAG: "u-1"})
        player.runs.append(run_id)
        writer.log_batch(run_id, [Metric("m", 1.0, 3, NOON), Metric("m", math.nan, 4, NOON)], {"lr": "0.1", "a/b": "é"})
        assert writer.experiment_of(run_id) == experiment_id
        assert writer.params(run_id) == {"lr": "0.1", "a/b": "é"}
        assert [(one.step, str(one.value)) for one in writer.history(run_id, "m")] == [(3, "1.0"), (4, "nan")]
        assert writer.history(run_id, "other") == []
        assert writer.find_runs_by_uuid(experiment_id, "u-1") == [run_id]
        assert writer.find_runs_by_uuid(experiment_id, "u-2") == []
        with pytest.raises(NotFoundError):
            writer.experiment_of("0" * 32)


@pytest.fixture
def writer(tmp_path: Path) -> MlrunsWriter:
    """Writes straight to a folder of this test's own."""
    return MlrunsWriter(Settings(str(tmp_path / "store")))


@pytest.fixture
def run_id(writer: MlrunsWriter) -> str:
    """A run in it."""
    return writer.create_run("0", "first", NOON, {UUID_TAG: "u-1", "mlflow.user": "ana"})


@pytest.fixture
def folder(run_id: str, tmp_path: Path) -> Path:
    """The run's folder."""
    return tmp_path / "store" / "0" / run_id


def test_a_request_is_carried_out_whole_or_not_at_all(writer: MlrunsWriter, run_id: str) -> None:
    writer.log_batch(run_id, params={"lr": "0.1"})
    with pytest.raises(ConflictError, match="'lr'"):
        writer.log_batch(run_id, [Metric("m", 1.0, 0, NOON)], {"new": "1", "lr": "0.2"}, {"team": "b"})
    assert writer.history(run_id, "m") == []
    assert writer.params(run_id) == {"lr": "0.1"}


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a//b", "/a", "a/", "./a", "a/../b", "x" * 251, "a@b", "🚀"])
def test_names_that_mlflow_refuses_are_refused(writer: MlrunsWriter, run_id: str, name: str) -> None:
    theirs = MlflowWriter(writer._settings)
    for one in (writer, theirs):
        for what in ({"points": [Metric(name, 1.0, 0, NOON)]}, {"params": {name: "1"}}, {"tags": {name: "1"}}):
            with pytest.raises(UsageError):
                one.log_batch(run_id, **what)


def test_what_is_too_long_and_what_is_deleted_is_refused(writer: MlrunsWriter, run_id: str) -> None:
    with pytest.raises(UsageError, match="6001 characters"):
        writer.log_batch(run_id, params={"note": "x" * 6001})
    with pytest.raises(UsageError, match="too long for a file"):
        writer.log_batch(run_id, params={"é" * 200: "x"})
    with pytest.raises(UsageError, match="1 to 500"):
        writer.ensure_experiment("x" * 501)
    with pytest.raises(UsageError, match="two names"):
        writer.create_run("0", "a", NOON, {RUN_NAME_TAG: "b"})
    writer.delete_run(run_id)
    for request in (lambda: writer.log_batch(run_id, tags={"a": "b"}), lambda: writer.terminate(run_id, "FAILED", 1)):
        with pytest.raises(ConflictError, match="is deleted"):
            request()


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a")])
def test_what_stands_in_the_way_is_said_and_not_tried_for_ever(
    writer: MlrunsWriter, run_id: str, first: str, second: str
) -> None:
    for what in (lambda name: {"points": [Metric(name, 1.0, 0, NOON)]}, lambda name: {"params": {name: "1"}}):
        writer.log_batch(run_id, **what(first))
        with pytest.raises(ConflictError, match="both a file and a folder"):
            writer.log_batch(run_id, **what(second))


def test_files_arrive_whole(writer: MlrunsWriter, run_id: str, folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "plot.png"
    source.write_bytes(b"\x89PNG")
    writer.put_file(run_id, source, "figures/plot.png")
    assert (folder / "artifacts" / "figures" / "plot.png").read_bytes() == b"\x89PNG"


def test_names_with_quotes_make_one_experiment(writer: MlrunsWriter) -> None:
    assert writer.ensure_experiment('it\'s "x"') == writer.ensure_experiment('it\'s "x"') != "0"


def test_a_deleted_experiment_takes_no_run(writer: MlrunsWriter, tmp_path: Path) -> None:
    experiment_id = writer.ensure_experiment("alpha")
    MlflowClient(str(tmp_path / "store")).delete_experiment(experiment_id)
    with pytest.raises(ConflictError, match="still holds its name"):
        writer.ensure_experiment("alpha")
    with pytest.raises(ConflictError, match="is deleted"):
        writer.create_run(experiment_id, "a", NOON, {})
    with pytest.raises(NotFoundError):
        writer.create_run("77", "a", NOON, {})


def test_a_store_that_is_not_mounted_refuses_nothing(writer: MlrunsWriter, run_id: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.rename(tmp_path / "elsewhere")
    store.mkdir()
    with pytest.raises(StoreUnavailable, match="there is no store"):
        writer.log_batch(run_id, tags={"a": "b"})


def test_only_with_the_opt_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    with pytest.raises(UsageError, match="MLFLOW_ALLOW_FILE_STORE"):
        open_writer(Settings(str(tmp_path / "store")))
    assert not (tmp_path / "store").exists()


def test_the_door_opens_it_and_mlflow_stays_unloaded(tmp_path: Path) -> None:
    program = (
        "import sys; from agentnn.settings import Settings; from agentnn.stores.run_writer import open_writer\n"
        f"writer = open_writer(Settings({(tmp_path / 'store').as_uri()!r}))\n"
        "run = writer.create_run(writer.ensure_experiment('a'), 'b', 1, {})\n"
        "writer.log_batch(run, params={'lr': '1'}); writer.terminate(run, 'FINISHED', 2)\n"
        "print(type(writer).__name__, [one for one in ('mlflow', 'sqlalchemy', 'pandas') if one in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "MlrunsWriter []"


@pytest.mark.parametrize("uri", ["databricks", "file://host/mlruns", "a%20b", "artifacts/mlruns"])
def test_what_only_mlflow_understands_is_left_to_it(uri: str) -> None:
    from agentnn.stores.mlruns.place import mlruns_folder

    assert mlruns_folder(Settings(uri)) is None
    assert mlruns_folder(Settings("mlruns", workspace="other")) is None


def test_runs_change_as_mlflow_changes_them(writer: MlrunsWriter, run_id: str, tmp_path: Path) -> None:
    other = writer.create_run("0", "other", NOON, {"old": "1", "a/b": "c"})
    shutil.copytree(tmp_path / "store", tmp_path / "twin")
    run, another = open_store(Settings(str(tmp_path / "store"))).find_runs([run_id, other])
    ours, theirs = MlrunsRunChanges(writer._settings), MlflowRunChanges(Settings(str(tmp_path / "twin")))
    for changes in (ours, theirs):
        changes.delete([run, another], mark="m")
        changes.restore([replace(another, tags={**another.tags, DELETION_TAG: "m"})])
        changes.tag([another], {"new": "é", RUN_NAME_TAG: "n"}, ["old", "a/b", "never"])
        with pytest.raises(ConflictError, match="is deleted; 1 of 2 runs were tagged"):
            changes.tag([another, run], {"new": "2"})
        with pytest.raises(NotFoundError, match="0 of 2 runs were deleted, not 0000"):
            changes.delete([replace(run, run_id="0" * 32), another])
    trees = [FolderPlayer(None).tree(tmp_path / name) for name in ("store", "twin")]
    assert {key: str(text).replace("/root", str(tmp_path / "store")) for key, text in trees[0].items()} == {
        key: str(text) for key, text in trees[1].items()
    }


def test_experiments_change_as_mlflow_changes_them(tmp_path: Path) -> None:
    trees = []
    for name, kind in (("ours", MlrunsExperimentChanges), ("mlflows", MlflowExperimentChanges)):
        said = Settings(str(tmp_path / name))
        changes, player = kind(said), FolderPlayer(MlrunsWriter(said))
        for number, location in enumerate((None, "s3://bucket/x?a=b", "s3://bucket"), start=1):
            made = changes.create(f"name {number}: x", location, {"team": "a", "a/b": "é"})
            player.experiments.append(made)
            player.play(("create_run", number, "first", {"team": "a"}))
            player.play(("create_run", number, "second", {}))
        first, second, third = player.experiments[1:]
        player.writer.delete_run(player.runs[0])
        with pytest.raises(ConflictError):
            changes.create("Default", None, {})
        changes.rename(first, "renamed")
        with pytest.raises(ConflictError):
            changes.rename(first, "name 2: x")
        changes.set_tag(first, "a/c", "\n")
        changes.delete_tag(first, "team")
        changes.delete_tag(first, "never")
        changes.delete(first)
        changes.delete(second)
        assert changes.stage_of("renamed") == "deleted"
        with pytest.raises(AgentNNError):
            changes.delete("0")
        with pytest.raises(AgentNNError):
            changes.set_tag(first, "a", "b")
        changes.restore(second)
        assert [changes.stage_of(one) for one in ("name 2: x", "none", third)] == ["active", None, None]
        trees.append(player.tree(tmp_path / name))
    assert trees[0] == trees[1]


# --- kills

KILLED = """
import os, sys
from agentnn.records import Metric
from agentnn.settings import Settings
from agentnn.stores.mlruns.run_changes import MlrunsRunChanges
from agentnn.stores.mlruns.experiment_changes import MlrunsExperimentChanges
from agentnn.stores.mlruns.writer import MlrunsWriter

count = 0

def dying(name, moment):
    real = getattr(os, name)

    def call(*arguments, **named):
        global count
        count += 1
        if count == moment:
            os._exit(9)
        return real(*arguments, **named)

    setattr(os, name, call)

os.fsync = lambda descriptor: None  # a hundred of them are slow

def carry_out(uri):
    writer = MlrunsWriter(Settings(uri))
    experiment = writer.ensure_experiment("alpha")
    run = writer.create_run(experiment, "first", 1, {"agentnn.run_uuid": "u-1"})
    writer.log_batch(run, [Metric("a/loss", 1.5, 1, 1)], {"lr": "1"}, {"team": "a"})
    writer.log_batch(run, [Metric("a/loss", 1.5, 2, 2)], {"more": "1"}, {"team": "b", "mlflow.runName": "second"})
    writer.terminate(run, "FINISHED", 9)
    writer.reopen(run)
    writer.delete_tag(run, "team")
    writer.delete_run(run)
    changes = MlrunsExperimentChanges(Settings(uri))
    changes.rename(experiment, "beta")
    changes.set_tag(experiment, "team", "a")
    changes.delete(experiment)
    changes.restore(experiment)
    changes.rename(experiment, "alpha")

moment, died = 0, True
while died:
    moment += 1
    child = os.fork()
    if child == 0:
        for name in ("replace", "rename", "mkdir", "write", "unlink", "fsync", "rmdir", "ftruncate", "open"):
            dying(name, moment)
        carry_out(f"{sys.argv[1]}/killed {moment}")
        os._exit(0)
    died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
"""
"""Carries out requests in children that die before their first change of a file or a folder, their second, …"""


def test_a_kill_between_any_two_changes_leaves_what_mlflow_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # as in the children
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True)
    moments = len(list(tmp_path.iterdir()))
    assert moments > 40
    for moment in range(1, moments + 1):
        uri = str(tmp_path / f"killed {moment}")
        if Path(uri).exists():
            check_with_mlflow(uri)
        goes_on(uri)


def check_with_mlflow(uri: str) -> None:
    """MLflow finds no more than a run, and nothing half."""
    client = MlflowClient(uri)
    experiments = client.search_experiments(view_type=ViewType.ALL)
    runs = client.search_runs([one.experiment_id for one in experiments], run_view_type=ViewType.ALL)
    assert len(runs) <= 1
    for run in runs:
        assert run.data.tags[UUID_TAG] == "u-1"
        assert run.info.run_name in ("first", "second")
        assert run.data.metrics in ({}, {"a/loss": 1.5})
        assert {len(line.split()) for line in lines_of(uri, run)} <= {3}


def goes_on(uri: str) -> None:
    """A writer that comes after the killed one finds what is there, and nothing stands in its way."""
    writer, changes = MlrunsWriter(Settings(uri)), MlrunsExperimentChanges(Settings(uri))
    [*others] = {path.parent.name for path in Path(uri).glob(".trash/*/meta.yaml")}
    for one in others:
        changes.restore(one)
    if changes.stage_of("beta") is not None:
        [beta] = {path.parent.name for path in Path(uri).glob("[1-9]*/meta.yaml")}
        changes.delete(beta)
        changes.restore(beta)
        changes.rename(beta, "alpha")
    experiment_id = writer.ensure_experiment("alpha")
    found = writer.find_runs_by_uuid(experiment_id, "u-1")
    run_id = found[0] if found else writer.create_run(experiment_id, "first", 1, {UUID_TAG: "u-1"})
    if MlflowClient(uri).get_run(run_id).info.lifecycle_stage == "active":
        writer.log_batch(run_id, [Metric("a/loss", 2.5, 3, 3)], tags={"team": "c"})
        assert MlflowClient(uri).get_run(run_id).data.metrics == {"a/loss": 2.5}
    check_left_overs(Path(uri))


def check_left_overs(root: Path) -> None:
    """Nothing unfinished is left but, at most, one file."""
    assert sum(path.name.startswith(".agentnn.") for path in root.rglob("*")) <= 1


def lines_of(uri: str, run: Any) -> list[str]:
    file = Path(uri, run.info.experiment_id, run.info.run_id, "metrics", "a", "loss")
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def test_the_disk_holds_what_is_acknowledged(
    writer: MlrunsWriter, run_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_sync, real_replace = os.fsync, os.replace
    held: dict[int, int] = {}
    early: list[Path] = []

    def sync(descriptor: int) -> None:
        held[os.fstat(descriptor).st_ino] = os.fstat(descriptor).st_size
        real_sync(descriptor)

    def replace(source: Any, target: Any, **named: Any) -> None:
        if Path(source).stat().st_ino not in held:
            early.append(Path(target))
        real_replace(source, target, **named)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    points = [Metric("a/loss", 0.5, 0, NOON), Metric("b", 0.5, 0, NOON)]
    for turn in range(3):
        held.clear()
        writer.log_batch(run_id, points, {f"lr{turn}": "1"}, {"team/x": str(turn)})
        changed = [folder / "metrics" / "a" / "loss", folder / "metrics" / "b", folder / "params" / f"lr{turn}",
                   folder / "tags" / "team" / "x"]  # fmt: skip
        assert [held.get(file.stat().st_ino) for file in changed] == [file.stat().st_size for file in changed]
        new = [folder / "params", folder / "tags" / "team"] + [folder / "metrics" / "a", folder / "metrics"] * (
            not turn
        )
        assert {place.stat().st_ino for place in new} <= held.keys()
    held.clear()
    writer.terminate(run_id, "FINISHED", NOON)
    assert {(folder / "meta.yaml").stat().st_ino, folder.stat().st_ino} <= held.keys()
    assert early == []


@pytest.mark.parametrize("cut", ["", "1", "17000", "1700000000000", "1700000000000 0.12", "1700000000000 0.125 1"])
@pytest.mark.parametrize("before", ["", "1700000000000 0.5 0\n"])
def test_a_line_that_broke_off_does_not_count_and_goes(
    writer: MlrunsWriter, run_id: str, folder: Path, before: str, cut: str
) -> None:
    (folder / "metrics" / "m").write_text(before + cut, encoding="ascii")
    assert len(writer.history(run_id, "m")) == len(before.splitlines())
    writer.log_batch(run_id, [Metric("m", 0.125, 17, NOON)])
    assert (folder / "metrics" / "m").read_text(encoding="ascii") == f"{before}{NOON} 0.125 17\n"


def test_a_full_disk_adds_no_part_of_a_line(
    writer: MlrunsWriter, run_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.log_batch(run_id, [Metric("m", 0.5, 0, NOON)])
    before = (folder / "metrics" / "m").read_bytes()
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:5]))
    with pytest.raises(StoreUnavailable, match="No space"):
        writer.log_batch(run_id, [Metric("m", 0.25, 1, NOON)])
    assert (folder / "metrics" / "m").read_bytes() == before


# --- what an older sender left


@pytest.mark.parametrize("left", ["", "artifact_uri: /x", "- 1\n"])
def test_a_run_without_its_meta_is_mended(writer: MlrunsWriter, run_id: str, folder: Path, left: str) -> None:
    whole = (folder / "meta.yaml").read_bytes()
    writer.mend_run("0", run_id, "another", 1)
    assert (folder / "meta.yaml").read_bytes() == whole
    (folder / "meta.yaml").write_text(left, encoding="utf-8")
    if left != "artifact_uri: /x":
        with pytest.raises(CorruptDataError, match="empty or damaged"):
            writer.log_batch(run_id, tags={"a": "b"})
    assert writer.find_runs_by_uuid("0", "u-1") == [run_id]
    writer.mend_run("0", run_id, "another", NOON)
    assert (folder / "meta.yaml").read_bytes() == whole
    writer.mend_run("0", "0" * 32, "another", NOON)


def test_a_run_that_was_only_begun_is_taken_up(writer: MlrunsWriter, run_id: str, tmp_path: Path) -> None:
    begun = tmp_path / "store" / "0" / ("1" * 32)
    begun.mkdir()
    (begun / "meta.yaml").touch()
    assert writer.find_run_without_tags("0", "first", NOON) == "1" * 32
    writer.mend_run("0", "1" * 32, "first", NOON)
    assert writer.find_run_without_tags("0", "first", NOON) == "1" * 32
    assert writer.find_run_without_tags("0", "second", NOON) is None
    assert len(MlflowClient(str(tmp_path / "store")).search_runs(["0"])) == 2


# --- meta.yaml

TEXT = st.text(max_size=12) | st.sampled_from(
    ["yes", "No", "null", "~", "1e5", "0x1f", "12:30", "2024-01-01", "a: b", "a #b", "a:", "-", "a ", "'", "x " * 60]
)


@given(st.builds(run_meta, TEXT, TEXT, TEXT, TEXT, TEXT, st.integers(-(2**63), 2**63)))
@settings(max_examples=300)
def test_a_meta_is_read_back(meta: dict[str, Any]) -> None:
    text = as_yaml(meta)
    found = parse(text)
    assert found is not None
    assert {key: value for key, value in meta.items() if key in found} == found
    assert found.keys() | {"tags"} >= set(Run.__dataclass_fields__) & meta.keys() | {
        "user_id",
        "experiment_id",
        "run_name",
    }
    assert yaml.safe_load(text) == meta


@given(st.lists(st.tuples(st.sampled_from(["run_id", "status", "x y", "tags", "on", "  a.b"]), TEXT), max_size=3))
@example([("tags", ""), ("  a.b", "c d"), ("  e", "'it''s'"), ("name", "x")])
@example([("tags", ""), ("  on", "yes"), ("tags", "{}")])
@settings(max_examples=300)
def test_whatever_else_it_holds_is_read_as_yaml(lines: list[tuple[str, str]]) -> None:
    text = "".join(f"{key}: {value}".rstrip(" ") + "\n" for key, value in lines)
    try:
        wanted = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError):
        wanted = None
    found = parse(text.encode("utf-8", "surrogatepass"))
    assert repr(found) == repr(wanted if isinstance(wanted, dict) else None)
