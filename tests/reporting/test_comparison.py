"""The report of several runs, as data: against MlflowClient on the same store, and by hand."""

from __future__ import annotations

import json
import math
import statistics
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import ADA, BOB, CYD, DEE, EVE, NEW_YEAR
from mlflow import MlflowClient

from agentnn.errors import NotFoundError, UsageError
from agentnn.reporting.document import Figures, LineChart, Mark, Missing, ScatterChart
from agentnn.reporting.json_form import to_json
from agentnn.sdk.reporting import ExperimentReporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.support import Rows
    from reporting.conftest import Logged

    from agentnn.reporting.document import Report, Table

    OpenRows = Callable[[], Rows]

RUNS = (ADA, BOB, CYD, DEE)


@pytest.fixture
def four(rows: OpenRows) -> None:
    """Four runs: a baseline, one with a tie, one that failed, one that lacks what the others have."""
    common = {"optimizer": "adam", "layers": "2"}
    with rows() as store:
        store.experiment(1, "alpha")
        store.run(
            ADA, "ada", metrics={"sharpe_ratio": 1.0, "odd": 1.0}, history={"loss": [0.9, 0.5, 0.25]},
            params={**common, "lr": "1e-05"},
        )  # fmt: skip
        store.run(
            BOB, "bob", metrics={"sharpe_ratio": 1.5, "odd": 2.0}, history={"loss": [0.8, 0.125]},
            params={**common, "lr": "0.00001"},
        )  # fmt: skip
        store.run(
            CYD, "cyd", experiment_id=1, status="FAILED", metrics={"sharpe_ratio": math.nan},
            history={"loss": [9.0, math.inf]}, params={**common, "lr": "0.1", "dropout": "0.5"},
        )  # fmt: skip
        store.run(DEE, "dee", metrics={"sharpe_ratio": 1.5}, params={**common, "lr": "auto"}, start_time=NEW_YEAR + 5)


def chart(report: Report, id: str) -> Any:
    return next(block for block in report.blocks() if getattr(block, "id", None) == id)


def missing(report: Report) -> dict[str, str]:
    return {block.what: block.why for block in report.blocks() if isinstance(block, Missing)}


def marks(table: Table, kind: str) -> set[tuple[str, str]]:
    """The cells with a mark, by the name of their row and the key of their column."""
    return {(str(table.rows[one.row][0]), table.columns[one.column].key) for one in table.marks if one.kind == kind}


