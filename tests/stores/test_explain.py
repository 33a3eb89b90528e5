"""What an explanation says is true, of every kind of store; and nobody looks on where none was asked for."""

from __future__ import annotations

import shutil
import sqlite3
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from generated_stores import (
    NOON,
    ExperimentSpec,
    RunSpec,
    StoreSpec,
    expressions,
    points,
    run_id,
    seeded_store,
    write_store,
)
from hypothesis import given, settings
from mlruns_stores import write_mlruns_store
from real_stores import make_equal
from toml_stores import write_toml_store

from agentnn.errors import NotFoundError, StoreUnavailable
from agentnn.query.spelling import conjuncts, spelled
from agentnn.sdk.nn_models import ModelManager
from agentnn.stores.explained.between import Seen
from agentnn.stores.explained.plans import CHECKED, FINISHED, NOT_NESTED, OWN_FUNCTION, RESOLVED
from agentnn.stores.mlflow.store import MlflowClientStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirrored_stores import Mirrors
    from real_stores import MlflowServer

    from agentnn.query.explanation import Explanation, Question
    from agentnn.query.expressions import Expression

COUNT = 12
STORE = StoreSpec(
    (ExperimentSpec(0, "Default", creation_time=NOON), ExperimentSpec(1, "alpha", creation_time=NOON + 1)),
    tuple(
        RunSpec(
            run_id(number),
            1,
            f"run-{number}",
            "RUNNING" if number == COUNT else "FINISHED",
            start_time=NOON + number,
            end_time=None if number == COUNT else NOON + 1000 * number,
            metrics={"m": points(float(number))},
            params={"lr": "0.001" if number % 2 else "0.1", "opt": "adam" if number <= 6 else "sgd"},
        )
        for number in range(1, COUNT + 1)
    ),
)


class Kind(NamedTuple):
    """What to expect of a kind of store.

    Attributes:
        reader: How it is read.
        does: What it does itself, of ``metric``, ``text``, ``number``, ``or``, ``order``, ``text order`` and ``best``.
        read: What is counted as it is read.
    """

    reader: str
    does: frozenset[str]
    read: str


EVERYTHING = frozenset({"metric", "text", "number", "or", "order", "text order", "best"})
KINDS = {
    "sqlite": Kind("SQLite tables, read directly", EVERYTHING, "rows"),
    "toml": Kind("TOML files, through an index", EVERYTHING, "rows"),
    "postgresql": Kind("PostgreSQL tables, read directly", EVERYTHING - {"number", "text order"}, "rows"),
    "mysql": Kind("MariaDB tables, read directly", EVERYTHING - {"number", "text order"}, "rows"),
    "server": Kind("MLflow server, over REST", frozenset({"metric", "text", "order", "best"}), "runs"),
    "mlruns": Kind("mlruns folder, read directly", frozenset(), "files read"),
    "client": Kind("MLflow's client", frozenset(), "runs"),
}
SOFTWARE = {
    "sqlite": f"SQLite {sqlite3.sqlite_version}",
    "toml": f"SQLite {sqlite3.sqlite_version}",
    "server": f"MLflow {version('mlflow')}",
}
CONDITIONS = {
    "metric": "metrics.m > 10",
    "text": "params.opt = 'sgd'",
    "number": "params.lr < 0.01",
    "or": "params.opt = 'adam' OR metrics.m = 12",
}


