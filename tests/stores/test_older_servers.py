"""MLflow servers of other versions: the same answers as from any store, and a clear word where one can't give them.

``make older-servers`` makes the environments of ``tests/older_servers``; a version that has none is skipped. What is
expected is worked out over the records that were put in, and asked of the client that came with that version.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from cli.support import in_process
from filled_servers import FILES, KNOWN_IN_ALL, MODEL, QUOTED_MODEL, Filled, fill, request
from real_stores import MlflowServer, make_equal
from stores.test_equality_with_mlflow import comparable

from agentnn.errors import NotFoundError, StoreUnavailable, UsageError
from agentnn.query.evaluation import matches, sorted_runs
from agentnn.query.filters import parse_filter, parse_order
from agentnn.query.runs import OrderBy, RunQuery, View
from agentnn.query.selection import BestQuery, Excluded, aggregate_history
from agentnn.records import PARENT_TAG, Metric, ModelVersion
from agentnn.settings import Settings
from agentnn.stores.experiment_changes import open_experiment_changes
from agentnn.stores.opening import open_registry, open_store
from agentnn.stores.registry_changes import open_registry_changes
from agentnn.stores.rest import best
from agentnn.stores.rest.experiment_changes import RestExperimentChanges
from agentnn.stores.rest.registry import RestRegistry
from agentnn.stores.rest.registry_changes import RestRegistryChanges
from agentnn.stores.rest.run_changes import RestRunChanges
from agentnn.stores.rest.store import RestStore
from agentnn.stores.rest.writer import RestWriter
from agentnn.stores.run_changes import open_run_changes
from agentnn.stores.run_writer import UUID_TAG, open_writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.records import Run

PINS = Path(__file__).parent.parent / "older_servers"
OLDER = sorted((path.stem for path in PINS.glob("*.txt")), key=lambda one: tuple(map(int, one.split("."))))
INSTALLED = "installed"
SINCE_TAGS_COME_OFF = (3, 0)
"""Versions that take a tag off an experiment."""


def environment_of(version: str) -> Path:
    """Where ``make older-servers`` puts a version: beside what runs the tests."""
    return Path(sys.prefix) / "older_servers" / version


@pytest.fixture(scope="module", params=[*OLDER, INSTALLED])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A filled server of a version, older than ours or the installed one."""
    version = request.param
    if version == INSTALLED:
        server: MlflowServer = request.getfixturevalue("mlflow_server")
        make_equal(request.getfixturevalue("_server_database"), request.getfixturevalue("_server_template"))
        yield fill(server.url)
        return
    environment = environment_of(version)
    if not (environment / ".installed").exists():
        pytest.skip(f"MLflow {version} is not installed: make older-servers")
    folder = tmp_path_factory.mktemp(f"mlflow-{version}")
    with MlflowServer(f"sqlite:///{folder / 'mlflow.db'}", folder, environment / "bin" / "mlflow") as server:
        yield fill(server.url)


@pytest.fixture
def settings(served: Filled) -> Settings:
    return Settings(served.url, registry_uri=served.url)


@pytest.fixture
def store(settings: Settings) -> Iterator[RestStore]:
    opened = open_store(settings)
    assert isinstance(opened, RestStore)
    with closing(opened):
        yield opened


@pytest.fixture
def registry(settings: Settings) -> Iterator[RestRegistry]:
    opened = open_registry(settings)
    assert isinstance(opened, RestRegistry)
    with closing(opened):
        yield opened


def version_of(served: Filled) -> tuple[int, ...]:
    return tuple(int(part) for part in request(served.url, "GET", "/version").decode().split(".")[:2])


def whole(runs: Any) -> list[dict[str, Any]]:
    return [comparable(run) for run in runs]


def orders(*texts: str) -> tuple[OrderBy, ...]:
    return tuple(OrderBy(*parse_order(text)) for text in texts)