@pytest.mark.usefixtures("four")
class TestFour:
    def test_values_are_those_of_mlflow(self, reporter: ExperimentReporter):
        table = reporter.build_model_comparison_report(RUNS).table("runs")
        client = MlflowClient(reporter.settings.tracking_uri)
        for run_id, *_ in zip(table.column("run_id"), strict=True):
            theirs = client.get_run(str(run_id)).data
            row = table.rows[table.column("run_id").index(run_id)]
            for metric in ("sharpe_ratio", "odd"):
                ours, value = row[table.place(f"metrics.{metric}")], theirs.metrics.get(metric)
                assert ours == ("NaN" if value is not None and math.isnan(value) else value)

    def test_only_params_that_differ_by_value_are_shown(self, reporter: ExperimentReporter):
        report = reporter.build_model_comparison_report([ADA, BOB])
        assert missing(report)["params"] == "they are the same in all runs"
        assert "the params of all runs are the same" in report.table("runs").note
        report = reporter.build_model_comparison_report(RUNS)
        params = report.table("params")
        assert params.rows == (("dropout", None, None, "0.5", None), ("lr", "1e-05", "0.00001", "0.1", "auto"))
        assert dict(report.table("same-params").rows) == {"layers": "2", "optimizer": "adam"}
        assert report.table("runs").column("params.lr") == [1e-05, 1e-05, 0.1, "auto"]

    def test_the_best_is_marked_ties_too_and_nothing_where_nobody_says_what_is_better(
        self, reporter: ExperimentReporter
    ):
        table = reporter.build_model_comparison_report(RUNS).table("runs")
        assert marks(table, "best") == {
            ("bob", "metrics.sharpe_ratio"), ("dee", "metrics.sharpe_ratio"), ("bob", "metrics.loss"),
        }  # fmt: skip
        assert marks(table, "wrong") == {("cyd", "metrics.sharpe_ratio"), ("cyd", "metrics.loss")}

    def test_a_declared_direction_goes_before_what_is_known(self, reporter: ExperimentReporter, database: Path):
        (database.parent / "agentnn.toml").write_text('[metrics]\nodd = "min"\nsharpe_ratio = "min"\n')
        report = reporter.build_model_comparison_report(RUNS)
        assert {("ada", "metrics.odd"), ("ada", "metrics.sharpe_ratio")} <= marks(report.table("runs"), "best")
        assert report.outcome.startswith("ada is best by sharpe_ratio: 1, 0.5 ahead of bob.")

    def test_deltas_are_to_the_first_run_or_to_the_baseline(self, reporter: ExperimentReporter):
        table = reporter.build_model_comparison_report(RUNS).table("runs")
        assert table.column("delta.sharpe_ratio") == [None, 0.5, None, 0.5]
        assert marks(table, "better") == {
            ("bob", "delta.sharpe_ratio"), ("dee", "delta.sharpe_ratio"), ("bob", "delta.loss"),
        }  # fmt: skip
        report = reporter.build_model_comparison_report([ADA, BOB], baseline="dee")
        assert report.source.baseline == DEE
        assert report.source.runs == (DEE, ADA, BOB)
        assert report.table("runs").column("delta.sharpe_ratio") == [None, -0.5, 0.0]

    def test_side_by_side_the_baseline_comes_first(self, reporter: ExperimentReporter):
        table = reporter.build_model_comparison_report(RUNS, baseline=BOB).table("metrics")
        assert [column.title for column in table.columns[2:6]] == ["bob (baseline)", "ada", "Δ", "cyd"]
        assert table.rows[0] == ("sharpe_ratio", "greater", 1.5, 1.0, -0.5, "NaN", None, 1.5, 0.0)
        assert {(mark.row, mark.column, mark.kind) for mark in table.marks} >= {
            (0, 2, "best"), (0, 7, "best"), (0, 4, "worse"),
        }  # fmt: skip

    def test_the_outcome_says_who_is_best_by_how_much_and_what_was_left_out(self, reporter: ExperimentReporter):
        report = reporter.build_model_comparison_report(RUNS)
        assert report.outcome == (
            "bob is best by sharpe_ratio: 1.5, as is dee; the baseline ada has 1. 1 run without a finite value."
        )
        assert report.state == "mixed"
        about = {fact.name: fact.value for fact in report.about}
        assert about["Experiments"] == "Default, alpha"
        assert about["Statuses"] == "3 FINISHED, 1 FAILED"
        figure = next(block for block in report.blocks() if isinstance(block, Figures)).items[0]
        assert (figure.delta, figure.delta_to, figure.is_better, figure.note) == (0.5, "the baseline ada", True, "bob")

    def test_curves_of_different_lengths_lie_over_each_other(self, reporter: ExperimentReporter):
        found = chart(reporter.build_model_comparison_report(RUNS), "curve-0")
        assert found.title == "loss"
        lines = {one.name: (one.x or found.x, one.y) for one in found.series}
        assert lines == {
            "ada": ((0, 1, 2), (0.9, 0.5, 0.25)), "bob": ((0, 1), (0.8, 0.125)), "cyd": ((0, 1), (9.0, None)),
        }  # fmt: skip
        assert [one.name for one in found.series if one.is_main] == ["ada"]
        assert found.note == "1 run without such a curve; 1 value not finite"

    def test_any_two_columns_can_be_chosen_and_all_are_in_the_table(self, reporter: ExperimentReporter):
        report = reporter.build_model_comparison_report(RUNS)
        found = next(block for block in report.blocks() if isinstance(block, ScatterChart))
        keys = {column.key for column in report.table(found.table).columns}
        assert {found.x, found.y, found.label, *found.choices} <= keys
        assert found.y == "metrics.sharpe_ratio"
        assert found.main_row == 0

    def test_what_is_the_same_in_all_runs_has_no_column(self, reporter: ExperimentReporter):
        keys = {column.key for column in reporter.build_model_comparison_report([ADA, BOB]).table("runs").columns}
        assert keys.isdisjoint({"experiment", "status", "data", "commit"})
        keys = {column.key for column in reporter.build_model_comparison_report(RUNS).table("runs").columns}
        assert {"experiment", "status"} <= keys

    def test_a_run_that_is_named_twice_counts_once(self, reporter: ExperimentReporter):
        assert reporter.build_model_comparison_report([ADA, "ada", BOB, BOB[:8]]).source.runs == (ADA, BOB)

    @pytest.mark.parametrize("runs", [[], [ADA], [ADA, "ada"], [f"{one:032x}" for one in range(1001)], ADA])
    def test_too_few_or_too_many_are_refused(self, reporter: ExperimentReporter, runs: Any):
        with pytest.raises(UsageError):
            reporter.build_model_comparison_report(runs)

    def test_a_run_that_is_not_there_is_named(self, reporter: ExperimentReporter):
        with pytest.raises(NotFoundError, match="'f{32}'"):
            reporter.build_model_comparison_report([ADA, "f" * 32])