@pytest.fixture(scope="module")
def folder(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same runs as a database, as TOML files and as a folder of runs."""
    folder = tmp_path_factory.mktemp("explained")
    shutil.copyfile(template_database, folder / "mlflow.db")
    write_store(folder / "mlflow.db", STORE)
    write_toml_store(folder / "checkpoints", STORE)
    write_mlruns_store(folder / "runs", STORE)
    return folder


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of store in turn."""
    return str(request.param)


@pytest.fixture
def manager(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[ModelManager]:
    """A manager that has opened nothing yet; MLflow's client is put into its place."""
    with ModelManager(_uri_of(kind, folder, request)) as manager:
        if kind == "client":
            manager.__dict__["_store"] = MlflowClientStore(manager.settings.tracking_uri, manager.settings)
        yield manager


def _uri_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    if kind in ("postgresql", "mysql"):
        mirrors: Mirrors = request.getfixturevalue("mirrors")
        mirror = mirrors.of(kind, folder / "mlflow.db")
        return request.getfixturevalue("postgres").with_password(mirror.uri) if kind == "postgresql" else mirror.uri
    if kind == "server":
        server: MlflowServer = request.getfixturevalue("mlflow_server")
        make_equal(request.getfixturevalue("_server_database"), folder / "mlflow.db")
        return server.url
    return {"toml": f"toml:{folder}/checkpoints", "mlruns": f"{folder}/runs"}.get(kind, f"sqlite:///{folder}/mlflow.db")


def search_of(explanation: Explanation) -> Question:
    """The one question for runs that an explanation has."""
    [found] = [one for one in explanation.questions if one.what == "search the runs"]
    return found


def test_it_says_who_answers_and_that_answers_are_the_same(kind: str, manager: ModelManager) -> None:
    names = ["run-3", run_id(4), "@best:m"]
    before = (manager.list_runs("alpha"), manager.get_best_run("m", top=3), manager.compare_runs(names))
    with manager.explain() as explanation:
        within = (manager.list_runs("alpha"), manager.get_best_run("m", top=3), manager.compare_runs(names))
    assert within == before
    assert explanation.reader == KINDS[kind].reader
    assert explanation.software == SOFTWARE.get(kind, "")
    assert explanation.seconds >= sum(one.seconds for one in explanation.questions) > 0
    for one in explanation.questions:
        assert one.seconds >= sum(step.seconds for step in one.steps)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_is_where_it_was_judged(kind: str, manager: ModelManager, condition: str) -> None:
    text = CONDITIONS[condition]
    with manager.explain() as explanation:
        found = manager.list_runs(filter=text)
    assert len(found) == {"metric": 2, "text": 6, "number": 6, "or": 7}[condition]
    search = search_of(explanation)
    assert search.answers == len(found)
    pushed = [one.removesuffix(OWN_FUNCTION).removesuffix(CHECKED).replace("`", "") for one in search.plan.pushed_down]
    here = [one.removesuffix(RESOLVED) for one in search.plan.filtered_here]
    if condition in KINDS[kind].does:
        assert any(one.removesuffix(".0") == text for one in pushed)
        assert text not in here
    else:
        assert text in here
        assert text not in pushed


def test_what_a_store_can_do_reads_no_more_than_the_answer(kind: str, manager: ModelManager) -> None:
    read = {}
    for text in ("metrics.m > 0", CONDITIONS["metric"], CONDITIONS["or"]):
        with manager.explain() as explanation:
            manager.list_runs(filter=text)
        search = search_of(explanation)
        read[text] = search.read[KINDS[kind].read]
    if kind == "server":
        assert [*read.values()] == [COUNT, 2, COUNT]
    elif kind == "client":
        assert [*read.values()] == [COUNT, COUNT, COUNT]
    elif kind == "mlruns":
        assert all(one >= COUNT for one in read.values())
        assert search.read["files read"] == search.read["files looked at"]  # so few runs have no index
    else:
        assert read[CONDITIONS["metric"]] < read[CONDITIONS["or"]] < read["metrics.m > 0"]


@pytest.mark.parametrize(("what", "key"), [("order", "metrics.m DESC"), ("text order", "params.opt ASC")])
def test_an_order_is_where_it_was_made(kind: str, manager: ModelManager, what: str, key: str) -> None:
    with manager.explain() as explanation:
        manager.list_runs(order_by=key, limit=3)
    plan = search_of(explanation).plan
    does, leaves = [one.removesuffix(OWN_FUNCTION) for one in plan.pushed_down], plan.filtered_here
    assert f"order by {key}" in (does if what in KINDS[kind].does else leaves)
    assert f"order by {key}" not in (leaves if what in KINDS[kind].does else does)
    assert "at most 3" in (does if what in KINDS[kind].does else leaves)


def test_the_best_is_where_it_was_found(kind: str, manager: ModelManager) -> None:
    with manager.explain() as explanation:
        assert manager.get_best_run("m", experiment="alpha").run_id == run_id(COUNT - 1)
    [best] = [one for one in explanation.questions if one.what == "find the best runs by m"]
    winner = "the greatest finite metrics.m"
    by_store = "best" in KINDS[kind].does
    if kind == "server":  # it is asked to sort, unless it gave all of so few runs at once
        by_store = any(detail.startswith("order by") for step in best.steps for detail in step.details)
    assert (winner in best.plan.pushed_down, winner in best.plan.filtered_here) == (by_store, not by_store)
    assert "experiment 1" in best.plan.pushed_down
    judged = {*best.plan.pushed_down, *best.plan.filtered_here}
    assert {"active runs", FINISHED} <= judged
    assert NOT_NESTED not in judged
    assert best.answers == 2


@pytest.mark.parametrize("use_cache", [True, False])
def test_histories_are_counted_whoever_gives_them(kind: str, manager: ModelManager, use_cache: bool) -> None:
    found = []
    for _ in range(2):
        with manager.explain() as explanation:
            best = manager.get_best_run("m", aggregate="max", use_cache=use_cache)
        assert best.run_id == run_id(COUNT - 1)
        found.append(explanation.read)
        assert "the greatest finite metrics.m, the max of its history" in (
            explanation.pushed_down if "rows" in explanation.read else explanation.filtered_here
        )
    if kind == "server":
        assert found[0]["values"] == COUNT - 1
        assert found[0]["histories"] == 0
        known = COUNT - 1 if use_cache else 0
        assert (found[1]["histories"], found[1].get("values", 0)) == (known, COUNT - 1 - known)


def test_what_goes_by_is_counted(kind: str, manager: ModelManager) -> None:
    with manager.explain() as explanation:
        manager.list_runs()
    assert explanation.read[KINDS[kind].read] >= COUNT
    assert [step for step in explanation.steps if step.problem] == []


def test_nobody_looks_on_before_and_after(kind: str, manager: ModelManager) -> None:
    manager.list_runs(limit=1)
    store = manager.__dict__["_store"]
    with manager.explain() as explanation:
        manager.list_runs(limit=1)
        runs = manager.iter_runs(filter="metrics.m > 0")
        next(runs)
    steps, questions = explanation.steps, explanation.questions
    assert manager.__dict__["_store"] is store
    assert not any(isinstance(value, Seen) for value in vars(store).values())
    assert len(list(runs)) == COUNT - 1
    assert len(manager.list_runs()) == COUNT
    assert (explanation.steps, explanation.questions) == (steps, questions)


def test_what_was_opened_within_stays_open(kind: str, manager: ModelManager) -> None:
    with manager.explain() as explanation:
        manager.list_runs(limit=1)
    assert (explanation.questions[0].what == "open the store") == (kind != "client")  # which is opened by the fixture
    store = manager.__dict__["_store"]
    assert not isinstance(store, Seen)
    assert type(store).__module__.startswith("agentnn.stores.")
    assert "explained" not in type(store).__module__
    assert len(manager.list_runs()) == COUNT
    assert manager.__dict__["_store"] is store


class TestOnSqlite:
    """What does not depend on the kind of store."""

    @pytest.fixture
    def kind(self) -> str:
        return "sqlite"

    def test_nothing_is_opened_by_an_explanation_alone(self, manager: ModelManager) -> None:
        with manager.explain() as explanation:
            pass
        assert (explanation.questions, explanation.reader) == ((), "")
        assert not {"_store", "_registry"} & manager.__dict__.keys()

    def test_what_is_open_already_is_not_opened(self, manager: ModelManager) -> None:
        manager.list_experiments()
        with manager.explain() as explanation:
            manager.list_experiments()
        assert [one.what for one in explanation.questions] == ["list the experiments"]
        assert explanation.reader == KINDS["sqlite"].reader

    def test_an_error_keeps_what_was_seen_until_then(self, manager: ModelManager) -> None:
        with pytest.raises(NotFoundError), manager.explain() as explanation:
            manager.get_best_run("no such metric")
        assert "list the names of metrics" in [one.what for one in explanation.questions]
        assert len(manager.list_runs()) == COUNT

    def test_a_manager_may_be_closed_within(self, manager: ModelManager) -> None:
        manager.list_runs()
        with manager.explain():
            manager.list_runs()
            manager.close()
        assert "_store" not in manager.__dict__
        with manager.explain():
            manager.list_runs()
            manager.close()
            manager.list_runs()
        assert len(manager.list_runs()) == COUNT

    def test_one_explanation_may_stand_in_another(self, manager: ModelManager) -> None:
        with manager.explain() as outer:
            manager.list_runs(limit=1)
            with manager.explain() as inner:
                manager.list_runs(limit=2)
            manager.list_runs(limit=3)
        assert [one.answers for one in inner.questions if one.what == "search the runs"] == [2]
        assert [one.answers for one in outer.questions if one.what == "search the runs"] == [1, 2, 3]
        assert inner.read["rows"] < outer.read["rows"]
        assert not any(isinstance(value, Seen) for value in vars(manager.__dict__["_store"]).values())

    def test_the_models_of_a_registry_are_asked_for_too(self, manager: ModelManager) -> None:
        with pytest.raises(NotFoundError), manager.explain() as explanation:
            manager.compare_runs(["models:/net@champion", "run-1"])
        whats = [one.what for one in explanation.questions]
        assert whats == ["open the registry", "list the versions of a model", "list the models"]
        assert explanation.read["rows"] == 0

    def test_a_slow_statement_has_its_plan(self, manager: ModelManager, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("agentnn.stores.explained.database._SLOW_S", 0.0)
        with manager.explain() as explanation:
            manager.list_runs(filter="metrics.m > 3")
        plans = [detail for step in explanation.steps for detail in step.details]
        assert any("latest_metrics" in one or " x " in one for one in plans)
        assert all(one.startswith("plan: ") for one in plans)

    def test_values_of_a_filter_are_in_no_statement(self, manager: ModelManager) -> None:
        with manager.explain() as explanation:
            manager.list_runs(filter="tags.key = 'very private'")
        assert not any("very private" in step.what for step in explanation.steps)


@pytest.fixture(scope="module")
def odd_server(
    template_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
    mlflow_server: MlflowServer,
    _server_database: Path,
) -> str:
    """A server of runs with whatever names and values there are."""
    database = tmp_path_factory.mktemp("odd") / "mlflow.db"
    shutil.copyfile(template_database, database)
    write_store(database, seeded_store(5, 60))
    make_equal(_server_database, database)
    return mlflow_server.url


@given(expressions())
@settings(max_examples=40)
def test_what_a_server_is_said_to_do_it_did(odd_server: str, expression: Expression) -> None:
    with ModelManager(odd_server) as manager, manager.explain() as explanation:
        found = manager.list_runs(filter=spelled(expression), limit=None)
    search = search_of(explanation)
    assert search.answers == len(found)
    by_server = not any(spelled(one) in search.plan.filtered_here for one in conjuncts(expression))
    if by_server and not any(one.endswith(CHECKED) for one in search.plan.pushed_down):
        assert search.read.get("runs", 0) == len(found)
    else:
        assert search.read["runs"] >= len(found)


def test_a_password_is_nowhere(folder: Path) -> None:
    uri = "http://ada:hunter2@127.0.0.1:9"  # nobody listens there
    with ModelManager(uri) as manager, pytest.raises(StoreUnavailable), manager.explain() as explanation:
        manager.list_runs()
    said = str(explanation.to_dict())
    assert "hunter2" not in said
    assert "http://***@127.0.0.1:9" in said
    assert [step.problem for step in explanation.steps if step.problem]


def test_a_filter_that_a_server_refuses_is_not_pushed_down(
    folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentnn.stores.rest import pushdown, searching

    def misspelled(expression: Any) -> Any:
        return pushdown.Pushed(("metrics.m >",)) if expression is not None else pushdown.Pushed()

    monkeypatch.setattr(searching, "pushed", misspelled)
    with ModelManager(_uri_of("server", folder, request)) as manager, manager.explain() as explanation:
        assert len(manager.list_runs(filter="metrics.m > 10")) == 2
    search = search_of(explanation)
    assert "metrics.m > 10" in search.plan.filtered_here
    assert search.read["runs"] == COUNT
    assert any("Error" in step.problem for step in search.steps)


def test_a_store_that_lets_nobody_look_on_is_explained_by_its_questions(folder: Path) -> None:
    class Plain:
        def list_experiments(self, view: str = "active") -> list[Any]:
            return []

    manager = ModelManager(f"sqlite:///{folder}/mlflow.db")
    manager.__dict__["_store"] = Plain()
    with manager.explain() as explanation:
        manager.list_experiments()
    assert [(one.what, one.answers, one.steps) for one in explanation.questions] == [("list the experiments", 0, ())]
