"""The best runs of a server by what their histories come to: few questions, the cache, and the same answers.

The details are asked of a server in this process, which counts its questions; a real one is asked at the end.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric as TheirMetric
from mlflow.entities import ViewType

from agentnn.errors import StoreUnavailable
from agentnn.query.runs import RunQuery
from agentnn.query.selection import BestQuery, aggregate_history, rank
from agentnn.records import Metric, Run
from agentnn.settings import Settings
from agentnn.stores.mlflow.store import MlflowClientStore
from agentnn.stores.opening import open_store
from agentnn.stores.progress import told_to
from agentnn.stores.rest import best_by_history, histories
from agentnn.stores.rest.replies import NoSuchEndpoint
from agentnn.stores.rest.store import RestStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from real_stores import MlflowServer

    from agentnn.query.selection import Aggregate, Best
    from agentnn.stores.rest.transport import Transport

ENDED = 1_700_000_000_000
TOGETHER, ALONE = "get-history-bulk", "get-history"
AGGREGATES: tuple[Aggregate, ...] = ("first", "min", "max", "mean")


@dataclass
class KeptRun:
    """A run of the server: its record, and the points of its metric in the order in which they came."""

    run_id: str
    points: list[tuple[float, int, int]]
    status: str = "FINISHED"
    end_time: int | None = ENDED
    lifecycle_stage: str = "active"

    def log(self, value: float, step: int, timestamp: int = ENDED - 1000) -> None:
        self.points.append((value, step, timestamp))

    @property
    def latest(self) -> tuple[float, int, int]:
        return max(self.points, key=lambda one: (one[1], one[2], 0.0 if math.isnan(one[0]) else one[0]))

    def record(self) -> dict[str, Any]:
        value, step, timestamp = self.latest
        metrics = [{"key": "loss", "value": value, "step": str(step), "timestamp": timestamp}]
        info = {
            "run_id": self.run_id, "run_name": self.run_id, "experiment_id": "0", "status": self.status,
            "lifecycle_stage": self.lifecycle_stage, "start_time": 1, "end_time": self.end_time,
        }  # fmt: skip
        return {"info": info, "data": {"metrics": metrics}}


@dataclass
class CountingServer:
    """What a transport does, for a server that is a few Python objects.

    Attributes:
        runs: All of them.
        asked: How often it was asked what.
        most_points: What an answer about many runs is cut off at.
        in_order: Whether such an answer gives one run after the other.
        has_bulk: Whether it answers about many runs.
        before_histories: Is called before histories are given.
    """

    runs: list[KeptRun]
    asked: Counter[str] = field(default_factory=Counter)
    most_points: int = 25_000
    in_order: bool = True
    has_bulk: bool = True
    before_histories: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    shown = "http://counting"

    def beside(self) -> CountingServer:
        return self

    def close(self) -> None:
        pass

    def post(self, endpoint: str, question: Mapping[str, Any], *, read: bool = True) -> dict[str, Any]:
        if endpoint == "experiments/search":
            return {"experiments": [{"experiment_id": "0", "name": "Default"}]}
        assert endpoint == "runs/search"
        view = {"ACTIVE_ONLY": ("active",), "DELETED_ONLY": ("deleted",)}.get(question["run_view_type"])
        found = [one for one in self.runs if view is None or one.lifecycle_stage in view]
        start = int(question.get("page_token", 0))
        end = start + question["max_results"]
        more = {"next_page_token": str(end)} if end < len(found) else {}
        return {"runs": [one.record() for one in found[start:end]], **more}

    def get(self, endpoint: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name = endpoint.rpartition("/")[2]
        with self.lock:
            self.asked[name] += 1
            if self.before_histories is not None:
                self.before_histories()
        if name == ALONE:
            [run] = [one for one in self.runs if one.run_id == parameters["run_id"]]
            return {"metrics": [_point(run, *one) for one in run.points]}
        assert name == TOGETHER
        if not self.has_bulk:
            raise NoSuchEndpoint("too old")
        assert len(parameters["run_id"]) <= 100
        wanted = sorted((one for one in self.runs if one.run_id in parameters["run_id"]), key=lambda one: one.run_id)
        points = [_point(run, *one) for run in wanted for one in sorted(run.points, key=lambda one: one[2])]
        if not self.in_order:
            points.sort(key=lambda one: (one["timestamp"], one["step"]))
        return {"metrics": points[: min(parameters["max_results"], self.most_points)]}

    @property
    def history_questions(self) -> int:
        return sum(self.asked.values())


def _point(run: KeptRun, value: float, step: int, timestamp: int) -> dict[str, Any]:
    return {"key": "loss", "value": value, "step": step, "timestamp": timestamp, "run_id": run.run_id}


def some_runs(count: int, points: int = 3) -> list[KeptRun]:
    return [
        KeptRun(f"{number:032x}", [(float((number * 7 + step * 5) % 31), step, step) for step in range(points)])
        for number in range(count)
    ]


def asked(server: CountingServer, aggregate: Aggregate = "max", **how: Any) -> Best:
    store = RestStore(cast("Transport", server), Settings("http://counting", registry_uri="http://counting"))
    return store.best_runs(BestQuery("loss", aggregate=aggregate, **({"top": 5, "tally": True} | how)))


def expected(server: CountingServer, aggregate: Aggregate = "max", **how: Any) -> Best:
    """The answer by the definition, from the points themselves."""
    query = BestQuery("loss", aggregate=aggregate, **({"top": 5, "tally": True} | how))

    def judged() -> Iterator[tuple[Run, float | None]]:
        for one in server.runs:
            if one.lifecycle_stage == "active":
                history = sorted((Metric("loss", *point) for point in one.points), key=histories_order)
                run = Run(
                    one.run_id, one.run_id, "0", "Default", one.status, "active", 1, one.end_time,
                    metrics={"loss": one.latest[0]},
                )  # fmt: skip
                yield run, aggregate_history(history, aggregate)

    return rank(query, judged())


def histories_order(point: Metric) -> tuple[int, int, float]:
    return point.step, point.timestamp, 0.0 if math.isnan(point.value) else point.value


def in_words(best: Best) -> tuple[Any, ...]:
    return [(one.run.run_id, repr(one.value)) for one in best.candidates], best.considered, best.excluded


def assert_right(server: CountingServer, **how: Any) -> None:
    for aggregate in AGGREGATES:
        assert in_words(asked(server, aggregate, **how)) == in_words(expected(server, aggregate, **how)), aggregate


class TestTheCache:
    def test_a_second_question_asks_for_no_history(self) -> None:
        server = CountingServer(some_runs(150))
        assert_right(server)
        questions = server.history_questions
        assert 0 < questions <= 6
        assert_right(server, include_unfinished=True, mode="min")
        assert server.history_questions == questions

    def test_without_it_nothing_is_read_from_it_or_kept(self, state_dir: Path) -> None:
        server = CountingServer(some_runs(30))
        assert_right(server, use_cache=False)
        assert not state_dir.exists()
        server.asked.clear()
        asked(server)
        server.asked.clear()
        asked(server, use_cache=False)
        assert server.asked

    def test_runs_that_go_on_are_asked_for_every_time(self) -> None:
        server = CountingServer(some_runs(6))
        server.runs[2] = replace(server.runs[2], status="RUNNING", end_time=None)
        server.runs[3] = replace(server.runs[3], end_time=None)
        server.runs[4] = replace(server.runs[4], end_time=int(time.time() * 1000))
        assert_right(server, include_unfinished=True)
        server.asked.clear()
        server.runs[2].log(1000.0, 0)
        server.runs[3].log(2000.0, 0)
        server.runs[4].log(3000.0, 0)
        assert_right(server, include_unfinished=True)
        assert set(server.asked) == {TOGETHER}

    def test_a_run_that_was_resumed_or_logged_to_is_asked_for_again(self) -> None:
        server = CountingServer(some_runs(10))
        asked(server)
        server.runs[1].log(99.0, 0)  # resumed, a point at an early step, and ended again
        server.runs[1].end_time = ENDED + 1
        server.runs[2].log(98.0, 9)  # behind its back
        server.runs[3].log(97.0, server.runs[3].latest[1], ENDED)
        server.runs[4].status = "FAILED"
        server.asked.clear()
        assert_right(server)
        assert server.asked == {TOGETHER: 1}
        assert_right(server, include_unfinished=True)

    def test_deleted_runs_are_left_out_and_restored_ones_known(self) -> None:
        server = CountingServer(some_runs(10))
        asked(server)
        server.asked.clear()
        winner = next(one for one in server.runs if one.run_id == asked(server).candidates[0].run.run_id)
        winner.lifecycle_stage = "deleted"
        assert_right(server)
        winner.lifecycle_stage = "active"
        assert_right(server)
        assert not server.asked

    def test_a_point_that_comes_between_search_and_history_is_not_kept_for_the_record_before(self) -> None:
        server = CountingServer(some_runs(4))
        run = server.runs[0]
        before = list(run.points)
        server.before_histories = lambda: run.log(500.0, 50)
        assert asked(server).candidates[0].value == 500.0
        server.before_histories = None
        run.points[:] = before  # the store was restored from a backup
        assert_right(server)

    def test_what_the_record_does_not_show_is_seen_without_the_cache(self) -> None:
        """A point at an earlier step, behind the back of a run that has ended: the module says so."""
        server = CountingServer(some_runs(4))
        asked(server)
        server.runs[0].log(777.0, 0, 0)
        assert asked(server).candidates[0].value != 777.0
        assert asked(server, use_cache=False).candidates[0].value == 777.0

    def test_who_breaks_off_goes_on_where_he_was(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(best_by_history, "CONNECTIONS", 40)
        server = CountingServer(some_runs(1000))

        def interrupt(_: str, done: int, total: int) -> None:
            if done >= 500:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), told_to(interrupt):
            asked(server)
        server.asked.clear()
        seen: list[tuple[int, int]] = []
        with told_to(lambda _, done, total: seen.append((done, total))):
            assert in_words(asked(server)) == in_words(expected(server))
        total = seen[-1][1]
        assert total <= 500
        assert seen[-1] == (total, total)
        assert server.asked[TOGETHER] <= 20

    @pytest.mark.parametrize("cache_mb", ["0", "0.0"])
    def test_it_can_be_switched_off(self, cache_mb: str, monkeypatch: pytest.MonkeyPatch, state_dir: Path) -> None:
        monkeypatch.setenv("AGENTNN_CACHE_MB", cache_mb)
        server = CountingServer(some_runs(5))
        store = RestStore(cast("Transport", server), Settings.load("http://counting"))
        store.best_runs(BestQuery("loss", aggregate="max"))
        assert not state_dir.exists()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_the_answer_is_the_same_whatever_has_happened(self, data: st.DataObject) -> None:
        values = st.sampled_from((0.0, -0.0, 1.0, 2.5, -7.0, 1e300, math.nan, math.inf, -math.inf))
        points = st.lists(st.tuples(values, st.integers(-1, 3), st.integers(0, 2)), min_size=1, max_size=4)
        server = CountingServer([KeptRun(uuid.uuid4().hex, data.draw(points)) for _ in range(5)])
        clock = ENDED
        for _ in range(data.draw(st.integers(1, 8))):
            run = data.draw(st.sampled_from(server.runs))
            clock += 1000
            match data.draw(st.sampled_from(("resume", "late", "delete", "restore", "ask", "ask"))):
                case "resume":
                    run.points += data.draw(points)
                    run.end_time = clock
                    run.status = data.draw(st.sampled_from(("FINISHED", "FAILED", "RUNNING")))
                    run.end_time = None if run.status == "RUNNING" else clock
                case "late":
                    run.log(data.draw(values), run.latest[1], clock)
                case "delete":
                    run.lifecycle_stage = "deleted"
                case "restore":
                    run.lifecycle_stage = "active"
                case _:
                    assert_right(server, mode=data.draw(st.sampled_from(("min", "max"))))
        assert_right(server, include_unfinished=data.draw(st.booleans()))


class TestReading:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40),
        most=st.integers(2, 25),
        limit=st.integers(2, 25),
        in_order=st.booleans(),
        has_bulk=st.booleans(),
    )
    def test_histories_are_whole_however_answers_are_cut_off(
        self, lengths: list[int], most: int, limit: int, in_order: bool, has_bulk: bool
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(histories, "_MOST_POINTS", most)
            patch.setattr(histories, "_MOST_POINTS_KEPT", 3 * most)
            runs = [KeptRun(f"{7 * n % 41:032x}", [(float(n), s, s) for s in range(m)]) for n, m in enumerate(lengths)]
            server = CountingServer(runs, most_points=max(most, limit), in_order=in_order, has_bulk=has_bulk)
            records = [
                Run(one.run_id, "", "0", "", "FINISHED", metrics={"loss": 1.0, "other": 2.0}) for one in server.runs
            ]
            found = list(histories.metric_histories(cast("Transport", server), records, ["loss"]))
        assert [one.run_id for one in found] == [one.run_id for one in runs]
        assert [[tuple(point[1:]) for point in one.points] for one in found] == [one.points for one in runs]

    def test_a_long_answer_is_asked_for_in_parts_and_not_one_by_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(histories, "_MOST_POINTS", 100)
        monkeypatch.setattr(histories, "_MOST_POINTS_KEPT", 1000)
        server = CountingServer(some_runs(100, points=30))
        assert_right(server, use_cache=False)
        assert server.asked[ALONE] <= 4
        assert server.asked[TOGETHER] <= 4 * 60

    def test_an_old_server_is_asked_one_by_one(self) -> None:
        server = CountingServer(some_runs(60), has_bulk=False)
        assert_right(server)
        assert server.asked[ALONE] == 60

    def test_what_fails_in_one_connection_fails_the_question(self) -> None:
        server = CountingServer(some_runs(300))

        def fail() -> None:
            if server.asked[TOGETHER] == 2:
                raise StoreUnavailable("gone")

        server.before_histories = fail
        with pytest.raises(StoreUnavailable, match="gone"):
            asked(server)
        server.before_histories = None
        assert_right(server)

    def test_no_more_connections_than_are_worth_it(self) -> None:
        server = CountingServer(some_runs(20))
        before = threading.active_count()
        server.before_histories = lambda: pytest.fail("another thread") if threading.active_count() > before else None
        assert_right(server, use_cache=False)


@pytest.fixture(scope="class")
def served(mlflow_server: MlflowServer, _server_database: Path) -> Iterator[tuple[str, MlflowClient, str]]:
    """The address of a real server, a client that writes behind it, and an experiment of this class's own."""
    client = MlflowClient(f"sqlite:///{_server_database}")
    experiment_id = client.create_experiment(f"aggregates-{time.monotonic_ns()}")
    yield mlflow_server.url, client, experiment_id
    client.delete_experiment(experiment_id)


