"""What is special to reading the tables: shortcuts that must not show, workspaces, old schemas, memory."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from generated_stores import NOON, ExperimentSpec, RunSpec, StoreSpec, points, run_id, write_runs, write_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnn.errors import AgentNNError, NotFoundError
from agentnn.query.filters import parse_filter
from agentnn.query.runs import RunQuery
from agentnn.query.selection import BestQuery, Excluded
from agentnn.records import PARENT_TAG, DatasetInput
from agentnn.sdk.nn_models import ModelManager
from agentnn.stores.opening import open_store
from agentnn.stores.sql.registry import SqlRegistry
from agentnn.stores.sql.store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agentnn.query.selection import Best

SIZES = (1, 3, 63, 64, 65, 100, 1023, 1024, 1025, 1500)


@pytest.fixture(scope="module")
def shared(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that each test here fills anew."""
    database = tmp_path_factory.mktemp("sql") / "mlflow.db"
    shutil.copyfile(template_database, database)
    return database


def fill(database: Path, runs: list[RunSpec]) -> SqlStore:
    write_store(database, StoreSpec(runs=tuple(runs)))
    return SqlStore(f"sqlite:///{database}")


def make_runs(count: int, value: Callable[[int], float], **fields: Callable[[int], Any]) -> list[RunSpec]:
    """Runs in the order of their numbers; ``fields`` are worked out from the number."""
    return [
        RunSpec(run_id(n), metrics={"m": points(value(n))}, **{key: made(n) for key, made in fields.items()})
        for n in range(count)
    ]


def numbers(best: Best) -> list[int]:
    return [int(one.run.run_id, 16) for one in best.candidates]


def naive(runs: list[RunSpec], mode: str, top: int, *, finished: bool = True) -> list[int]:
    """The winners by a sort of everything."""
    judged = [run for run in runs if run.lifecycle_stage == "active" and (run.status == "FINISHED" or not finished)]
    sign = -1 if mode == "max" else 1
    ordered = sorted(judged, key=lambda run: (sign * run.metrics["m"][-1].value, -(run.start_time or 0), run.run_id))
    return [int(run.run_id, 16) for run in ordered[: top + 1]]


