"""The store over a folder of TOML runs: a run is the same whichever way it is read, and nobody is in anybody's way."""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest
from generated_stores import StoreSpec, seeded_store, stores
from hypothesis import HealthCheck, given, settings
from toml_stores import write_toml_store

from agentnn.query.runs import RunQuery
from agentnn.query.selection import BestQuery
from agentnn.records import PARENT_TAG, DatasetInput, Run
from agentnn.settings import Settings
from agentnn.stores.toml.asking.store import TomlStore
from agentnn.stores.toml.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EVERYTHING = RunQuery(view="all")
ODD_FILES = {
    "by hand": ("lr = 0.1\n", "loss = 1\n"),
    "without metrics": ("", None),
    "mirrored": ('[_wandb]\nrun_id = "w1"\nurl = "https://x"\nsteps = 3\n', "[val]\nloss = nan\nacc = true\n"),
    "said amiss": ('_meta = 3\nlist = [1, {a = "b"}]\n', "loss = 'low'\nwhen = 2024-01-01\n"),
    "dated": (
        '[_meta]\ncreated_at = 2024-01-01T00:00:00Z\nended_at = 2024-01-01T00:00:01.5Z\nuser = "ana"\n', "x = inf\n",
    ),
    "nested": ('[_meta]\nname = "child"\nparent_run_id = "twin"\n[[_meta.datasets]]\nname = "d"\n', "x = 1e400\n"),
    "imported": ('a.b = 1\n"a.b" = 2\n', "n = 9007199254740993\n"),
}  # fmt: skip


def open_store(folder: Path) -> TomlStore:
    """The store of a folder."""
    return TomlStore(Settings(f"toml:{folder}"))


def as_text(runs: Iterable[Run]) -> list[str]:
    """Runs in a form in which NaN equals NaN and the order of a mapping does not count."""
    return [str({**one.to_dict(), "metrics": sorted((k, repr(v)) for k, v in one.metrics.items()),
                 "params": sorted(one.params.items()), "tags": sorted(one.tags.items()), "datasets": one.datasets})
            for one in runs]  # fmt: skip


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Runs as other tools and hands leave them, and two of one name."""
    for name, (config, metrics) in ODD_FILES.items():
        folder = tmp_path / "alpha" / name
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(config)
        if metrics is not None:
            (folder / "metrics.toml").write_text(metrics)
    (tmp_path / "alpha" / "imported" / "origin.toml").write_text('store = "sqlite:///mlflow.db"\nrun_id = "77"\n')
    for project in ("alpha", "beta"):
        RunDirectory.create(tmp_path, project, "twin", {})
    (tmp_path / "alpha" / "no run").mkdir()
    (tmp_path / "alpha" / ".hidden").mkdir()
    (tmp_path / "alpha" / ".hidden" / "config.toml").touch()
    return tmp_path


def test_a_run_read_alone_is_the_run_among_all(odd: Path):
    store = open_store(odd)
    listed = list(store.search_runs(EVERYTHING))
    assert len(listed) == len(ODD_FILES) + 2
    assert as_text(store.find_runs([run.run_id])[0] for run in listed) == as_text(listed)


def test_what_the_files_say_is_in_the_run(odd: Path):
    runs = {run.run_id: run for run in open_store(odd).search_runs(EVERYTHING)}
    assert (runs["by hand"].status, runs["by hand"].name, runs["by hand"].params) == (
        "FINISHED",
        "by hand",
        {"lr": "0.1"},
    )
    assert runs["by hand"].start_time == (odd / "alpha" / "by hand" / "config.toml").stat().st_mtime_ns // 1_000_000
    assert runs["mirrored"].tags == {"wandb.run_id": "w1", "wandb.url": "https://x", "wandb.steps": "3"}
    assert runs["mirrored"].metrics["val.acc"] == 1.0
    assert runs["mirrored"].non_finite == ["val.loss"]
    assert runs["said amiss"].tags == {"metrics.loss": "low", "metrics.when": "2024-01-01"}
    assert runs["dated"].duration_s == 1.5
    assert runs["nested"].tags[PARENT_TAG] == "alpha/twin"
    assert runs["nested"].datasets == (DatasetInput("d", "", None),)
    assert runs["imported"].tags["agentnn.imported_from"] == "sqlite:///mlflow.db"


@given(stores(max_runs=6, nulls=True))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_generated_runs_read_alone_are_those_among_all(tmp_path_factory: pytest.TempPathFactory, spec: StoreSpec):
    folder = tmp_path_factory.mktemp("generated")
    write_toml_store(folder, spec)
    store = open_store(folder)
    listed = list(store.search_runs(EVERYTHING))
    assert as_text(store.find_runs([run.run_id])[0] for run in listed) == as_text(listed)
    shutil.rmtree(folder)


def test_many_ids_are_found_as_few_are(tmp_path: Path):
    write_toml_store(tmp_path, seeded_store(3, 40))
    store = open_store(tmp_path)
    ids = [run.run_id for run in store.search_runs(EVERYTHING)]
    asked = [*ids[::-1], "no such run", ids[0]]
    found = store.find_runs(asked)
    assert [run.run_id for run in found] == [*ids[::-1], ids[0]]
    assert as_text(found) == as_text(one for run_id in asked for one in store.find_runs([run_id]))


def test_a_run_that_goes_away_is_not_there(tmp_path: Path):
    write_toml_store(tmp_path, seeded_store(3, 3))
    store = open_store(tmp_path)
    run = next(store.search_runs(EVERYTHING))
    shutil.rmtree(tmp_path / run.experiment_id / run.run_id)
    assert store.find_runs([run.run_id]) == []
    assert store.metric_history(run.run_id, "loss") == []
    assert list(store.metric_histories([run])) == []
    assert store.list_artifacts(run) == []
    for one in tmp_path.iterdir():
        if one.is_dir():
            shutil.rmtree(one)
    assert list(store.search_runs(EVERYTHING)) == []
    assert store.count_runs(EVERYTHING) == {}
    assert store.list_experiments("all") == []


def test_threads_may_ask_while_another_writes(tmp_path: Path):
    write_toml_store(tmp_path, seeded_store(5, 30))
    store = open_store(tmp_path)
    problems: list[BaseException] = []
    counts: list[int] = []

    def ask() -> None:
        try:
            for _ in range(15):
                counts.append(len(list(store.search_runs(EVERYTHING))))
                store.best_runs(BestQuery("new", scope=EVERYTHING))
        except BaseException as error:
            problems.append(error)
            raise

    def write() -> None:
        for number in range(15):
            RunDirectory.create(tmp_path, "0", f"new-{number}", {"n": number}).add_metrics({"new": float(number)})

    threads = [threading.Thread(target=one) for one in (ask, ask, ask, write)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not problems
    assert set(counts) <= set(range(30, 46))
    assert len(list(store.search_runs(EVERYTHING))) == 45


def test_a_forked_process_may_ask(tmp_path: Path):
    write_toml_store(tmp_path, seeded_store(5, 10))
    store = open_store(tmp_path)
    assert store.count_runs(EVERYTHING)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            RunDirectory.create(tmp_path, "0", "of the child", {})
            status = 0 if sum(store.count_runs(EVERYTHING).values()) == 11 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sum(store.count_runs(EVERYTHING).values()) == 11