class TestRealServer:
    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_the_answer_is_mlflows_with_the_cache_and_without(
        self, served: tuple[str, MlflowClient, str], data: st.DataObject
    ) -> None:
        url, client, experiment_id = served
        for one in client.search_runs([experiment_id]):
            client.delete_run(one.info.run_id)
        clock = iter(range(ENDED, ENDED + 1_000_000, 1000))
        run_ids = [client.create_run(experiment_id, start_time=next(clock)).info.run_id for _ in range(4)]
        values = st.sampled_from((0.0, 1.5, -2.0, 1e300, math.nan, math.inf, -math.inf))
        points = st.lists(st.tuples(values, st.integers(0, 3)), min_size=1, max_size=4)
        deleted: set[str] = set()

        def train(run_id: str) -> None:
            logged = [
                TheirMetric(key, value, next(clock), step)
                for key in ("loss", "acc")
                for value, step in data.draw(points)
            ]
            client.log_batch(run_id, logged)
            client.set_terminated(run_id, data.draw(st.sampled_from(("FINISHED", "FAILED"))), next(clock))

        for run_id in run_ids:
            train(run_id)
        for _ in range(4):
            run_id = data.draw(st.sampled_from(run_ids))
            match data.draw(st.sampled_from(("resume", "delete or restore", "late point", "nothing"))):
                case "resume" if run_id not in deleted:
                    client.update_run(run_id, "RUNNING")
                    train(run_id)
                case "late point" if run_id not in deleted:
                    client.log_metric(run_id, "loss", data.draw(values), next(clock), 3)
                case "delete or restore" if run_id in deleted:
                    client.restore_run(run_id)
                    deleted.remove(run_id)
                case "delete or restore":
                    client.delete_run(run_id)
                    deleted.add(run_id)
            aggregate = data.draw(st.sampled_from(AGGREGATES))
            mode = data.draw(st.sampled_from(("min", "max")))
            query = BestQuery("loss", mode, aggregate, RunQuery((experiment_id,)), 4, data.draw(st.booleans()))
            with open_rest(url) as store:
                oracle = in_words(mlflows(client, query))
                assert in_words(store.best_runs(query)) == oracle
                assert in_words(store.best_runs(query._replace(use_cache=False))) == oracle
                assert in_words(MlflowClientStore(url, store_settings(url)).best_runs(query)) == oracle

    def test_mlflows_own_client_reads_no_history_twice(
        self, served: tuple[str, MlflowClient, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url, client, experiment_id = served
        run_id = client.create_run(experiment_id, start_time=ENDED).info.run_id
        client.log_batch(run_id, [TheirMetric("own", 2.0, ENDED, 0), TheirMetric("own", math.nan, ENDED, 1)])
        client.set_terminated(run_id, end_time=ENDED)
        query = BestQuery("own", aggregate="max", scope=RunQuery((experiment_id,)))
        store = MlflowClientStore(url, store_settings(url))
        assert store.best_runs(query).candidates[0].value == 2.0
        monkeypatch.setattr(store._client, "get_metric_history", lambda *_: pytest.fail("asked again"))
        assert store.best_runs(query).candidates[0].value == 2.0
        with open_rest(url) as ours:
            monkeypatch.setattr(histories, "metric_history", lambda *_: pytest.fail("asked again"))
            assert ours.best_runs(query).candidates[0].value == 2.0, "both keep the same"


def store_settings(url: str) -> Settings:
    return Settings(url, registry_uri=url)


class open_rest:  # noqa: N801
    """The store of a server, for the duration."""

    def __init__(self, url: str) -> None:
        self._store = open_store(store_settings(url))

    def __enter__(self) -> RestStore:
        assert isinstance(self._store, RestStore)
        return self._store

    def __exit__(self, *_: object) -> None:
        assert isinstance(self._store, RestStore)
        self._store.close()


def mlflows(client: MlflowClient, query: BestQuery) -> Best:
    """The answer from what MLflow's own client says of every run."""

    def judged() -> Iterator[tuple[Run, float | None]]:
        [experiment_id] = query.scope.experiment_ids or ()
        for one in client.search_runs([experiment_id], run_view_type=ViewType.ACTIVE_ONLY):
            if query.metric in one.data.metrics:
                found = client.get_metric_history(one.info.run_id, query.metric)
                history = [Metric("loss", as_kept(at.value), at.step, at.timestamp) for at in found]
                info = one.info
                run = Run(info.run_id, "", "0", "", info.status, "active", info.start_time, info.end_time)
                yield run, aggregate_history(sorted(history, key=histories_order), query.aggregate)

    return rank(query, judged())


def as_kept(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= 1.7976931348623157e308 else value