FILTERS = (
    *(f"metrics.loss {operator} 1.5" for operator in ("=", "!=", "<", "<=", ">", ">=")),
    "metrics.loss = 0", "metrics.loss IN (0, 1.5)", "metrics.loss NOT IN (0, 1.5)", "metrics.loss = inf",
    "metrics.loss < inf", "metrics.loss > -inf", "metrics.`Sharpe ratio` IS NULL", "metrics.`été.日本` IS NOT NULL",
    "params.optimizer = 'adam'", "params.optimizer != 'adam'", "params.optimizer LIKE 'a%'",
    "params.optimizer ILIKE 'ADAM%'", "params.optimizer NOT LIKE '%d%'", "params.optimizer =~ '^[A-Z]'",
    "params.optimizer IN ('sgd', 'ß')", "params.lr < 0.01", "params.lr >= 0.001", "params.lr IS NULL",
    "params.`größe` = '🚀 up'", "tags.team = 'naïve'", "tags.team != 'True'", "tags.team IS NULL",
    "tags.`日本 tag` LIKE '%\\ c'", f"tags.{PARENT_TAG} IS NULL", f"tags.{PARENT_TAG} IS NOT NULL",
    "status = 'FINISHED'", "status != 'FINISHED'", "status IN ('KILLED', 'RUNNING')", "run_name LIKE 'lstm%'",
    "run_name ILIKE 'NAÏVE%'", "run_name =~ '-1[0-9]$'", "user = 'ana'", "user ILIKE 'b%'",
    "start_time > 1700000040000", "start_time <= 1700000040000", "end_time < 1700000000600", "end_time IS NULL",
    "datasets.name = 'prices'", "datasets.name ILIKE 'PRI%'", "datasets.context = 'training'",
    "datasets.digest != 'd1'",
    "metrics.loss > 0 AND params.optimizer = 'adam' AND status = 'FINISHED'",
    "metrics.loss > 2 OR tags.team = 'naïve'", "NOT (metrics.loss > 0 OR params.lr IS NULL)",
)  # fmt: skip
ORDERS = (
    *(f"metrics.{key} {way}" for key in ("loss", "`Sharpe ratio`") for way in ("ASC", "DESC")),
    "start_time ASC", "end_time DESC", "params.lr", "params.optimizer DESC", "run_name", "status", "tags.team DESC",
)  # fmt: skip


class TestRuns:
    @pytest.mark.parametrize("view", get_args(View))
    def test_all_of_them_come_back_with_all_their_fields(self, served: Filled, store: RestStore, view: View) -> None:
        found = list(store.search_runs(RunQuery(view=view)))
        assert whole(found) == whole(sorted_runs(served.visible(view)))
        assert store.count_runs(RunQuery(view=view)) == Counter(run.status for run in served.visible(view))

    def test_every_filter_finds_what_it_means(self, served: Filled, store: RestStore) -> None:
        for number, text in enumerate(FILTERS):
            condition = parse_filter(text)
            expected = sorted_runs(run for run in served.visible() if matches(condition, run))
            found = list(store.search_runs(RunQuery(filter=condition)))
            assert [run.run_id for run in found] == [run.run_id for run in expected], text
            if number % 6 == 0:
                assert sum(store.count_runs(RunQuery(filter=condition)).values()) == len(expected), text

    def test_every_order_is_the_one_of_all_stores_with_nan_before_what_is_missing(
        self, served: Filled, store: RestStore
    ) -> None:
        for text in ORDERS:
            expected = [run.run_id for run in sorted_runs(served.visible(), orders(text))]
            assert [run.run_id for run in store.search_runs(RunQuery(order_by=orders(text)))] == expected, text
            found = store.search_runs(RunQuery(order_by=orders(text), limit=7))
            assert [run.run_id for run in found] == expected[:7], text
        last = sorted_runs(served.visible(), orders("metrics.loss DESC"))[-1]
        assert "loss" not in last.metrics

    def test_runs_are_found_by_their_ids_deleted_ones_too(self, served: Filled, store: RestStore) -> None:
        wanted = [run.run_id for run in served.runs]
        for some in (wanted[:3], wanted):
            assert [run.run_id for run in store.find_runs(["no-such", *some, "f" * 32])] == some
        assert any(run.lifecycle_stage == "deleted" for run in store.find_runs(wanted))

    def test_experiments_are_the_same_in_every_view(self, served: Filled, store: RestStore) -> None:
        for view in get_args(View):
            expected = [one for one in served.experiments.values() if view in ("all", one.lifecycle_stage)]
            assert sorted(store.list_experiments(view)) == sorted(expected)
        for one in served.experiments.values():
            assert store.find_experiment(name=one.name) == store.find_experiment(experiment_id=one.experiment_id) == one
        assert store.find_experiment(name="none") is None
        assert store.find_experiment(experiment_id="999") is None