def test_a_deleted_run_is_compared_and_said_to_be_deleted(rows: OpenRows, reporter: ExperimentReporter):
    with rows() as store:
        store.run(ADA, "ada", metrics={"loss": 1.0})
        store.run(EVE, "eve", metrics={"loss": 2.0}, lifecycle_stage="deleted")
    report = reporter.build_model_comparison_report([ADA, EVE])
    assert report.table("runs").column("status") == ["FINISHED", "FINISHED, deleted"]


def test_runs_of_one_name_are_told_apart_by_their_ids(rows: OpenRows, reporter: ExperimentReporter):
    with rows() as store:
        for run_id in (ADA, BOB):
            store.run(run_id, "same", metrics={"loss": 1.0})
    assert reporter.build_model_comparison_report([ADA, BOB]).table("runs").column("name") == [
        f"same {ADA[:8]}", f"same {BOB[:8]}",
    ]  # fmt: skip


def test_rounding_makes_nobody_better(rows: OpenRows, reporter: ExperimentReporter):
    with rows() as store:
        for run_id, value in ((ADA, 0.1 + 0.2), (BOB, 0.3), (CYD, 0.25)):
            store.run(run_id, run_id[:4], metrics={"sharpe_ratio": value})
    table = reporter.build_model_comparison_report([ADA, BOB, CYD]).table("runs")
    assert marks(table, "best") == {(ADA[:4], "metrics.sharpe_ratio"), (BOB[:4], "metrics.sharpe_ratio")}
    assert table.column("delta.sharpe_ratio") == [None, 0.0, -0.05]
    assert marks(table, "better") == set()


def test_the_largest_numbers_overflow_without_harm(rows: OpenRows, reporter: ExperimentReporter):
    with rows() as store:
        for run_id, value, seed in ((ADA, -1.7e308, "1"), (BOB, 1.7e308, "2")):
            store.run(run_id, run_id[:4], history={"sharpe_ratio": [value / 2, value]}, params={"seed": seed})
    report = reporter.build_model_comparison_report([ADA, BOB])
    assert report.table("runs").column("metrics.sharpe_ratio") == [-1.7e308, 1.7e308]
    assert report.table("seed-groups").column("mean.sharpe_ratio") == [0.0]
    assert json.loads(to_json(report), parse_constant=pytest.fail)


def test_runs_without_metrics_and_params_make_a_report(rows: OpenRows, reporter: ExperimentReporter):
    with rows() as store:
        store.run(ADA, "ada")
        store.run(BOB, "bob")
    report = reporter.build_model_comparison_report([ADA, BOB])
    assert report.outcome == "The runs have no metric that most of them share."
    assert {"the best run", "learning curves", "equity", "mean and spread over seeds"} <= missing(report).keys()