class TestTwoStepBest:
    """``best`` looks at the first 64 rows of the metric table, then at 1024, then at all: no one may notice."""

    @pytest.mark.parametrize("mode", ["max", "min"])
    @pytest.mark.parametrize("count", SIZES)
    def test_when_all_values_are_equal_the_latest_start_wins_wherever_its_row_is(
        self, shared: Path, count: int, mode: Any
    ) -> None:
        dice = random.Random(count)
        runs = make_runs(count, lambda n: 1.0, start_time=lambda n: NOON + dice.randrange(count * 2))
        store = fill(shared, runs)
        for top in (1, 5):
            assert numbers(store.best_runs(BestQuery("m", mode, top=top))) == naive(runs, mode, top)

    @pytest.mark.parametrize("mode", ["max", "min"])
    @pytest.mark.parametrize("edge", [64, 1024])
    @pytest.mark.parametrize("distance", [-2, -1, 0, 1, 2])
    def test_a_tie_over_the_edge_is_decided_by_all_who_tie(
        self, shared: Path, mode: Any, edge: int, distance: int
    ) -> None:
        sign = 1 if mode == "max" else -1
        better = edge + distance - 3
        runs = [
            *make_runs(better, lambda n: sign * (100.0 + n), status=lambda n: "FAILED"),
            *[
                RunSpec(run_id(10_000 + n), metrics={"m": points(sign * 5.0)}, start_time=NOON + n)
                for n in range(10)
            ],
            *[RunSpec(run_id(20_000 + n), metrics={"m": points(sign * 1.0)}) for n in range(50)],
        ]  # fmt: skip
        store = fill(shared, runs)
        for top in (1, 2, 9, 10):
            assert numbers(store.best_runs(BestQuery("m", mode, top=top))) == naive(runs, mode, top)

    @pytest.mark.parametrize(
        "unfit",
        [
            {"status": lambda n: "RUNNING"},
            {"lifecycle_stage": lambda n: "deleted"},
            {"params": lambda n: {"p": "no"}},
            {"experiment_id": lambda n: 1},
            {"experiment_id": lambda n: 2},
        ],
    )
    @pytest.mark.parametrize("unfit_count", [63, 64, 1000, 1024, 1200])
    def test_the_best_that_qualifies_is_found_below_any_number_that_does_not(
        self, shared: Path, unfit: dict[str, Any], unfit_count: int
    ) -> None:
        top_rows = make_runs(unfit_count, lambda n: 1000.0 + n, **unfit)
        rest = [
            RunSpec(
                run_id(50_000 + n), params={"p": "yes"}, metrics={"m": points(float(n % 7))}, start_time=NOON + n % 3
            )
            for n in range(40)
        ]
        experiments = (ExperimentSpec(0, "Default"), ExperimentSpec(1, "other"), ExperimentSpec(2, "gone", "deleted"))
        write_store(shared, StoreSpec(experiments, (*top_rows, *rest)))
        experiment_ids = None if "experiment_id" in unfit and unfit["experiment_id"](0) == 2 else ("0",)
        scope = RunQuery(experiment_ids, parse_filter("params.p IS NULL OR params.p = 'yes'"))
        best = SqlStore(f"sqlite:///{shared}").best_runs(BestQuery("m", scope=scope, top=3, tally=True))
        assert numbers(best) == naive(rest, "max", 3)
        assert best.considered == 40
        unfinished = unfit_count if "status" in unfit else 0
        assert best.excluded == Excluded(unfinished=unfinished)

    def test_children_that_hold_the_top_thousand_are_left_out_when_asked_to(self, shared: Path) -> None:
        children = make_runs(1100, lambda n: 10.0 + n, tags=lambda n: {PARENT_TAG: run_id(60_000)})
        parents = [RunSpec(run_id(60_000 + n), metrics={"m": points(float(n))}) for n in range(3)]
        store = fill(shared, [*children, *parents])
        assert numbers(store.best_runs(BestQuery("m"))) == [1099, 1098]
        assert numbers(store.best_runs(BestQuery("m", include_children=False, top=5))) == [60_002, 60_001, 60_000]

    def test_infinities_and_nan_do_not_use_up_the_first_rows(self, shared: Path) -> None:
        odd = make_runs(1500, lambda n: float(("inf", "-inf", "nan")[n % 3]))
        store = fill(shared, [*odd, RunSpec(run_id(99_999), metrics={"m": points(-3.0)})])
        for mode in ("max", "min"):
            best = store.best_runs(BestQuery("m", mode, tally=True))  # type: ignore[arg-type]
            assert numbers(best) == [99_999]
            assert best.excluded == Excluded(nan=500, infinite=1000)

    @pytest.mark.parametrize("top", [1, 62, 63, 64, 1022, 1023, 1024, 1200, 5000])
    def test_any_number_of_winners_may_be_asked_for(self, shared: Path, top: int) -> None:
        runs = make_runs(1100, lambda n: float(n * 7919 % 211), start_time=lambda n: NOON + n * 31 % 17)
        store = fill(shared, runs)
        assert numbers(store.best_runs(BestQuery("m", top=top))) == naive(runs, "max", top)

    @pytest.mark.parametrize("metrics_per_run", [1, 20])
    def test_few_and_many_metrics_a_run_are_read_in_different_ways_with_the_same_answer(
        self, shared: Path, metrics_per_run: int
    ) -> None:
        runs = [
            RunSpec(
                run_id(n),
                metrics={"m": points(float(n * 37 % 101))}
                | {f"x{k}": points(999.0) for k in range(metrics_per_run - 1)},
            )
            for n in range(200)
        ]
        assert numbers(fill(shared, runs).best_runs(BestQuery("m", top=5))) == naive(runs, "max", 5)

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.sampled_from(("FINISHED", "FAILED")),
                st.sampled_from(("active", "active", "deleted")),
                st.integers(0, 2),
            ),
            max_size=90,
        ),
        st.sampled_from(("max", "min")),
        st.integers(1, 70),
    )
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def test_any_store_with_many_ties(self, shared: Path, drawn: list[Any], mode: Any, top: int) -> None:
        runs = [
            RunSpec(run_id(n), 0, "run", status, stage, NOON + time, metrics={"m": points(float(value))})
            for n, (value, status, stage, time) in enumerate(drawn)
        ]
        assert numbers(fill(shared, runs).best_runs(BestQuery("m", mode, top=top))) == naive(runs, mode, top)


