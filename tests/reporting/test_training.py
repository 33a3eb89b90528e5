"""The report of a run, as data: against what was logged, MLflow's own client, empyrical, and by hand."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import empyrical
import numpy as np
import pandas as pd
import pytest
from cli.support import ADA, BOB, NEW_YEAR, artifacts_of_ada, execute
from mlflow import MlflowClient
from reporting.conftest import EPOCHS, FEATURES, SECRET, Logged

from agentnn.reporting.document import BarChart, Figures, HeatTable, LineChart, Missing, ScatterChart, Text
from agentnn.reporting.json_form import to_json
from agentnn.reporting.markdown import render_markdown
from agentnn.sdk.reporting import ExperimentReporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.support import Rows

    from agentnn.reporting.document import Report

    OpenRows = Callable[[], Rows]


@pytest.fixture(scope="module")
def report(logged: Logged) -> Report:
    """The report of the run that logged everything."""
    return ExperimentReporter(logged.uri).build_training_report(logged.run_id)


def blocks(report: Report, kind: type) -> list[Any]:
    return [block for block in report.blocks() if isinstance(block, kind)]


def chart(report: Report, id: str) -> Any:
    return next(block for block in report.blocks() if getattr(block, "id", None) == id)


def missing(report: Report) -> dict[str, str]:
    return {block.what: block.why for block in blocks(report, Missing)}


class TestEverything:
    def test_every_part_is_there_and_nothing_is_left_out(self, report: Report):
        assert [section.anchor for section in report.sections] == [
            "metrics", "curves", "backtest", "predictions", "importance", "config", "data", "model", "environment",
            "reproduction",
        ]  # fmt: skip
        assert set(missing(report)) <= {"the better direction of edge"}
        assert report.state == "good"

    def test_metrics_are_those_of_mlflow(self, report: Report, logged: Logged):
        theirs = MlflowClient(logged.uri).get_run(logged.run_id).data.metrics
        table = report.table("all-metrics")
        assert dict(zip(table.column("metric"), table.column("last"), strict=True)) == theirs
        for metric, lowest, points in zip(
            table.column("metric"), table.column("lowest"), table.column("points"), strict=True
        ):
            history = MlflowClient(logged.uri).get_metric_history(logged.run_id, metric)
            assert (lowest, points) == (min(one.value for one in history), len(history))

    def test_the_outcome_names_what_matters_most_and_the_best_epoch(self, report: Report, logged: Logged):
        theirs = MlflowClient(logged.uri).get_run(logged.run_id).data.metrics
        assert report.outcome.startswith("Finished after ")
        assert f"sharpe_ratio {theirs['sharpe_ratio']:.4g}" in report.outcome
        figure = next(item for item in blocks(report, Figures)[0].items if item.name == "val_loss")
        history = MlflowClient(logged.uri).get_metric_history(logged.run_id, "val_loss")
        best = min(history, key=lambda one: one.value)
        assert best.step < EPOCHS
        assert (figure.value, figure.direction) == (history[-1].value, "min")
        assert figure.note == f"best {best.value:.4g} at step {best.step}"

    def test_losses_of_training_and_validation_share_a_chart(self, report: Report):
        found = next(one for one in blocks(report, LineChart) if one.title == "loss")
        assert [one.name for one in found.series] == ["val_loss", "train_loss"]
        assert found.x == tuple(range(1, EPOCHS + 1))
        assert found.series[1].y == tuple(float(f"{math.exp(-step / 10):.6g}") for step in range(1, EPOCHS + 1))
        assert found.can_log
        assert found.can_smooth

    def test_what_was_overridden_is_marked_and_comes_first(self, report: Report):
        table = report.table("config")
        assert table.rows[0] == ("training.learning_rate", "0.003", "command line")
        assert [(mark.row, mark.column, mark.kind) for mark in table.marks] == [(0, 1, "changed")]
        assert "1 of 5 values overridden" in table.note

    def test_a_secret_is_nowhere(self, report: Report):
        assert SECRET not in to_json(report)
        assert report.table("config").rows[1][:2] == ("broker.api_key", "***")

    def test_equity_and_drawdown_are_those_that_were_logged(self, report: Report, logged: Logged):
        equity, fall = chart(report, "equity"), chart(report, "drawdown")
        assert equity.x == tuple(logged.dates)
        assert equity.series[0].y == tuple(float(f"{value:.6g}") for value in logged.equity)
        peaks = np.maximum.accumulate(logged.equity)
        assert fall.series[0].y == pytest.approx((np.asarray(logged.equity) / peaks - 1).tolist(), abs=1e-6)
        assert fall.is_filled

    def test_months_are_those_of_empyrical(self, report: Report, logged: Logged):
        table = chart(report, "months")
        assert isinstance(table, HeatTable)
        returns = pd.Series(logged.equity, pd.to_datetime(logged.dates)).pct_change().dropna()
        for (year, month), expected in empyrical.aggregate_returns(returns, "monthly").items():
            row = table.values[table.row_labels.index(str(year))]
            assert row[month - 1] == pytest.approx(expected, rel=1e-5)
        assert table.column_labels[-1] == "Year"

    def test_the_rolling_sharpe_ratio_is_that_of_empyrical(self, report: Report, logged: Logged):
        found = chart(report, "rolling-sharpe")
        returns = pd.Series(logged.equity).pct_change().dropna()
        expected = empyrical.roll_sharpe_ratio(returns, window=126)
        assert found.series[0].y[126:] == pytest.approx(expected.tolist(), rel=1e-5)
        assert "252 periods a year" in found.note

    def test_trades_are_a_table(self, report: Report):
        table = report.table("trades")
        assert len(table.rows) == 60
        assert [column.shape for column in table.columns] == ["time", "time", "number", "number"]
        best = next(mark for mark in table.marks if mark.kind == "best")
        assert table.rows[best.row][3] == max(table.column("PnL"))

    def test_predictions_are_judged_by_all_rows(self, report: Report, logged: Logged):
        theirs = MlflowClient(logged.uri).get_run(logged.run_id).data.metrics
        figures = next(one for one in blocks(report, Figures) if one.title.startswith("Over 300 rows"))
        assert {item.name: item.value for item in figures.items} == pytest.approx(
            {name: theirs[f"test_{name}"] for name in ("mae", "rmse", "r2", "bias")}
        )
        points = blocks(report, ScatterChart)[0]
        assert (points.table, points.x, points.y) == ("predictions-0-0", "actual", "predicted")
        assert report.table(points.table).column("actual") == pytest.approx(logged.actual.tolist(), rel=1e-5)

    def test_importance_data_model_and_environment(self, report: Report, logged: Logged):
        bars = blocks(report, BarChart)[0]
        assert bars.labels[0] == "close"
        assert set(bars.labels) == set(FEATURES)
        assert report.table("features").column("name") == list(FEATURES)
        drift = report.table("drift")
        assert all(mark.kind == "wrong" for mark in drift.marks)
        assert drift.column("shift") == pytest.approx([1.0] * 4)
        names = dict(report.table("environment").rows)
        assert names["mlflow"] == __import__("mlflow").__version__
        model = next(one for one in blocks(report, Text) if one.title == "model_summary.txt")
        assert "Sequential" in model.text
        code = next(one for one in blocks(report, Text) if one.title == "Train it again")
        assert code.text.splitlines()[-1] == f"agentnn run replay {logged.run_id}"

    def test_the_same_run_gives_the_same_bytes(self, report: Report, logged: Logged):
        again = ExperimentReporter(logged.uri).build_training_report("lstm-small")
        assert to_json(again) == to_json(report)
        assert render_markdown(again) == render_markdown(report)

    def test_a_chart_has_an_id_of_its_own_and_says_what_it_shows(self, report: Report):
        ids = [block.id for block in report.blocks() if hasattr(block, "id")]
        assert len(ids) == len(set(ids))
        assert all(block.summary.endswith(".") for block in report.blocks() if hasattr(block, "summary"))


class TestLittle:
    def test_one_metric_makes_a_report(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            store.run(ADA, "ada", metrics={"loss": 0.25})
        report = reporter.build_training_report("ada")
        assert report.outcome == "Finished after 1 min 31 s. loss 0.25."
        assert [section.anchor for section in report.sections] == ["metrics", "reproduction", "left-out"]
        assert blocks(report, Figures)[0].items[0].value == 0.25
        assert missing(report)["backtest"] == "the run logged none: log_backtest_results"
        assert missing(report)["learning curves"] == "no metric of the run has two values"
        assert {"predictions", "importance of the features", "summary of the model"} <= missing(report).keys()

    def test_no_metric_at_all(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            store.run(ADA, "", end_time=None)
        report = reporter.build_training_report(ADA)
        assert report.title == ADA
        assert report.outcome == "Finished. It logged no metric."
        assert missing(report)["metrics"] == "the run logged none"

    @pytest.mark.parametrize(
        ("more", "outcome", "state"),
        [
            ({"status": "FAILED"}, "Failed after 1 min 31 s: out of memory. loss 0.5.", "bad"),
            ({"status": "KILLED", "end_time": None}, "Killed: out of memory. loss 0.5.", "bad"),
            ({"status": "RUNNING", "end_time": None}, "Still running, at step 2. loss 0.5.", "open"),
            ({"lifecycle_stage": "deleted"}, "Finished after 1 min 31 s; the run is deleted. loss 0.5.", "good"),
        ],
    )
    def test_how_a_run_ended_is_the_first_thing_said(
        self, rows: OpenRows, reporter: ExperimentReporter, more: dict[str, Any], outcome: str, state: str
    ):
        with rows() as store:
            tags = {"agentnn.end_reason": "out of memory"}
            store.run(ADA, "ada", history={"loss": [1.0, 0.75, 0.5]}, tags=tags, **more)
        report = reporter.build_training_report(ADA)
        assert report.outcome == outcome
        assert report.state == state
        assert report.source.as_of == (
            "2026-01-01T00:01:30.500Z" if "end_time" not in more else "2026-01-01T00:00:02.000Z"
        )

    def test_what_is_not_finite_is_said_and_marked(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            store.run(ADA, "ada", history={"loss": [1.0, math.nan, math.inf], "acc": [math.nan, 0.5]})
        report = reporter.build_training_report(ADA)
        figures = {item.name: item for item in blocks(report, Figures)[0].items}
        assert (figures["loss"].value, figures["acc"].value) == ("Infinity", 0.5)
        assert figures["loss"].note == "not a finite number; best 1 at step 0"
        chart_of_loss = next(one for one in blocks(report, LineChart) if one.title == "loss")
        assert chart_of_loss.series[0].y == (1.0, None, None)
        assert chart_of_loss.note == "loss: 2 values not finite"
        assert [mark.kind for mark in report.table("all-metrics").marks] == ["wrong"]

    def test_a_direction_is_declared_or_known_or_not_said(
        self, rows: OpenRows, reporter: ExperimentReporter, database: Path
    ):
        (database.parent / "agentnn.toml").write_text(
            '[metrics]\nspeed = { direction = "min", unit = "ms", digits = 1, convention = "p95" }\n'
        )
        with rows() as store:
            metrics = {"speed": 3.25, "sharpe_ratio": 1.0, "odd": 2.0, "max_drawdown": -0.25, "test_r2": 0.5}
            store.run(ADA, "ada", metrics=metrics)
        figures = blocks(reporter.build_training_report(ADA), Figures)[0].items
        assert [item.name for item in figures] == ["speed", "sharpe_ratio", "max_drawdown", "test_r2", "odd"]
        assert [item.direction for item in figures] == ["min", "max", "max", "max", None]
        assert (figures[0].unit, figures[0].digits, figures[0].note) == ("ms", 1, "p95")

    def test_key_figures_are_compared_with_buying_and_holding(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            metrics = {
                "sharpe_ratio": 1.0,
                "buy_and_hold_sharpe_ratio": 1.25,
                "validation_sharpe_ratio": 3.0,
                "val_loss": 0.5,
            }
            store.run(ADA, "ada", metrics=metrics)
        figures = blocks(reporter.build_training_report(ADA), Figures)[0].items
        assert [item.name for item in figures] == ["sharpe_ratio", "val_loss", "validation_sharpe_ratio"]
        assert (figures[0].delta, figures[0].delta_to, figures[0].is_better) == (-0.25, "buying and holding", False)

    def test_fractions_are_per_cent_where_they_are_known_to_be(self, rows: OpenRows, reporter: ExperimentReporter):
        conventions = {"agentnn.metric_conventions": "252 periods, ddof 1, risk-free 0"}
        metrics = {"total_return": 0.5, "win_rate": 60.0}
        with rows() as store:
            store.run(ADA, "own", metrics=metrics, tags=conventions)
            store.run(BOB, "given", metrics=metrics, tags={**conventions, "agentnn.computed_metrics": "total_return"})
            store.run("c" * 32, "theirs", metrics=metrics)
        for run, shapes in (
            (ADA, ["percent", "percent"]),
            (BOB, ["percent", "number"]),
            ("c" * 32, ["number", "number"]),
        ):
            figures = blocks(reporter.build_training_report(run), Figures)[0].items
            assert [item.shape for item in figures] == shapes

    def test_a_drawdown_of_positive_size_is_better_when_smaller(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            store.run(ADA, "ada", metrics={"max_drawdown": 0.2})
        assert blocks(reporter.build_training_report(ADA), Figures)[0].items[0].direction == "min"

    def test_a_learning_rate_that_stays_needs_no_chart(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            history = {"loss": [0.5, 0.5], "learning_rate": [0.003, 0.003], "lr": [0.1, 0.2]}
            store.run(ADA, "ada", history=history)
        report = reporter.build_training_report(ADA)
        assert [one.title for one in blocks(report, LineChart)] == ["loss", "lr"]
        assert missing(report)["learning_rate"] == "it is 0.003 throughout"

    def test_a_long_curve_is_thinned_and_says_so(self, rows: OpenRows, reporter: ExperimentReporter):
        values = [math.sin(place / 40) for place in range(3000)]
        values[1717] = -5.0
        with rows() as store:
            store.run(ADA, "ada", history={"loss": values})
        found = next(one for one in blocks(reporter.build_training_report(ADA), LineChart))
        assert len(found.x) <= 1000
        assert found.series[0].y[found.x.index(1717)] == -5.0
        assert found.series[0].points == 3000
        assert f"{len(found.x):,} of 3,000 points" in found.note

    def test_values_without_steps_are_numbered(self, rows: OpenRows, reporter: ExperimentReporter, database: Path):
        with rows() as store:
            store.run(ADA, "ada", history={"loss": [3.0, 2.0, 1.0]})
        execute(database, "UPDATE metrics SET step = 0", "UPDATE latest_metrics SET step = 0")
        found = next(one for one in blocks(reporter.build_training_report(ADA), LineChart))
        assert (found.x, found.x_title) == ((0, 1, 2), "value number")

    def test_a_study_is_told_where_its_report_is(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            store.run(ADA, "ada", tags={"agentnn.role": "study"})
        facts = {fact.name: fact.value for fact in reporter.build_training_report(ADA).about}
        assert facts["A study"] == f"agentnn report hpo {ADA}"

    def test_the_sketch_in_the_tag_draws_the_equity_when_the_files_are_gone(
        self, rows: OpenRows, reporter: ExperimentReporter
    ):
        sketch = {"dates": ["2024-01-01", "2024-12-31"], "values": [1.0, 1.5, 1.2]}
        with rows() as store:
            store.run(ADA, "ada", tags={"agentnn.equity_curve": json.dumps(sketch)})
        report = reporter.build_training_report(ADA)
        assert chart(report, "equity").series[0].y == (1.0, 1.5, 1.2)
        assert "from 2024-01-01 to 2024-12-31" in chart(report, "equity").note
        assert "dates, months and trades of the backtest" in missing(report)


class TestFilesOfOthers:
    """Whatever lies in a run's folder, there is a report."""

    @pytest.fixture
    def folder(self, rows: OpenRows, database: Path, tmp_path: Path) -> Path:
        with rows() as store:
            store.run(ADA, "ada", metrics={"loss": 1.0})
        folder = artifacts_of_ada(database, tmp_path / "artifacts")
        folder.mkdir(parents=True)
        return folder

    @pytest.mark.parametrize(
        "name",
        ["characteristics.json", "importance.json", "environment.json", "predictions.csv", "trades.csv",
         "portfolio_values.csv", "config.yaml", "model_summary.txt"],
    )  # fmt: skip
    @pytest.mark.parametrize(
        "content",
        [b"", b"\xff\xfe\x00", b"[]", b"{}", b'{"inputs": 3, "features": [1], "gpus": 3}', b"a,a\n1,2\n", b"a\n1,2\n",
         b'{"inputs": {"distributions": [1, {"name": 3, "mean": "x"}], "rows": "many"}, "drift": [{}]}',
         b"date,value\n2024-01-01,nan\n", b"actual,predicted\nx,y\n", b"date,value\n2024-13-01,1\n", b"[" * 50_000,
         b"actual,predicted,value,pnl\n1e308,-1e308,1e-300,1e308\n-1e308,1e308,1e308,-1e308\n1,2,-1e308,1\n2,1,1e308,1\n",
         b'{"features": [{"feature": "x", "importance": 1' + b"0" * 400 + b'}], "cpus": 1e999, "memory_bytes": NaN}'],
        ids=range(14),
    )  # fmt: skip
    def test_a_damaged_file_is_left_out(self, folder: Path, reporter: ExperimentReporter, name: str, content: bytes):
        (folder / name).write_bytes(content)
        report = reporter.build_training_report(ADA)
        assert report.outcome == "Finished after 1 min 31 s. loss 1."
        assert to_json(report)

    def test_a_file_that_is_too_large_is_said(
        self, folder: Path, reporter: ExperimentReporter, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("agentnn.reporting.files._LARGEST", 1 << 20)
        (folder / "predictions.csv").write_bytes(b"actual,predicted\n" + b"1,2\n" * 300_000)
        assert "predictions.csv" in missing(reporter.build_training_report(ADA))

    def test_a_link_that_leaves_the_folder_is_not_followed(
        self, folder: Path, reporter: ExperimentReporter, tmp_path: Path
    ):
        (tmp_path / "secret").write_text("actual,predicted\n42,43\n")
        (folder / "predictions.csv").symlink_to(tmp_path / "secret")
        report = reporter.build_training_report(ADA)
        assert not any(getattr(block, "id", "").startswith("predictions") for block in report.blocks())
        assert "leaves the run's folder" in missing(report)["predictions.csv"]

    def test_files_that_can_not_be_had_are_said_and_the_rest_is_told(
        self, rows: OpenRows, reporter: ExperimentReporter, folder: Path, database: Path
    ):
        execute(database, "UPDATE runs SET artifact_uri = 's3://bucket/else'")
        report = reporter.build_training_report(ADA)
        assert "the files of the run" in missing(report)
        assert blocks(report, Figures)[0].items[0].value == 1.0

    def test_a_history_that_was_logged_as_a_table_only_is_drawn(self, folder: Path, reporter: ExperimentReporter):
        (folder / "training").mkdir()
        (folder / "training" / "history.csv").write_text(
            "epoch,train_loss,val_loss,note\n1,0.9,1.0,x\n2,0.5,nan,y\n3,0.25,0.75,\n"
        )
        found = next(one for one in blocks(reporter.build_training_report(ADA), LineChart))
        assert {one.name: one.y for one in found.series} == {
            "val_loss": (1.0, None, 0.75), "train_loss": (0.9, 0.5, 0.25),
        }  # fmt: skip
        assert found.x == (1, 2, 3)

    def test_a_model_folder_is_not_looked_into(self, folder: Path, reporter: ExperimentReporter):
        (folder / "model").mkdir()
        (folder / "model" / "MLmodel").write_text("flavors: {}")
        (folder / "model" / "requirements.txt").write_text("torch==9\n")
        assert "torch==9" not in to_json(reporter.build_training_report(ADA))


class TestSecrets:
    def test_nothing_that_sounds_or_looks_like_a_secret_is_told(
        self, rows: OpenRows, reporter: ExperimentReporter, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("DB_PASSWORD", "swordfish-77")
        token = "ghp_" + "a1B2" * 9
        with rows() as store:
            store.run(
                ADA,
                f"run {token}",
                params={"db.password": "tell-nobody", "uri": "postgresql://a:opensesame@host/db", "a": "swordfish-77"},
                tags={"token": "sesame-sesame", "mlflow.note.content": "https://u:letmein@host", "max_token": "512"},
                metrics={"loss": 1.0},
            )  # fmt: skip
        report = reporter.build_training_report(ADA)
        told = to_json(report) + render_markdown(report)
        for secret in ("tell-nobody", "opensesame", "swordfish-77", "sesame-sesame", "letmein", token):
            assert secret not in told
        assert dict(report.table("config").rows)["uri"] == "postgresql://***@host/db"
        assert dict(report.table("tags").rows)["max_token"] == "512"

    def test_the_password_of_the_store_is_not_told(self, rows: OpenRows, database: Path):
        with rows() as store:
            store.run(BOB, "bob", metrics={"loss": 1.0}, start_time=NEW_YEAR)
        reporter = ExperimentReporter(f"sqlite:///{database}?password=opensesame")
        assert "opensesame" not in to_json(reporter.build_training_report(BOB))
