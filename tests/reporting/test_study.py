"""The report of a study, as data: of agentnn's own trials, of Optuna's and of MLflow's plain nested runs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import ADA, NEW_YEAR, artifacts_of_ada
from mlflow import MlflowClient

from agentnn.errors import NotFoundError
from agentnn.reporting.document import (
    BarChart,
    ContourChart,
    Figures,
    Missing,
    ParallelChart,
    ScatterChart,
    Text,
    TimelineChart,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.support import Rows

    from agentnn.reporting.document import Report
    from agentnn.sdk.reporting import ExperimentReporter

    OpenRows = Callable[[], Rows]

VALUES = (0.9, 0.5, None, 0.7, 0.2, None, 0.3, 0.25, math.nan, 0.4)
STATES = (
    "complete",
    "complete",
    "pruned",
    "complete",
    "complete",
    "failed",
    "complete",
    "complete",
    "complete",
    "complete",
)


def trial_id(number: int) -> str:
    return f"{number:02d}{'f' * 30}"


def put_trial(store: Rows, number: int, **more: Any) -> None:
    """One of ten trials, as agentnn logs it: number 4 is the best."""
    value, state = VALUES[number], STATES[number]
    history = {"val_loss": [1.0, 0.8]} if state == "pruned" else {"val_loss": [1.0, value]} if value is not None else {}
    values = {
        "history": history,
        "metrics": {"sharpe_ratio": number / 10},
        "params": {"learning_rate": str(10.0 ** -(number % 5)), "dropout": str(number / 20), "optimizer": "adam"},
        "tags": {
            "mlflow.parentRunId": ADA, "agentnn.role": "trial", "agentnn.trial.number": str(number),
            "agentnn.trial.state": state, **({"agentnn.end_reason": "diverged"} if state == "failed" else {}),
        },
        "status": "FAILED" if state == "failed" else "FINISHED",
        "start_time": NEW_YEAR + number * 1000,
        "end_time": NEW_YEAR + number * 1000 + 1500,
    }  # fmt: skip
    store.run(trial_id(number), f"trial-{number:04d}", **{**values, **more})


@pytest.fixture
def study(rows: OpenRows) -> None:
    with rows() as store:
        tags = {
            "agentnn.role": "study", "agentnn.study.objective": "min val_loss", "agentnn.study.best_trial": "4",
            "agentnn.study.best_params": json.dumps({"learning_rate": 1e-4, "dropout": 0.2}),
        }  # fmt: skip
        store.run(ADA, "search", tags=tags, metrics={"best_val_loss": 0.2})
        for number in reversed(range(10)):
            put_trial(store, number)


def block(report: Report, kind: type) -> Any:
    return next(one for one in report.blocks() if isinstance(one, kind))


def chart(report: Report, id: str) -> Any:
    return next(one for one in report.blocks() if getattr(one, "id", None) == id)


def missing(report: Report) -> dict[str, str]:
    return {one.what: one.why for one in report.blocks() if isinstance(one, Missing)}


@pytest.mark.usefixtures("study")
class TestStudy:
    def test_the_best_trial_and_its_margin_are_said_first(self, reporter: ExperimentReporter):
        report = reporter.build_hpo_report("search")
        assert report.outcome == (
            "Trial 4 is best: val_loss 0.2, 0.05 ahead of trial 7. 10 trials: 8 complete, 1 pruned, 1 failed."
        )
        figure = block(report, Figures).items[0]
        assert (figure.value, figure.direction, figure.is_better) == (0.2, "min", True)
        assert figure.delta == pytest.approx(-0.05)
        assert figure.note == "trial 4, the smallest of 7"
        assert {fact.name: fact.value for fact in report.about}["Judged by"] == "min val_loss (the study says so)"
        assert report.table("best-params").rows == (("dropout", "0.2"), ("learning_rate", "0.0001"))

    def test_every_trial_is_in_the_table_by_its_number(self, reporter: ExperimentReporter):
        report = reporter.build_hpo_report(ADA)
        table = report.table("trials")
        assert table.column("number") == list(range(10))
        assert table.column("state") == list(STATES)
        assert table.column("value") == [0.9, 0.5, 0.8, 0.7, 0.2, None, 0.3, 0.25, "NaN", 0.4]
        assert table.column("params.learning_rate") == [10.0 ** -(one % 5) for one in range(10)]
        assert table.column("metrics.sharpe_ratio") == [one / 10 for one in range(10)]
        client = MlflowClient(reporter.settings.tracking_uri)
        for run_id, value in zip(table.column("run_id"), table.column("value"), strict=True):
            assert value in (client.get_run(str(run_id)).data.metrics.get("val_loss"), "NaN")
        assert "params.optimizer" not in {column.key for column in table.columns}
        assert [(mark.row, mark.kind) for mark in table.marks] == [(5, "wrong"), (4, "best")]

    def test_the_history_keeps_the_best_so_far(self, reporter: ExperimentReporter):
        found = chart(reporter.build_hpo_report(ADA), "optimisation")
        lines = {one.name: one.y for one in found.series}
        assert lines["best so far"] == (0.9, 0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2)
        assert lines["complete trials"] == (0.9, 0.5, None, 0.7, 0.2, None, 0.3, 0.25, None, 0.4)
        assert lines["pruned trials, their last value"] == (*[None] * 2, 0.8, *[None] * 7)
        assert "reached by trial 4 of 10" in found.summary

    def test_curves_within_the_trials_show_the_best_and_the_pruned(self, reporter: ExperimentReporter):
        found = chart(reporter.build_hpo_report(ADA), "intermediate")
        assert [one.name for one in found.series if one.is_main] == ["trial 4"]
        assert [one.name for one in found.series if one.style == "dash"] == ["trial 2 (pruned)"]
        assert len(found.series) == 9
        assert found.note == "1 trial without such a curve"

    def test_parallel_slices_and_timeline_name_columns_of_the_table(self, reporter: ExperimentReporter):
        report = reporter.build_hpo_report(ADA)
        keys = {column.key for column in report.table("trials").columns}
        lines, slices, times = block(report, ParallelChart), block(report, ScatterChart), block(report, TimelineChart)
        assert lines.columns == ("params.dropout", "params.learning_rate")
        assert set(lines.columns) | {lines.colour} <= keys
        assert lines.log_columns == ("params.learning_rate",)
        assert slices.panels == lines.columns
        assert slices.main_row == 4
        assert len(times.spans) == 10
        assert times.spans[5].state == "failed"
        assert times.summary == "10 trials, at most 2 at once."

    def test_two_numeric_params_make_a_contour_without_any_importance(self, reporter: ExperimentReporter):
        found = block(reporter.build_hpo_report(ADA), ContourChart)
        assert (found.x, found.y, found.value) == ("params.dropout", "params.learning_rate", "value")
        assert missing(reporter.build_hpo_report(ADA))["importance of the params"] == "the study logged none"

    def test_pruned_and_failed_trials_say_why(self, reporter: ExperimentReporter):
        table = reporter.build_hpo_report(ADA).table("failures")
        assert [row[:5] for row in table.rows] == [(2, "pruned", 0.8, 1.5, None), (5, "failed", None, 1.5, "diverged")]
        figures = next(
            one
            for one in reporter.build_hpo_report(ADA).blocks()
            if isinstance(one, Figures) and one.items[0].name == "pruned"
        )
        assert [item.value for item in figures.items] == [1, 1, pytest.approx(0.2)]

    def test_another_metric_may_be_asked_for(self, reporter: ExperimentReporter):
        report = reporter.build_hpo_report(ADA, metric="sharpe_ratio")
        assert report.outcome.startswith("Trial 9 is best: sharpe_ratio 0.9, 0.1 ahead of trial 8.")
        assert report.source.metric == "sharpe_ratio"
        assert reporter.build_hpo_report(ADA, metric="sharpe_ratio:min").outcome.startswith("Trial 0 is best")
        with pytest.raises(NotFoundError, match="no trial has a metric 'sharp'") as caught:
            reporter.build_hpo_report(ADA, metric="sharp")
        assert caught.value.hint == "did you mean sharpe_ratio?"

    def test_what_the_study_names_as_best_is_checked(self, reporter: ExperimentReporter):
        MlflowClient(reporter.settings.tracking_uri).set_tag(ADA, "agentnn.study.best_trial", "7")
        texts = [one.text for one in reporter.build_hpo_report(ADA).blocks() if isinstance(one, Text)]
        assert texts == ["The study itself names trial 7 as its best; by the values in the store it is 4."]

    def test_a_trial_that_was_repeated_is_left_out(self, reporter: ExperimentReporter, rows: OpenRows):
        with rows() as store:
            store.run(
                "9" * 32, "trial-0005", status="FAILED",
                tags={"mlflow.parentRunId": ADA, "agentnn.trial.number": "5", "agentnn.trial.retried_as": "6"},
            )  # fmt: skip
        report = reporter.build_hpo_report(ADA)
        assert len(report.table("trials").rows) == 10
        assert {fact.name: fact.value for fact in report.about}["Earlier attempts left out"] == 1

    def test_of_two_attempts_at_a_trial_the_complete_one_counts(self, reporter: ExperimentReporter, rows: OpenRows):
        with rows() as store:
            tags = {"mlflow.parentRunId": ADA, "agentnn.trial.number": "4"}
            store.run("9" * 32, "trial-0004", status="FAILED", tags=tags, start_time=NEW_YEAR + 90_000)
        report = reporter.build_hpo_report(ADA)
        assert report.table("trials").column("run_id")[4] == trial_id(4)

    def test_deleted_trials_are_left_out_and_counted(self, reporter: ExperimentReporter):
        MlflowClient(reporter.settings.tracking_uri).delete_run(trial_id(4))
        report = reporter.build_hpo_report(ADA)
        assert report.outcome.startswith("Trial 7 is best")
        assert {fact.name: fact.value for fact in report.about}["Deleted trials left out"] == 1


class TestWhatAStudyLogs:
    @pytest.fixture
    def folder(self, study: None, database: Path, tmp_path: Path) -> Path:
        folder = artifacts_of_ada(database, tmp_path / "artifacts") / "study"
        folder.mkdir(parents=True)
        return folder

    @pytest.mark.parametrize(
        "told",
        [
            {"params": [{"param": "dropout", "importance": 0.7}, {"param": "learning_rate", "importance": 0.3}]},
            {"learning_rate": 0.3, "dropout": 0.7},
            {"importances": {"learning_rate": 0.3, "dropout": 0.7}},
            {"features": [{"feature": "dropout", "mean": 0.7, "std": 0.1}, {"name": "learning_rate", "value": 0.3}]},
        ],
    )  # fmt: skip
    def test_importance_is_read_in_any_shape_and_orders_the_charts(
        self, folder: Path, reporter: ExperimentReporter, told: dict[str, Any]
    ):
        (folder / "importance.json").write_text(json.dumps(told))
        report = reporter.build_hpo_report(ADA)
        bars = block(report, BarChart)
        assert (bars.labels, bars.values) == (("dropout", "learning_rate"), (0.7, 0.3))
        assert block(report, ParallelChart).columns == ("params.dropout", "params.learning_rate")

    def test_without_the_file_the_metrics_tell(self, folder: Path, reporter: ExperimentReporter):
        client = MlflowClient(reporter.settings.tracking_uri)
        client.log_metric(ADA, "importance_dropout", 0.9)
        client.log_metric(ADA, "importance_learning_rate", 0.1)
        assert block(reporter.build_hpo_report(ADA), BarChart).labels == ("dropout", "learning_rate")

    def test_why_there_is_no_importance(self, folder: Path, reporter: ExperimentReporter):
        (folder / "importance.json").write_text('{"params": [], "reason": "two trials are too few"}')
        assert missing(reporter.build_hpo_report(ADA))["importance of the params"] == "two trials are too few"

    def test_the_deflated_sharpe_ratio_and_the_test_part(self, folder: Path, reporter: ExperimentReporter):
        (folder / "best_config.yaml").write_text("model:\n  family: lstm\n")
        client = MlflowClient(reporter.settings.tracking_uri)
        for name, value in {
            "deflated_sharpe_ratio": 0.62,
            "probabilistic_sharpe_ratio": 0.97,
            "best_test_sharpe_ratio": 0.4,
        }.items():
            client.log_metric(ADA, name, value)
        report = reporter.build_hpo_report(ADA)
        luck = next(section for section in report.sections if section.anchor == "luck")
        assert {item.name: item.value for item in luck.blocks[0].items} == {  # type: ignore[union-attr]
            "deflated_sharpe_ratio": 0.62, "probabilistic_sharpe_ratio": 0.97,
        }  # fmt: skip
        unseen = next(one for one in report.blocks() if isinstance(one, Figures) and "no trial saw" in one.title)
        assert (unseen.items[0].name, unseen.items[0].value, unseen.items[0].direction) == (
            "best_test_sharpe_ratio",
            0.4,
            "max",
        )
        assert any(isinstance(one, Text) and "family: lstm" in one.text for one in report.blocks())


class TestOtherShapes:
    def test_plain_nested_runs_of_mlflow(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            store.run(ADA, "parent")
            for place, lr in enumerate(("0.1", "0.01", "1e-3")):
                store.run(
                    trial_id(place), f"child-{place}", params={"lr": lr, "same": "1"},
                    metrics={"rmse": 1.0 - place / 10}, tags={"mlflow.parentRunId": ADA},
                    start_time=NEW_YEAR + 100 - place,
                )  # fmt: skip
        report = reporter.build_hpo_report(ADA)
        assert report.table("trials").column("run_id") == [trial_id(2), trial_id(1), trial_id(0)]
        assert report.outcome == "Trial 0 is best: rmse 0.8, 0.1 ahead of trial 1. 3 trials: 3 complete."
        assert "the study does not say; most trials have it" in str(report.about)

    def test_a_metric_that_nobody_knows_counts_by_its_greatest_value_and_says_so(
        self, rows: OpenRows, reporter: ExperimentReporter
    ):
        with rows() as store:
            store.run(ADA, "parent")
            for place in range(2):
                store.run(trial_id(place), "c", metrics={"odd": float(place)}, tags={"mlflow.parentRunId": ADA})
        report = reporter.build_hpo_report(ADA)
        assert report.outcome.startswith("Trial 1 is best: odd 1")
        assert "nor the project says what is better: the greatest counts" in str(report.about)

    def test_optunas_callback(self, rows: OpenRows, reporter: ExperimentReporter):
        """The tags are those of ``optuna_integration.MLflowCallback`` with ``nested=True``."""
        with rows() as store:
            store.run(ADA, "parent")
            for number, (state, value) in enumerate(
                (("COMPLETE", 3.0), ("PRUNED", None), ("FAIL", None), ("COMPLETE", 5.0))
            ):
                store.run(
                    trial_id(9 - number), str(number), params={"x": str(number)},
                    metrics={"value": value} if value is not None else {},
                    tags={"mlflow.parentRunId": ADA, "number": str(number), "state": state, "direction": "MAXIMIZE",
                          "x_distribution": "FloatDistribution(high=10.0)"},
                )  # fmt: skip
        report = reporter.build_hpo_report(ADA)
        assert report.table("trials").column("state") == ["complete", "pruned", "failed", "complete"]
        assert report.outcome.startswith("Trial 3 is best: value 5, 2 ahead of trial 0.")
        assert "Optuna's tags say so" in str(report.about)

    def test_optunas_storage_in_mlflow(self, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """The real one: MLflow's own storage of Optuna."""
        import optuna
        from mlflow.optuna.storage import MlflowStorage

        from agentnn.sdk.reporting import ExperimentReporter

        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = MlflowStorage(experiment_id="0", batch_flush_interval=0.05)

        def objective(trial: optuna.Trial) -> float:
            x = trial.suggest_float("x", -5, 5)
            trial.report(x * x, 1)
            if trial.number == 2:
                raise optuna.TrialPruned
            return x * x

        study = optuna.create_study(
            storage=storage, study_name="parabola", sampler=optuna.samplers.RandomSampler(seed=1), direction="minimize"
        )
        study.optimize(objective, n_trials=5)
        storage.flush_all_batches()
        report = ExperimentReporter(uri).build_hpo_report("parabola")
        table = report.table("trials")
        assert sorted(table.column("state")) == ["complete"] * 4 + ["pruned"]
        assert (
            min(
                value
                for value, state in zip(table.column("value"), table.column("state"), strict=True)
                if state == "complete"
            )
            == study.best_value
        )
        assert report.outcome.startswith(f"Trial {study.best_trial.number} is best: value {study.best_value:.4g}")

    def test_several_objectives(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            store.run(ADA, "parent", tags={"agentnn.study.objective": "min val_loss, max sharpe_ratio"})
            for number, (loss, sharpe) in enumerate(((0.3, 1.0), (0.2, 0.5), (0.4, 0.9), (0.5, 2.0))):
                store.run(
                    trial_id(number), "t", metrics={"val_loss": loss, "sharpe_ratio": sharpe},
                    params={"lr": str(number)}, tags={"mlflow.parentRunId": ADA, "agentnn.trial.number": str(number)},
                )  # fmt: skip
        report = reporter.build_hpo_report(ADA)
        assert report.outcome.startswith("Trial 1 is best: val_loss 0.2")
        assert report.table("front").column("number") == [0, 1, 3]
        found = chart(report, "pareto")
        assert (found.x, found.y) == ("value.1", "value")
        assert report.table("trials").column("value.1") == [1.0, 0.5, 0.9, 2.0]

    @pytest.mark.parametrize(
        ("metrics", "outcome"),
        [({}, "No trial has a metric. 2 trials: 2 complete."),
         ({"val_loss": math.nan}, "No complete trial has a finite val_loss. 2 trials: 2 complete.")],
    )  # fmt: skip
    def test_trials_without_a_value(
        self, rows: OpenRows, reporter: ExperimentReporter, metrics: dict[str, float], outcome: str
    ):
        with rows() as store:
            store.run(ADA, "parent")
            for place in range(2):
                store.run(trial_id(place), "t", metrics=metrics, tags={"mlflow.parentRunId": ADA})
        report = reporter.build_hpo_report(ADA)
        assert report.outcome == outcome
        assert report.state == "bad"
        assert {"the best trial", "optimisation history", "parallel coordinates", "contour"} <= missing(report).keys()

    def test_a_running_study_says_so(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            store.run(ADA, "parent", status="RUNNING", end_time=None)
            tags = {"mlflow.parentRunId": ADA}
            store.run(trial_id(0), "t", metrics={"val_loss": 1.0}, tags=tags)
            store.run(trial_id(1), "t", status="RUNNING", end_time=None, tags=tags, start_time=NEW_YEAR + 9)
        report = reporter.build_hpo_report(ADA)
        assert report.outcome == (
            "Trial 0 is best: val_loss 1. 2 trials: 1 complete, 1 running. The study is still running."
        )
        assert block(report, TimelineChart).spans[1].end is None

    def test_a_run_without_trials_is_no_study(self, rows: OpenRows, reporter: ExperimentReporter):
        with rows() as store:
            store.run(ADA, "ada")
        with pytest.raises(NotFoundError, match="has no trials") as caught:
            reporter.build_hpo_report(ADA)
        assert caught.value.hint == f"for a single run: agentnn report training {ADA}"