class TestNewest:
    """A limited list looks at the rows written last: exact also where they are not those that started last."""

    @pytest.mark.parametrize("order", ["as started", "backwards", "shuffled", "newest in the middle"])
    @pytest.mark.parametrize("limit", [1, 2, 10, 100, 700])
    def test_the_newest_are_found_in_whatever_order_they_were_written(
        self, shared: Path, order: str, limit: int
    ) -> None:
        runs = [RunSpec(run_id(n * 7919 % 10_007), start_time=NOON + n // 3) for n in range(600)]
        if order == "backwards":
            runs.reverse()
        elif order == "shuffled":
            random.Random(4).shuffle(runs)
        elif order == "newest in the middle":
            runs = runs[:100] + runs[500:] + runs[100:500]
        store = fill(shared, runs)
        expected = sorted(runs, key=lambda run: (-(run.start_time or 0), run.run_id))[:limit]
        assert [run.run_id for run in store.search_runs(RunQuery(limit=limit))] == [run.run_id for run in expected]

    def test_a_filter_that_few_of_the_last_rows_satisfy_finds_the_older_ones(self, shared: Path) -> None:
        runs = [
            RunSpec(run_id(n), start_time=NOON + n, status="FINISHED" if n % 97 == 5 else "FAILED") for n in range(900)
        ]
        store = fill(shared, runs)
        query = RunQuery(filter=parse_filter("status = 'FINISHED'"), limit=4)
        assert [int(run.run_id, 16) for run in store.search_runs(query)] == [878, 781, 684, 587]

    def test_runs_without_a_start_come_last_and_are_not_lost(self, shared: Path) -> None:
        runs = [RunSpec(run_id(n), start_time=None if n > 5 else NOON + n) for n in range(300)]
        store = fill(shared, runs)
        found = [int(run.run_id, 16) for run in store.search_runs(RunQuery(limit=9))]
        assert found == [5, 4, 3, 2, 1, 0, 6, 7, 8]


class TestWorkspaces:
    """Since MLflow 3.10 names are unique within a workspace only."""

    @pytest.fixture
    def two_workspaces(self, database: Path, uri: str) -> Iterator[str]:
        write_store(
            database,
            StoreSpec(
                (
                    ExperimentSpec(0, "shared"),
                    ExperimentSpec(1, "shared", workspace="team"),
                    ExperimentSpec(2, "only", workspace="team"),
                ),
                (
                    RunSpec(run_id(1), 0, "mine", metrics={"m": points(1.0)}, params={"mine": "1"}),
                    RunSpec(run_id(2), 1, "theirs", metrics={"m": points(2.0), "secret": points(2.0)}),
                    RunSpec(run_id(3), 2, "theirs too", "FAILED", metrics={"m": points(3.0)}),
                ),
            ),
        )  # fmt: skip
        with closing(sqlite3.connect(database)) as connection, connection:
            for workspace, count in (("default", 1), ("team", 2)):
                connection.execute("INSERT INTO registered_models VALUES ('m', 1, 1, ?, ?)", (workspace, workspace))
                for version in range(1, count + 1):
                    connection.execute(
                        "INSERT INTO model_versions (name, version, workspace, status) VALUES ('m', ?, ?, 'READY')",
                        (version, workspace),
                    )
                connection.execute("INSERT INTO registered_model_aliases VALUES ('top', ?, 'm', ?)", (count, workspace))
        yield uri

    @pytest.mark.parametrize(
        ("workspace", "runs", "experiments", "keys"),
        [
            ("default", [1], ["0"], ["m"]),
            ("team", [2, 3], ["1", "2"], ["m", "secret"]),
        ],
    )
    def test_each_sees_its_own(
        self, two_workspaces: str, workspace: str, runs: list[int], experiments: list[str], keys: list[str]
    ) -> None:
        store = SqlStore(two_workspaces, workspace=workspace)
        assert [int(run.run_id, 16) for run in store.search_runs(RunQuery())] == runs
        assert [one.experiment_id for one in store.list_experiments("all")] == experiments
        assert sum(store.count_runs(RunQuery()).values()) == len(runs)
        assert store.field_keys("metric", RunQuery()) == keys
        assert [int(run.run_id, 16) for run in store.find_runs([run_id(n) for n in (1, 2, 3)])] == runs
        best = store.best_runs(BestQuery("m", include_unfinished=True, tally=True))
        assert numbers(best) == sorted(runs, reverse=True)[:2]
        assert best.considered == len(runs)

    def test_a_workspace_that_nobody_made_is_not_found(self, two_workspaces: str) -> None:
        with pytest.raises(NotFoundError):
            SqlStore(two_workspaces, workspace="nobody")

    def test_an_experiment_of_another_workspace_is_not_there_even_by_its_id(self, two_workspaces: str) -> None:
        store = SqlStore(two_workspaces)
        assert store.find_experiment(experiment_id="1") is None
        assert store.find_experiment(name="only") is None
        scope = RunQuery(("1", "2"))
        assert list(store.search_runs(scope)) == []
        assert store.count_runs(scope) == {}
        assert store.field_keys("metric", scope) == []
        best = store.best_runs(BestQuery("m", scope=scope, tally=True))
        assert (best.candidates, best.considered, best.excluded) == ((), 0, Excluded())

    def test_the_history_of_a_run_in_another_workspace_is_not_told(self, two_workspaces: str) -> None:
        assert SqlStore(two_workspaces).metric_history(run_id(2), "secret") == []
        assert len(SqlStore(two_workspaces, workspace="team").metric_history(run_id(2), "secret")) == 1

    def test_the_environment_says_which(self, two_workspaces: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert [run.name for run in ModelManager(two_workspaces).list_runs()] == ["mine"]
        assert ModelManager(two_workspaces).get_model("m").aliases == {"top": 1}
        monkeypatch.setenv("MLFLOW_WORKSPACE", "team")
        team = ModelManager(two_workspaces)
        assert [run.name for run in team.list_runs("shared")] == ["theirs"]
        assert team.get_model("m").aliases == {"top": 2}
        assert [one.version for one in team.list_model_versions("m")] == [2, 1]
        with pytest.raises(NotFoundError):
            team.get_run(run_id(1))

    def test_a_registry_sees_its_own_models(self, two_workspaces: str) -> None:
        assert [one.description for one in SqlRegistry(two_workspaces, workspace="team").list_models()] == ["team"]
        assert [one.description for one in SqlRegistry(two_workspaces).list_models()] == ["default"]


class TestOlderSchemas:
    @pytest.fixture
    def old_uri(self, database: Path, uri: str) -> str:
        """A database as MLflow 2.0 had it: no workspaces, no data sets, no aliases, no logged models."""
        runs = (RunSpec(run_id(1), metrics={"m": points(1.0)}, params={"p": "1"}), RunSpec(run_id(2)))
        write_store(database, StoreSpec(runs=runs))
        with closing(sqlite3.connect(database)) as connection, connection:
            for table in ("input_tags", "inputs", "datasets", "registered_model_aliases", "logged_models"):
                connection.execute(f"DROP TABLE {table}")
            for table, columns in (
                ("experiments", "experiment_id, name, artifact_location, lifecycle_stage"),
                ("registered_models", "name, creation_time, last_updated_time, description"),
            ):
                connection.execute(f"CREATE TABLE old AS SELECT {columns} FROM {table}")
                connection.execute(f"DROP TABLE {table}")
                connection.execute(f"ALTER TABLE old RENAME TO {table}")
        return uri

    def test_runs_and_experiments_are_read(self, old_uri: str) -> None:
        store = SqlStore(old_uri)
        assert [one.name for one in store.list_experiments()] == ["Default"]
        assert [int(run.run_id, 16) for run in store.search_runs(RunQuery())] == [1, 2]
        assert numbers(store.best_runs(BestQuery("m"))) == [1]
        assert store.list_artifacts(store.find_runs([run_id(1)])[0]) == []

    @pytest.mark.parametrize(
        ("filter_text", "expected"),
        [
            ("datasets.name = 'prices'", []), ("datasets.name IS NULL", [1, 2]), ("NOT datasets.context = 'x'", [1, 2]),
            ("datasets.digest IS NOT NULL OR params.p = 1", [1]),
        ],
    )  # fmt: skip
    def test_no_run_has_a_data_set_where_there_is_no_table_of_them(
        self, old_uri: str, filter_text: str, expected: list[int]
    ) -> None:
        query = RunQuery(filter=parse_filter(filter_text))
        assert [int(run.run_id, 16) for run in SqlStore(old_uri).search_runs(query)] == expected

    def test_the_registry_is_read_without_aliases(self, old_uri: str) -> None:
        assert SqlRegistry(old_uri).list_models() == []


class TestLiveStore:
    def test_what_is_written_after_the_store_was_opened_is_seen(self, database: Path, uri: str) -> None:
        store = SqlStore(uri)
        assert list(store.search_runs(RunQuery())) == []
        dataset = DatasetInput("prices", "d1", "training")
        experiments = (ExperimentSpec(0, "Default"), ExperimentSpec(5, "new"))
        write_store(database, StoreSpec(experiments, (RunSpec(run_id(1), 5, datasets=(dataset,)),)))
        (run,) = store.search_runs(RunQuery())
        assert (run.experiment, run.datasets) == ("new", (dataset,))

    def test_reading_changes_nothing(self, database: Path, uri: str) -> None:
        write_store(database, StoreSpec(runs=(RunSpec(run_id(1), metrics={"m": points(1.0)}),)))
        before = database.read_bytes(), sorted(database.parent.iterdir())
        manager = ModelManager(uri)
        manager.list_experiments()
        manager.list_runs(filter="metrics.m > 0", order_by="metrics.m DESC")
        manager.get_best_run("m", tally=True)
        manager.list_models()
        assert (database.read_bytes(), sorted(database.parent.iterdir())) == before

    @pytest.mark.parametrize("broken", ["\udcff", "a\ud800b"])
    def test_text_that_is_no_unicode_is_refused_and_no_crash(self, database: Path, uri: str, broken: str) -> None:
        write_store(database, StoreSpec(runs=(RunSpec(run_id(1), metrics={"m": points(1.0)}),)))
        manager = ModelManager(uri)
        for question in (
            lambda: manager.get_run(broken),
            lambda: manager.get_experiment(broken),
            lambda: manager.get_best_run(broken),
            lambda: manager.list_runs(filter=f"tags.a != '{broken}'"),
            lambda: manager.list_runs(order_by=f"metrics.{broken}"),
            lambda: manager.list_model_versions(broken),
        ):
            with pytest.raises(AgentNNError) as caught:
                question()
            assert caught.value.exit_code in (2, 3)

    def test_a_filter_with_more_values_than_sqlite_takes_is_wrong_use_and_no_damaged_store(
        self, database: Path, uri: str
    ) -> None:
        write_store(database, StoreSpec(runs=(RunSpec(run_id(1), params={"p": "7"}),)))
        values = ", ".join(f"'{number}'" for number in range(260_000))
        query = RunQuery(filter=parse_filter(f"params.p IN ({values})"))
        try:
            assert [int(run.run_id, 16) for run in SqlStore(uri).search_runs(query)] == [1]
        except AgentNNError as error:
            assert error.exit_code == 2

    def test_open_store_reads_sqlite_without_mlflows_client(self, uri: str) -> None:
        assert isinstance(open_store(ModelManager(uri).settings), SqlStore)


class TestMemory:
    def test_the_memory_of_best_does_not_grow_with_the_runs(self, shared: Path) -> None:
        peaks = []
        for count in (1_000, 20_000):
            runs = (RunSpec(run_id(n), metrics={"m": points(float(n * 7919 % count))}) for n in range(count))
            write_runs(shared, [ExperimentSpec(0, "Default")], runs)
            store = SqlStore(f"sqlite:///{shared}")
            query = BestQuery("m", scope=RunQuery(filter=parse_filter("status = 'FINISHED'")), top=3, tally=True)
            store.best_runs(query)  # what is loaded once does not count
            tracemalloc.start()
            best = store.best_runs(query)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert [one.value for one in best.candidates] == [float(count - n) for n in (1, 2, 3, 4)]
            assert best.considered == count
        assert peaks[1] < peaks[0] + 64 * 1024
