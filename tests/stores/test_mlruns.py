"""A folder of runs, read by us and by MLflow: the same answers, and nothing that is damaged takes more with it."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from generated_stores import (
    METRICS,
    NOON,
    ExperimentSpec,
    Point,
    RunSpec,
    StoreSpec,
    examples,
    points,
    run_id,
    stores,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelStatus
from mlruns_stores import write_mlruns_run, write_mlruns_store

from agentnn.errors import CorruptDataError, StoreUnavailable, UnreadableWarning, UsageError
from agentnn.query.filters import parse_filter, parse_order
from agentnn.query.runs import OrderBy, RunQuery
from agentnn.query.selection import AGGREGATES, BestQuery, aggregate_history
from agentnn.records import PARENT_TAG, Metric
from agentnn.settings import Settings
from agentnn.stores.mlflow.registry import MlflowClientRegistry
from agentnn.stores.mlflow.store import MlflowClientStore
from agentnn.stores.mlruns.metric_values import aggregated_value, latest_value, points_in
from agentnn.stores.mlruns.registry import MlrunsRegistry
from agentnn.stores.mlruns.store import MlrunsStore
from agentnn.stores.opening import open_registry, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentnn.records import Run

VIEWS = ("active", "deleted", "all")
FILTERS = ("metrics.loss > 0", "params.lr = '0.001' OR status != 'FINISHED'", "tags.team LIKE '%a%'", "name != 'x'",
           "datasets.name = 'prices'", "NOT parent_run_id IS NULL")  # fmt: skip
ORDERS = ("metrics.loss DESC", "params.lr", "run_name", "end_time DESC")


def both(folder: Path) -> tuple[MlrunsStore, MlflowClientStore]:
    said = Settings(str(folder), registry_uri=str(folder))
    return MlrunsStore(said), MlflowClientStore(str(folder), said)


def plain(answer: Any) -> str:
    """An answer in which NaN is equal to NaN and mappings are in no order."""
    return repr(_plain(answer))


def _plain(one: Any) -> Any:
    if hasattr(one, "__dataclass_fields__"):
        return {name: _plain(getattr(one, name)) for name in one.__dataclass_fields__}
    if isinstance(one, dict):
        return sorted((key, _plain(value)) for key, value in one.items())
    return [_plain(each) for each in one] if isinstance(one, list | tuple) else one


def without_ties(store: StoreSpec) -> StoreSpec:
    """MLflow chooses by chance between NaN and a number of the same step and time."""
    runs = []
    for run in store.runs:
        metrics = {
            key: tuple({(one.step, one.timestamp): one for one in reversed(history)}.values())
            for key, history in run.metrics.items()
        }
        runs.append(replace(run, metrics=metrics))
    return StoreSpec(store.experiments, tuple(runs))


@given(store=stores(max_runs=8))
@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_answers_are_mlflows(store: StoreSpec, tmp_path: Path) -> None:
    store = without_ties(store)
    if all(one.lifecycle_stage == "deleted" for one in store.experiments):
        return  # MLflow would always keep one
    folder = tmp_path / "store"
    write_mlruns_store(folder, store)
    ours, theirs = both(folder)
    everywhere = tuple(str(one.experiment_id) for one in store.experiments)
    for view in VIEWS:
        assert plain(ours.list_experiments(view)) == plain(theirs.list_experiments(view))
        for scope in (None, everywhere, ("0", "77")):
            query = RunQuery(scope, view=view)
            assert plain(list(ours.search_runs(query))) == plain(list(theirs.search_runs(query)))
    query = RunQuery(everywhere, view="all")
    found = list(theirs.search_runs(query))
    for text in FILTERS:
        wanted = query._replace(filter=parse_filter(text))
        assert ids(ours.search_runs(wanted)) == ids(theirs.search_runs(wanted)), text
        assert ours.count_runs(wanted) == theirs.count_runs(wanted), text
    for text in ORDERS:
        wanted = query._replace(order_by=(OrderBy(*parse_order(text)),), limit=3)
        assert ids(ours.search_runs(wanted)) == ids(theirs.search_runs(wanted)), text
    for aggregate in AGGREGATES:
        best = BestQuery("loss", "min", aggregate, query, top=2, include_children=False, tally=True)
        for asked in (
            best,
            best._replace(tally=False, mode="max", scope=query._replace(filter=parse_filter(FILTERS[0]))),
        ):
            assert plain(ours.best_runs(asked)) == plain(theirs.best_runs(asked)), aggregate
    for kind in ("metric", "param", "tag"):
        assert ours.field_keys(kind, query) == theirs.field_keys(kind, query)
    for run in found:
        for key in METRICS:
            assert plain(ours.metric_history(run.run_id, key)) == plain(theirs.metric_history(run.run_id, key))
    assert plain(list(ours.metric_histories(found))) == plain(list(theirs.metric_histories(found)))
    some = [run_id(1), *(run.run_id for run in found), "../0", "no id"]
    assert plain(ours.find_runs(some)) == plain(theirs.find_runs(some))


def ids(runs: Iterable[Run]) -> list[str]:
    return [run.run_id for run in runs]


@pytest.fixture
def written_by_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that MLflow has written, with what the format holds beside values."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "store"
    client = MlflowClient(str(folder))
    experiment = client.create_experiment("alpha: #1", tags={"a/b": "c"})
    run = client.create_run(experiment, start_time=NOON, run_name="first", tags={"team/x": "é\n"}).info.run_id
    client.log_metric(run, "val/loss", math.inf, NOON, 3)
    client.log_metric(run, "val/loss", 0.5, NOON, 2)
    prices = Dataset("prices", "d1", "local", "{}")
    client.log_inputs(run, [DatasetInput(prices, [InputTag("mlflow.data.context", "training")])])
    model = client.create_logged_model(experiment, name="net", source_run_id=run)
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    file = Path(model.artifact_location, "MLmodel")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("flavors: {}\n", encoding="utf-8")
    client.log_text(run, "hello", "texts/a.txt")
    client.set_terminated(run, end_time=NOON + 9)
    client.delete_run(client.create_run(experiment, start_time=NOON, run_name="12").info.run_id)
    gone = client.create_experiment("gone")
    client.create_run(gone, start_time=NOON)
    client.delete_experiment(gone)
    client.create_registered_model("a model")
    return folder


def test_what_mlflow_has_written_is_read(written_by_mlflow: Path) -> None:
    ours, theirs = both(written_by_mlflow)
    for view in VIEWS:
        assert plain(ours.list_experiments(view)) == plain(theirs.list_experiments(view))
        query = RunQuery(view=view)
        assert plain(list(ours.search_runs(query))) == plain(list(theirs.search_runs(query)))
    [run] = ours.search_runs(RunQuery(filter=parse_filter("name = 'first'")))
    assert run.metrics == {"val/loss": math.inf}
    assert [one.context for one in run.datasets] == ["training"]
    for path in ("", "net", "texts"):
        assert ours.list_artifacts(run, path) == theirs.list_artifacts(run, path)
    assert [one.path for one in ours.list_artifacts(run, "net")] == ["net/MLmodel"]
    assert ours.find_experiment(name="gone") == theirs.find_experiment(name="gone")


def test_reading_changes_nothing_and_needs_neither_the_opt_in_nor_mlflow(written_by_mlflow: Path) -> None:
    (written_by_mlflow / ".trash").rename(written_by_mlflow.parent / "trash")
    before = {path: path.stat().st_mtime_ns for path in written_by_mlflow.rglob("*")}
    program = (
        "import sys; from agentnn import ModelManager\n"
        f"manager = ModelManager({written_by_mlflow.as_uri()!r})\n"
        "run = manager.list_runs()[0]; manager.get_metric_history(run.run_id, 'val/loss')\n"
        "print(run.name, [one for one in ('mlflow', 'sqlalchemy', 'pandas', 'yaml') if one in sys.modules])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_ALLOW_FILE_STORE"}
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert answer.stdout.strip() == "first []"
    assert {path: path.stat().st_mtime_ns for path in written_by_mlflow.rglob("*")} == before


def test_the_door_opens_it(written_by_mlflow: Path, tmp_path: Path) -> None:
    assert isinstance(open_store(Settings(str(written_by_mlflow))), MlrunsStore)
    assert isinstance(open_store(Settings(str(written_by_mlflow), workspace="other")), MlflowClientStore)
    with pytest.raises(StoreUnavailable):
        open_store(Settings(str(tmp_path / "none")))
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        open_store(Settings(str(tmp_path / "file")))


# --- what is opened

MANY = tuple(
    RunSpec(run_id(number), params={"lr": str(number), "opt": "a"}, metrics={"m": points(number), "n": points(1)})
    for number in range(20)
)


def test_a_question_opens_only_what_it_is_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mlruns_store(tmp_path / "store", StoreSpec(runs=MANY))
    store = both(tmp_path / "store")[0]
    opened: list[str] = []
    real = os.open

    def seen(path: Any, *arguments: Any, **named: Any) -> int:
        opened.append(str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", seen)

    def files_of(question: Any) -> dict[str, int]:
        opened.clear()
        question()
        kinds = [Path(one).parent.name if Path(one).name != "meta.yaml" else "meta" for one in opened]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}

    whole = {"metrics": 2, "params": 2, "tags": 1}
    assert files_of(lambda: store.count_runs(RunQuery())) == {"meta": 21}
    assert files_of(lambda: list(store.search_runs(RunQuery(limit=1)))) == {"meta": 21, **whole}
    filtered = RunQuery(filter=parse_filter("params.lr = '3'"))
    found_again = 1  # of many runs the places are kept, not what they say
    assert files_of(lambda: list(store.search_runs(filtered))) == {"meta": 21 + found_again, **whole, "params": 22}
    records = {key: 2 * count for key, count in whole.items()}
    assert files_of(lambda: store.best_runs(BestQuery("m", tally=True))) == {**records, "meta": 21, "metrics": 24}
    assert files_of(lambda: store.best_runs(BestQuery("m"))) == {**records, "meta": 3, "metrics": 24}
    assert files_of(lambda: store.best_runs(BestQuery("m", scope=filtered))) == {**whole, "meta": 21, "metrics": 22,
                                                                                "params": 22}  # fmt: skip
    assert files_of(lambda: store.metric_history(run_id(1), "m")) == {"meta": 2, "metrics": 1}


# --- metrics


@pytest.mark.parametrize("few", [True, False])
@given(history=st.lists(st.builds(Point, st.floats(), st.integers(-3, 3), st.integers(NOON, NOON + 2)), min_size=1))
def test_the_latest_value_is_that_of_the_greatest_step_then_time_then_value(few: bool, history: list[Point]) -> None:
    if not few:
        history = [*history, *(Point(0.0, -9, NOON) for _ in range(20))]
    lines = [f"{one.timestamp} {one.value} {one.step}\n".encode() for one in history]
    ranked = sorted(history, key=lambda one: (one.step, one.timestamp, 0.0 if math.isnan(one.value) else one.value))
    kept = [math.copysign(math.inf, one.value) if abs(one.value) >= sys.float_info.max else one.value for one in ranked]
    for blocks in ([b"".join(lines)], [b"".join(lines[:9]), *lines[9:12], b"".join(lines[12:])]):
        assert repr([one.value + 0.0 for one in points_in("m", blocks)]) == repr([value + 0.0 for value in kept])
        found = latest_value(blocks)
        assert found is not None
        assert found == kept[-1] or sorted(map(repr, (found + 0.0, kept[-1] + 0.0))) in (["0.0", "nan"], ["nan", "nan"])
        for aggregate in AGGREGATES[1:]:
            judged = aggregate_history(points_in("m", blocks), aggregate)
            assert repr(aggregated_value(blocks, aggregate)) in (repr(judged), repr(-(judged or 0.0)))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("1 0.5\n", [0.5]),
        ("1 0.5\n2 0.25\n", [0.5, 0.25]),
        ("1 0.5 7 prices d1\n", [0.5]),
        ("1 0.5 0\n2 0.25 1", [0.5, 0.25]),
        ("1 0.5 0\n2 0.2", [0.5]),
        ("1 0.5 0\n17", [0.5]),
        ("17", []),
        ("1 nan 0\n", [math.nan]),
    ],
)
def test_lines_of_all_ages_are_read_and_one_that_broke_off_is_not(text: str, values: list[float]) -> None:
    assert repr([one.value for one in points_in("m", [text.encode()])]) == repr(values)
    assert repr(latest_value([text.encode()])) == repr(values[-1] if values else None)
    assert repr(aggregated_value([text.encode()], "first")) == repr(values[0] if values else None)


def test_lines_of_two_and_of_five_fields_are_not_taken_for_lines_of_three() -> None:
    text = "1 0.5\n2 0.25\n3 0.125 1 12 13\n" * 9
    assert {(one.timestamp, one.value, one.step) for one in points_in("m", [text.encode()])} == {
        (1, 0.5, 0),
        (2, 0.25, 0),
        (3, 0.125, 0),
    }


# --- damage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three runs and two experiments."""
    runs = tuple(
        RunSpec(run_id(number), 0, f"r{number}", start_time=NOON + number, metrics={"m": points(number)},
                params={"lr": "1"})
        for number in (1, 2, 3)
    )  # fmt: skip
    write_mlruns_store(tmp_path / "store", StoreSpec((ExperimentSpec(0, "Default"), ExperimentSpec(1, "one")), runs))
    return tmp_path / "store"


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\xfe", b"- 1\n", b"a: [", b"status: 9\n", b"artifact_uri: /x\n", b"\0" * 99], ids=repr
)
def test_a_run_without_a_readable_meta_is_left_out_and_named(folder: Path, damage: bytes) -> None:
    meta = folder / "0" / run_id(2) / "meta.yaml"
    meta.write_bytes(damage)
    os.utime(meta, (1, 1))
    store = both(folder)[0]
    with pytest.warns(UnreadableWarning, match=run_id(2)):
        assert ids(store.search_runs(RunQuery())) == [run_id(3), run_id(1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was told once
        for tally in (True, False):
            assert store.best_runs(BestQuery("m", top=2, tally=tally)).candidates[1].run.run_id == run_id(1)
    with pytest.raises(CorruptDataError):
        store.find_runs([run_id(2)])


@pytest.mark.parametrize(
    ("file", "damage"), [("metrics/m", b"x y z\n"), ("metrics/m", b"1 2 3 4\n"), ("params/lr", b"\xff")]
)
def test_a_value_that_is_none_is_left_out_and_named(folder: Path, file: str, damage: bytes) -> None:
    (folder / "0" / run_id(2) / file).write_bytes(damage)
    store = both(folder)[0]
    with pytest.warns(UnreadableWarning, match=file):
        found = store.find_runs([run_id(2)])
    assert [len(found[0].metrics) + len(found[0].params), found[0].name] == [1, "r2"]


def test_what_is_no_run_is_passed_over(folder: Path) -> None:
    (folder / "0" / ".DS_Store").touch()
    (folder / "0" / "notes").mkdir()
    (folder / "models" / "a model").mkdir(parents=True)
    (folder / "mlartifacts.txt").touch()
    shutil.copytree(folder / "0" / run_id(1), folder / "1" / run_id(1))  # of another experiment, it says
    (folder / "0" / run_id(1) / "metrics" / "@odd").write_text("1 1 1\n")
    store = both(folder)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ids(store.search_runs(RunQuery())) == [run_id(3), run_id(2), run_id(1)]
        assert store.find_runs([run_id(1)])[0].metrics == {"m": 1.0}
        assert [one.name for one in store.list_experiments()] == ["Default", "one"]


def linked(folder: Path) -> None:
    (folder / "0" / run_id(2)).rename(folder.parent / "elsewhere")
    (folder / "0" / run_id(2)).symlink_to(folder.parent / "elsewhere")
    (folder / "0" / run_id(8)).symlink_to(folder.parent / "nowhere")


def with_empty_folders(folder: Path) -> None:
    (folder / "0" / run_id(8)).mkdir()
    (folder / "5").mkdir()
    (folder / "0" / run_id(9) / "metrics").mkdir(parents=True)


def with_carriage_returns(folder: Path) -> None:
    (folder / "0" / run_id(2) / "metrics" / "m").write_bytes(b"5 0.5 0\r\n6 0.25 1\r\n" * 9)
    (folder / "0" / run_id(2) / "params" / "lr").write_bytes(b"1\r\n2\r")


def with_deep_names(folder: Path) -> None:
    for kind, text in (("metrics", "5 0.5 0\n"), ("params", "é\n"), ("tags", "")):
        file = folder / "0" / run_id(2) / kind / "a b" / "c.d" / "e:f"
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")


def with_nested_and_deleted_runs(folder: Path) -> None:
    write_mlruns_run(
        folder / "0" / run_id(4), RunSpec(run_id(4), 0, tags={PARENT_TAG: run_id(1)}, metrics={"m": points(9)})
    )
    write_mlruns_run(folder / "0" / run_id(5), RunSpec(run_id(5), 0, lifecycle_stage="deleted"))
    (folder / "1").rename(folder / ".trash" / "1")


@pytest.mark.parametrize(
    "odd",
    [linked, with_empty_folders, with_carriage_returns, with_deep_names,
     with_nested_and_deleted_runs],
)  # fmt: skip
def test_what_is_odd_is_read_as_mlflow_reads_it(folder: Path, odd: Callable[[Path], None]) -> None:
    odd(folder)
    ours, theirs = both(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for view in VIEWS:
            assert plain(ours.list_experiments(view)) == plain(theirs.list_experiments(view))
            query = RunQuery(view=view)
            for asked in (query, query._replace(experiment_ids=("0", "1"))):
                assert plain(list(ours.search_runs(asked))) == plain(list(theirs.search_runs(asked)))
        for key in ("m", "a b/c.d/e:f"):
            assert plain(ours.metric_history(run_id(2), key)) == plain(theirs.metric_history(run_id(2), key))
            assert plain(ours.best_runs(BestQuery(key))) == plain(theirs.best_runs(BestQuery(key)))


@pytest.mark.parametrize("name", ["bad name!", "0.bak", "7"])
def test_a_folder_that_can_be_no_experiment_is_passed_over(folder: Path, name: str) -> None:
    shutil.copytree(folder / "0", folder / name)  # over some of which MLflow lists no experiment at all
    store = both(folder)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [one.name for one in store.list_experiments("all")] == ["Default", "one"]
        assert len(list(store.search_runs(RunQuery()))) == 3


def test_garbage_in_the_middle_of_a_metric_costs_that_metric(folder: Path) -> None:
    lines = [b"5 0.5 %d\n" % step for step in range(40)]
    (folder / "0" / run_id(2) / "metrics" / "m").write_bytes(b"".join([*lines, b"\xff\xfe garbage\n", *lines]))
    for aggregate in AGGREGATES:
        store = both(folder)[0]
        with pytest.warns(UnreadableWarning, match=f"{run_id(2)}/metrics/m is no metric"):
            best = store.best_runs(BestQuery("m", aggregate=aggregate, top=5))
        assert [one.run.run_id for one in best.candidates] == [run_id(3), run_id(1)]


def test_what_could_not_win_is_not_told_of(folder: Path) -> None:
    deleted = folder / "0" / run_id(2)
    (deleted / "metrics" / "m").write_text("garbage\n")
    (deleted / "meta.yaml").write_text(
        (deleted / "meta.yaml").read_text().replace("lifecycle_stage: active", "lifecycle_stage: deleted")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert both(folder)[0].best_runs(BestQuery("m")).candidates[0].run.run_id == run_id(3)


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "0" / run_id(1) / "tags" / "pipe")
    (folder / "0" / run_id(2) / "meta.yaml").unlink()
    os.mkfifo(folder / "0" / run_id(2) / "meta.yaml")
    with pytest.warns(UnreadableWarning, match=run_id(2)):
        found = list(both(folder)[0].search_runs(RunQuery()))
    assert [run.tags.get("pipe") for run in found] == [None, ""]


def test_a_folder_that_may_not_be_looked_into_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = both(folder)[0]
    real = os.scandir

    def closed(path: Any) -> Any:
        if str(path).endswith(f"{run_id(2)}/metrics"):
            raise PermissionError(13, "Permission denied", path)  # root, who runs the tests, may look into any
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.warns(UnreadableWarning, match="metrics can't be read: Permission denied"):
        found = list(store.search_runs(RunQuery()))
    assert [len(run.metrics) for run in found] == [1, 0, 1]


def test_a_damaged_experiment_is_left_out_and_named(folder: Path) -> None:
    (folder / "1" / "meta.yaml").write_text("")
    os.utime(folder / "1" / "meta.yaml", (1, 1))
    with pytest.warns(UnreadableWarning, match="1/meta.yaml is empty"):
        assert [one.name for one in both(folder)[0].list_experiments()] == ["Default"]


def test_a_file_that_mlflow_is_about_to_write_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = folder / "0" / run_id(2) / "meta.yaml"
    whole = meta.read_bytes()
    meta.write_bytes(b"")
    monkeypatch.setattr("agentnn.stores.mlruns.reading.time.sleep", lambda _: meta.write_bytes(whole))
    assert len(ids(both(folder)[0].search_runs(RunQuery()))) == 3


def test_a_run_of_an_old_mlflow_is_read(folder: Path) -> None:
    old = folder / "0" / run_id(9)
    write_mlruns_run(old, RunSpec(run_id(9), 0, None, start_time=NOON, tags={"mlflow.runName": "of 2019"}))
    text = (
        (old / "meta.yaml")
        .read_text()
        .replace("experiment_id: '0'", "experiment_id: 0")
        .replace("run_name: null\n", "")
    )
    (old / "meta.yaml").write_text(text + f"run_uuid: '{run_id(9)}'\nname: ''\n")
    (old / "metrics" / "m").write_text("1549000000 0.5\n")
    ours, theirs = (one.find_runs([run_id(9)]) for one in both(folder))
    assert plain(ours) == plain(theirs)
    assert (ours[0].name, ours[0].metrics) == ("of 2019", {"m": 0.5})
    assert both(folder)[0].metric_history(run_id(9), "m") == [Metric("m", 0.5, 0, 1549000000)]


# --- models


def fill_registry(client: MlflowClient) -> None:
    client.create_registered_model("zeta", tags={"team/x": "quant", "é": "日本"}, description="Zeta's model")
    for number in range(1, 13):
        client.create_model_version("zeta", f"/nowhere/{number}", run_id(number % 3 + 1), tags={"n": str(number)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # stages are deprecated, but alive
        for version, stage in (("3", "Production"), ("10", "Production"), ("4", "Staging")):
            client.transition_model_version_stage("zeta", version, stage)
    for alias, version in (("champion", "3"), ("Champion", "11"), ("best", "3"), ("gone", "12"), ("moved", "2")):
        client.set_registered_model_alias("zeta", alias, version)
    client.delete_model_version("zeta", "12")
    client.update_model_version("zeta", "11", description="the newest")
    client.create_registered_model("empty", description="")
    client.create_registered_model("Alpha β 🚀")
    client.create_model_version("Alpha β 🚀", "/nowhere/alpha", run_id(1))
    client.register_prompt("say", "Say {{word}}!")


def test_models_are_mlflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = str(tmp_path / "store")
    client = MlflowClient(uri, uri)
    client.search_experiments()
    fill_registry(client)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    said = Settings(uri, registry_uri=uri)
    ours, theirs = open_registry(said), MlflowClientRegistry(uri, said)
    assert isinstance(ours, MlrunsRegistry)
    assert plain(ours.list_models()) == plain(theirs.list_models())
    assert [one.name for one in ours.list_models()] == ["Alpha β 🚀", "empty", "zeta"]
    for name in ("zeta", "empty", "none", "", "..", "a/b", "say"):
        assert plain(ours.find_model(name)) == plain(theirs.find_model(name)), name
        assert plain(ours.list_model_versions(name)) == plain(theirs.list_model_versions(name)), name
    wanted = [run_id(1), run_id(3), run_id(9), "'"]
    assert plain(ours.versions_of_runs(wanted)) == plain(theirs.versions_of_runs(wanted))
    assert len(ours.versions_of_runs(wanted)) == 8

    (tmp_path / "store" / "models" / "zeta" / "version-2" / "meta.yaml").write_text("- 1\n")
    (tmp_path / "store" / "models" / "notes").mkdir()
    with pytest.warns(UnreadableWarning, match="version-2"):
        assert [one.version for one in ours.list_model_versions("zeta")] == [11, 10, 9, 8, 7, 6, 5, 4, 3, 1]
    assert len(ours.list_models()) == 3