class TestBest:
    @pytest.mark.parametrize("metric", ["loss", "Sharpe ratio", "no such"])
    @pytest.mark.parametrize("patience", [0.0, math.inf])
    def test_it_is_the_one_found_by_hand_and_the_tally_too(
        self, served: Filled, store: RestStore, metric: str, patience: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(best, "_QUICK_S", patience)
        for mode, unfinished, children in (("max", False, True), ("min", False, False), ("max", True, True)):
            scope = [run for run in served.visible() if children or PARENT_TAG not in run.tags]
            judged = [run for run in scope if unfinished or run.status == "FINISHED"]
            finite = [run for run in sorted_runs(judged) if math.isfinite(run.metrics.get(metric, math.nan))]
            finite.sort(key=lambda run: run.metrics[metric], reverse=mode == "max")
            query = BestQuery(metric, mode, top=3, include_unfinished=unfinished, include_children=children, tally=True)  # type: ignore[arg-type]
            found = store.best_runs(query)
            assert [one.run.run_id for one in found.candidates] == [run.run_id for run in finite[:4]]
            assert found.considered == len(finite)
            assert found.excluded == Excluded(
                len(scope) - len(judged),
                sum(metric not in run.metrics for run in judged),
                sum(math.isnan(run.metrics.get(metric, 0.0)) for run in judged),
                sum(math.isinf(run.metrics.get(metric, 0.0)) for run in judged),
            )

    def test_it_is_judged_by_whole_histories(self, served: Filled, store: RestStore) -> None:
        def value(run: Run) -> float | None:
            points = [Metric("loss", one.value, one.step, one.timestamp) for one in history(served, run, "loss")]
            return aggregate_history(points, "max")

        judged = [(value(run), run) for run in sorted_runs(served.visible()) if run.status == "FINISHED"]
        finite = [(number, run) for number, run in judged if number is not None and math.isfinite(number)]
        finite.sort(key=lambda pair: -pair[0])
        found = store.best_runs(BestQuery("loss", aggregate="max", top=2))
        assert [one.run.run_id for one in found.candidates] == [run.run_id for _, run in finite[:3]]


def history(served: Filled, run: Run, key: str) -> list[Any]:
    return sorted(served.histories.get((run.run_id, key), ()), key=lambda one: one.place)


class TestHistories:
    def test_they_hold_every_value_asked_one_by_one_and_together(self, served: Filled, store: RestStore) -> None:
        runs = [run for run in served.runs if run.lifecycle_stage == "active"][:40]
        expected = {
            (run.run_id, key): [(one.step, one.timestamp, str(one.value)) for one in history(served, run, key)]
            for run in runs
            for key in run.metrics
        }
        together = {
            (one.run_id, one.key): [(point.step, point.timestamp, str(point.value)) for point in one.points]
            for one in store.metric_histories(runs)
        }
        assert together == expected
        for run in runs[:5]:
            for key in run.metrics:
                found = store.metric_history(run.run_id, key)
                assert [(one.step, one.timestamp, str(one.value)) for one in found] == expected[run.run_id, key]
        assert store.metric_history(runs[0].run_id, "no such") == []
        assert store.field_keys("metric", RunQuery()) == sorted(KNOWN_IN_ALL)


class TestFiles:
    def test_they_are_listed_and_read(self, served: Filled, store: RestStore) -> None:
        assert [one.path for one in store.list_artifacts(served.with_files)] == ["notes.txt", "plots"]
        inside = store.list_artifacts(served.with_files, "plots")
        assert [(one.path, one.size) for one in inside] == [("plots/loss curve.svg", 6)]
        files = store.run_files(served.with_files)
        for path, content in FILES.items():
            assert b"".join(files.read(path)) == content
        with pytest.raises(NotFoundError):
            list(files.read("no such"))


class TestRegistry:
    def test_models_come_with_aliases_and_versions(self, served: Filled, registry: RestRegistry) -> None:
        models = registry.list_models()
        assert [(one.name, one.latest_version, one.version_count) for one in models] == [
            (QUOTED_MODEL, 1, 1),
            (MODEL, 3, 3),
        ]
        assert models[1].aliases == {"champion": 2, "older": 1, "oldest": 1}
        assert models[1].tags == {"team": "a"}
        assert models[1].description == "of prices"
        assert registry.find_model(MODEL) == models[1]
        assert registry.find_model("no such") is None

    def test_versions_are_those_of_a_model_and_of_runs(self, served: Filled, registry: RestRegistry) -> None:
        versions = registry.list_model_versions(MODEL)
        assert [(one.version, one.aliases) for one in versions] == [
            (3, ()),
            (2, ("champion",)),
            (1, ("older", "oldest")),
        ]
        assert [one.run_id for one in versions] == [run.run_id for run in served.runs[2::-1]]
        found = registry.versions_of_runs([served.runs[0].run_id, served.runs[1].run_id])
        assert [(one.name, one.version) for one in found] == [(QUOTED_MODEL, 1), (MODEL, 2), (MODEL, 1)]
        assert all(isinstance(one, ModelVersion) for one in found)


class TestCommands:
    def ask(self, served: Filled, *words: str) -> Any:
        said = in_process("--tracking-uri", served.url, *words, "-o", "json")
        assert said.returncode == 0, said.stderr
        return json.loads(said.stdout)

    def test_a_run_is_named_by_the_beginning_of_its_id(self, served: Filled) -> None:
        run = sorted_runs(served.visible())[0]
        shown = self.ask(served, "run", "show", run.run_id[:12])
        assert (shown["run_id"], shown["name"], shown["params"]) == (run.run_id, run.name, run.params)

    def test_the_doctor_says_what_version_answers(self, served: Filled) -> None:
        said = in_process("--tracking-uri", served.url, "run", "doctor", "-o", "json")
        assert f"MLflow {request(served.url, 'GET', '/version').decode()}" in said.stderr.splitlines()[1]

    def test_a_workspace_that_the_server_can_t_have_is_refused_rather_than_left_out(
        self, served: Filled, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_WORKSPACE", "team-a")
        said = in_process("--tracking-uri", served.url, "run", "list")
        assert (said.returncode, said.stdout) == (2, "")
        assert "the server has no workspaces" in said.stderr


def clipped(value: float) -> float:
    """An infinity where a database says the largest number."""
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


class TestItsOwnClient:
    """What the client of that very version gets from its server."""

    SCRIPT = """if True:
        import json, sys, warnings
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient
        url, questions = sys.argv[1], json.loads(sys.argv[2])
        client = MlflowClient(url, url)
        ids = [one.experiment_id for one in client.search_experiments(view_type=1)]
        answers = [[run.info.run_id for run in client.search_runs(ids, *one)] for one in questions]
        runs = {
            run.info.run_id: [
                run.info.run_name, run.info.status, run.info.start_time, run.info.user_id, run.info.artifact_uri,
                {key: str(value) for key, value in run.data.metrics.items()}, run.data.params, run.data.tags,
            ]
            for run in client.search_runs(ids, max_results=1000)
        }
        aliases = client.get_registered_model("price net").aliases
        print(json.dumps([answers, runs, {key: int(value) for key, value in aliases.items()}]))
    """
    QUESTIONS = (
        ("metrics.loss > 1", ["metrics.loss DESC"]),
        ("metrics.loss < -0.5", ["metrics.`Sharpe ratio` ASC"]),
        ("", ["metrics.loss ASC"]),
        ("", ["metrics.loss DESC"]),
        ("params.optimizer ILIKE 'adam%'", ["end_time ASC"]),
        ("tags.team = 'naïve' AND attributes.status = 'FINISHED'", []),
        ("attributes.run_name LIKE 'lstm%' AND attributes.start_time > 1700000020000", []),
    )

    def test_it_gets_what_we_get(self, served: Filled, store: RestStore, registry: RestRegistry) -> None:
        version = ".".join(map(str, version_of(served)))
        folder = environment_of(version) if version in OLDER else Path(sys.prefix)
        questions = json.dumps([(text, 1, 1000, order) for text, order in self.QUESTIONS])
        argv = [str(folder / "bin" / "python"), "-c", self.SCRIPT, served.url, questions]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
        answers, runs, aliases = json.loads(said.stdout)
        for (text, order), theirs in zip(self.QUESTIONS, answers, strict=True):
            query = RunQuery(filter=parse_filter(text), order_by=orders(*order))
            assert [run.run_id for run in store.search_runs(query)] == theirs, (text, order)
        for run in store.search_runs(RunQuery()):
            name, status, start, user, place, metrics, params, tags = runs.pop(run.run_id)
            assert (run.name, run.status, run.start_time, run.user, run.artifact_uri) == (
                name,
                status,
                start,
                user,
                place,
            )
            assert {key: str(value) for key, value in run.metrics.items()} == {
                key: str(clipped(float(value))) for key, value in metrics.items()
            }
            assert (dict(run.params), dict(run.tags)) == (params, tags)
        assert runs == {}
        found = registry.find_model(MODEL)
        assert found is not None
        assert found.aliases == aliases


class TestWriting:
    """Last: what it writes is not among what the server was filled with."""

    def test_a_run_is_delivered_whole(self, settings: Settings, store: RestStore, tmp_path: Path) -> None:
        writer = open_writer(settings)
        assert isinstance(writer, RestWriter)
        experiment_id = writer.ensure_experiment("written ü")
        assert writer.ensure_experiment("written ü") == experiment_id
        run_id = writer.create_run(experiment_id, "first", 1_700_000_000_000, {UUID_TAG: "u-1", "mlflow.user": "ana"})
        values = (1.5, math.nan, math.inf, -math.inf, 0.0)
        points = [Metric("a/ü m", value, step, 1_700_000_000_000 + step) for step, value in enumerate(values)]
        writer.log_batch(run_id, points, {"lr": "0.1", "empty": ""}, {"team": "🚀", "gone": "x"})
        writer.log_batch(run_id, [Metric(f"m{number}", 1.0, 0, 1) for number in range(1000)])
        for name in ("plot.bin", "größe.txt"):
            (tmp_path / name).write_bytes(b"12345" * 100_000)
            writer.put_file(run_id, tmp_path / name, f"deep/{name}")
        writer.delete_tag(run_id, "gone")
        writer.delete_tag(run_id, "never")
        writer.terminate(run_id, "FAILED", 1_700_000_000_009)
        assert [repr(one) for one in writer.history(run_id, "a/ü m")] == [repr(one) for one in points]
        assert (writer.history(run_id, "none"), writer.params(run_id)) == ([], {"lr": "0.1", "empty": ""})
        assert writer.find_runs_by_uuid(experiment_id, "u-1") == [run_id]
        [run] = store.find_runs([run_id])
        assert (run.name, run.status, run.end_time, run.user) == ("first", "FAILED", 1_700_000_000_009, "ana")
        assert (run.tags["team"], "gone" in run.tags, len(run.metrics)) == ("🚀", False, 1001)
        assert {(one.path, one.size) for one in store.list_artifacts(run, "deep")} == {
            ("deep/plot.bin", 500_000),
            ("deep/größe.txt", 500_000),
        }

    def test_what_is_refused_is_said_as_on_any_server(self, settings: Settings) -> None:
        writer = open_writer(settings)
        run_id = writer.create_run(writer.ensure_experiment("refused"), "first", 1, {})
        writer.log_batch(run_id, params={"lr": "1"})
        for request_, kind in (
            (lambda: writer.log_batch(run_id, params={"lr": "2"}), UsageError),
            (lambda: writer.log_batch(run_id, [Metric("m", 1.0, step, 1) for step in range(1001)]), UsageError),
            (lambda: writer.log_batch("0" * 32, tags={"a": "b"}), NotFoundError),
            (lambda: writer.ensure_experiment(""), UsageError),
        ):
            with pytest.raises(kind):
                request_()

    def test_a_model_is_registered_and_an_alias_moved(self, settings: Settings, registry: RestRegistry) -> None:
        with closing(open_store(settings)) as store:
            run = next(store.search_runs(RunQuery(limit=1)))
        changes = open_registry_changes(settings)
        assert isinstance(changes, RestRegistryChanges)
        numbers = [changes.create_version("ours", run.run_id, "model", tags={"seed": str(seed)}) for seed in (1, 2)]
        assert numbers == [1, 2]
        changes.set_alias("ours", "champion", 1)
        changes.set_alias("ours", "champion", 2)
        changes.set_tag("ours", "team", "a")
        model = registry.find_model("ours")
        assert model is not None
        assert (dict(model.aliases), dict(model.tags), model.version_count) == ({"champion": 2}, {"team": "a"}, 2)
        assert registry.list_model_versions("ours")[1].source == f"{run.artifact_uri}/model"
        changes.delete_version("ours", 1)
        changes.delete_alias("ours", "champion")
        assert dict(changes.read("ours").aliases) == {}
        changes.delete_model("ours")
        assert registry.find_model("ours") is None

    def test_runs_are_deleted_restored_and_tagged(self, settings: Settings, store: RestStore) -> None:
        runs = list(store.search_runs(RunQuery(limit=3)))
        ids = [run.run_id for run in runs]
        changes = open_run_changes(settings)
        assert isinstance(changes, RestRunChanges)
        changes.tag(runs, {"seen": "yes"})
        changes.delete(runs, mark="together")
        assert {run.lifecycle_stage for run in store.find_runs(ids)} == {"deleted"}
        changes.restore(store.find_runs(ids))
        found = store.find_runs(ids)
        assert {(run.lifecycle_stage, run.tags["seen"], "agentnn.deletion" in run.tags) for run in found} == {
            ("active", "yes", False)
        }

    def test_experiments_are_made_renamed_deleted_and_restored(
        self, served: Filled, settings: Settings, store: RestStore
    ) -> None:
        changes = open_experiment_changes(settings)
        assert isinstance(changes, RestExperimentChanges)
        experiment_id = changes.create("a new one", None, {"team": "a"})
        changes.rename(experiment_id, "another name")
        changes.set_tag(experiment_id, "team", "b")
        changes.delete(experiment_id)
        assert changes.stage_of("another name") == "deleted"
        changes.restore(experiment_id)
        found = store.find_experiment(name="another name")
        assert found is not None
        assert (found.lifecycle_stage, dict(found.tags)) == ("active", {"team": "b"})
        if version_of(served) >= SINCE_TAGS_COME_OFF:
            changes.delete_tag(experiment_id, "team")
            assert dict(store.list_experiments()[0].tags) == {}
        else:
            with pytest.raises(StoreUnavailable, match="too old for this"):
                changes.delete_tag(experiment_id, "team")
