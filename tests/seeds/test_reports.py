"""The reporting examples of the experiment management guide, with only the import prefix changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from agentnn.sdk.reporting import ExperimentReporter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def mlruns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """A real ``mlruns`` directory in the working directory, which MLflow itself has written."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        yield MlflowClient(str(tmp_path / "mlruns"))


def fill(client: MlflowClient) -> tuple[str, list[str]]:
    """A study of three trials; its run, and theirs."""
    experiment = client.create_experiment("HPO_Study_NN_Model")
    parent = client.create_run(experiment, run_name="HPO").info.run_id
    trials = []
    for number in range(3):
        run = client.create_run(experiment, run_name=f"Trial_{number}", tags={"mlflow.parentRunId": parent})
        client.log_param(run.info.run_id, "learning_rate", 0.001 * (number + 1))
        for step in range(5):
            client.log_metric(run.info.run_id, "val_loss", 1 / (step + 1) + number, step=step)
        client.set_terminated(run.info.run_id)
        trials.append(run.info.run_id)
    client.set_terminated(parent)
    return parent, trials


def reports() -> dict[str, str]:
    """What lies in ``reports/``, by its name."""
    return {path.name: path.read_text(encoding="utf-8") for path in Path("reports").iterdir()}


def test_the_example_of_the_reporter(mlruns: MlflowClient):
    your_hpo_parent_run_id, (your_training_run_id, run_id_2, run_id_3) = fill(mlruns)

    # Initialize the reporter
    reporter = ExperimentReporter(mlflow_tracking_uri="mlruns")

    # Generate a training report for a specific run ID
    reporter.generate_training_report(run_id=your_training_run_id, output_path="reports/training_summary.html")

    # Generate an HPO study report for a parent run ID
    reporter.generate_hpo_report(parent_run_id=your_hpo_parent_run_id, output_path="reports/hpo_study_summary.html")

    # Generate a model comparison report for multiple run IDs
    reporter.generate_model_comparison_report(
        run_ids=[your_training_run_id, run_id_2, run_id_3], output_path="reports/model_comparison.html"
    )

    made = reports()
    assert sorted(made) == ["hpo_study_summary.html", "model_comparison.html", "training_summary.html"]
    assert all(page.startswith("<!doctype html>") and "val_loss" in page for page in made.values())
    assert reporter.verify_report("reports/model_comparison.html").agrees


def test_the_example_of_a_main_whose_run_ids_nobody_has_replaced(
    mlruns: MlflowClient, capsys: pytest.CaptureFixture[str]
):
    mlruns.create_experiment("something")

    def main():
        reporter = ExperimentReporter(mlflow_tracking_uri="mlruns")

        # Example: Generate a training report
        # Replace 'your_training_run_id' with an actual MLflow run ID
        try:
            reporter.generate_training_report(
                run_id="your_training_run_id", output_path="reports/training_report_example.html"
            )
            print("Training report generated successfully.")
        except Exception as e:  # noqa: BLE001 - as the guide has it
            print(f"Could not generate training report: {e}")

        # Example: Generate an HPO report
        # Replace 'your_hpo_parent_run_id' with an actual MLflow parent run ID for an HPO study
        try:
            reporter.generate_hpo_report(
                parent_run_id="your_hpo_parent_run_id", output_path="reports/hpo_report_example.html"
            )
            print("HPO report generated successfully.")
        except Exception as e:  # noqa: BLE001 - as the guide has it
            print(f"Could not generate HPO report: {e}")

        # Example: Generate a model comparison report
        # Replace with actual MLflow run IDs you want to compare
        try:
            reporter.generate_model_comparison_report(
                run_ids=["run_id_1", "run_id_2", "run_id_3"], output_path="reports/model_comparison_example.html"
            )
            print("Model comparison report generated successfully.")
        except Exception as e:  # noqa: BLE001 - as the guide has it
            print(f"Could not generate model comparison report: {e}")

    main()
    assert capsys.readouterr().out.splitlines() == [
        "Could not generate training report: there is no run 'your_training_run_id'",
        "Could not generate HPO report: there is no run 'your_hpo_parent_run_id'",
        "Could not generate model comparison report: there is no run 'run_id_1'",
    ]
    assert not Path("reports").exists()


def test_the_same_on_a_database(store: MlflowClient, uri: str):
    parent, trials = fill(store)
    reporter = ExperimentReporter(mlflow_tracking_uri=uri)
    assert reporter.generate_training_report(trials[0], "reports/a.html") == Path("reports/a.html")
    reporter.generate_hpo_report(parent, "reports/b.html")
    reporter.generate_model_comparison_report(trials, "reports/c.html")
    assert all("val_loss" in page for page in reports().values())
    assert sorted(reports()) == ["a.html", "b.html", "c.html"]