class TestSeeds:
    @pytest.fixture
    def report(self, rows: OpenRows, reporter: ExperimentReporter) -> Report:
        with rows() as store:
            for place in range(6):
                store.run(
                    f"{place:032x}", f"run-{place}", metrics={"sharpe_ratio": place * place / 10},
                    params={"training.seed": str(place), "lr": "0.1" if place < 3 else "0.2"},
                    history={"loss": [place + 1.0, place + 2.0, place * 1.0]},
                )  # fmt: skip
        return reporter.build_model_comparison_report([f"{place:032x}" for place in range(6)])

    def test_mean_and_deviation_are_those_of_the_standard_library(self, report: Report):
        table = report.table("seed-groups")
        assert table.column("group") == ["lr=0.1", "lr=0.2"]
        values = [[0.0, 0.1, 0.4], [0.9, 1.6, 2.5]]
        assert table.column("mean.sharpe_ratio") == pytest.approx([statistics.fmean(one) for one in values])
        assert table.column("std.sharpe_ratio") == pytest.approx([statistics.stdev(one) for one in values])
        assert Mark(1, table.place("mean.sharpe_ratio"), "best") in table.marks

    def test_the_mean_curve_of_each_has_a_band(self, report: Report):
        found = chart(report, "band-0")
        assert found.title == "loss: mean over seeds"
        first = found.series[0]
        assert first.name == "lr=0.1: mean of 3"
        assert first.y == (2.0, 3.0, 1.0)
        assert (first.low, first.high) == ((1.0, 2.0, 0.0), (3.0, 4.0, 2.0))


class TestEquity:
    def test_files_give_dates_and_tags_give_sketches(self, logged: Logged):
        client = MlflowClient(logged.uri)
        sketch = json.dumps({"dates": None, "values": [2.0, 1.0, 4.0]})
        other = client.create_run(
            client.get_run(logged.run_id).info.experiment_id, tags={"agentnn.equity_curve": sketch}
        )
        client.set_terminated(other.info.run_id)
        try:
            report = ExperimentReporter(logged.uri).build_model_comparison_report([logged.run_id, other.info.run_id])
        finally:
            client.delete_run(other.info.run_id)
        dated, sketched = chart(report, "equity"), chart(report, "equity-sketches")
        assert dated.series[0].x == tuple(logged.dates)
        assert dated.series[0].y[-1] == pytest.approx(logged.equity[-1] / logged.equity[0], rel=1e-5)
        assert (sketched.series[0].x, sketched.series[0].y) == ((0.0, 0.5, 1.0), (1.0, 0.5, 2.0))
        assert "time is not to scale" in sketched.note


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, template_database: Path) -> Report:
    """A thousand runs with curves, of which a few are shown."""
    from cli.support import Rows

    path = tmp_path_factory.mktemp("many") / "mlflow.db"
    path.write_bytes(template_database.read_bytes())
    with Rows(path) as store:
        for place in range(1000):
            store.run(
                f"{place:032x}", f"run-{place}", params={"lr": str(place / 1000), "long": "x" * 5000 + str(place)},
                history={"sharpe_ratio": [0.0, place * 7 % 1000 / 10]},
            )  # fmt: skip
    return ExperimentReporter(f"sqlite:///{path}").build_model_comparison_report([f"{one:032x}" for one in range(1000)])


class TestMany:
    def test_all_runs_are_in_the_table_and_in_its_columns(self, many: Report):
        table = many.table("runs")
        assert len(table.rows) == 1000
        assert table.column("metrics.sharpe_ratio") == [place * 7 % 1000 / 10 for place in range(1000)]
        assert table.is_filterable
        assert len(to_json(many)) < 400_000

    def test_curves_are_those_of_the_baseline_and_of_the_best(self, many: Report):
        found = next(block for block in many.blocks() if isinstance(block, LineChart))
        drawn = {int(one.name.removeprefix("run-")) for one in found.series}
        best = sorted(range(1, 1000), key=lambda place: -(place * 7 % 1000))[:24]
        assert drawn == {0, *best}
        assert found.note == "25 of 1,000 runs: the baseline and the best by sharpe_ratio"

    def test_few_questions_are_asked_of_the_store(self, many: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        # The store of the report is gone from here but for its file.
        uri = many.source.store
        reporter = ExperimentReporter(uri)
        asked: list[str] = []
        database = reporter._store._database  # type: ignore[attr-defined]
        ask = type(database).rows
        monkeypatch.setattr(
            type(database), "rows", lambda self, sql, values=(): asked.append(sql) or ask(self, sql, values)
        )
        reporter._store._rows = database.rows  # type: ignore[attr-defined]
        reporter.build_model_comparison_report(many.source.runs)
        assert len(asked) < 25
