"""Reports as files: where they go, what they replace, and from which stores they come."""

from __future__ import annotations

import json
import os
import stat
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import ADA, BOB
from mlflow import MlflowClient
from reporting.examples import HOSTILE

from agentnn import ModelManager
from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable, UsageError
from agentnn.reporting.json_form import from_json, to_json
from agentnn.sdk.reporting import ExperimentReporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.support import Rows


@pytest.fixture(autouse=True)
def store(rows: Callable[[], Rows]) -> None:
    """Two runs in the store of the working directory."""
    with rows() as opened:
        opened.run(ADA, "ada / best?", history={"loss": [0.9, 0.5]}, params={"lr": "0.1"})
        opened.run(BOB, "bob", history={"loss": [0.8, 0.4]}, params={"lr": "0.2"})


def test_the_format_is_that_of_the_suffix(reporter: ExperimentReporter):
    page = reporter.generate_training_report(ADA, "out/deep/report.html")
    assert page == Path("out/deep/report.html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    markdown = reporter.generate_training_report(ADA, Path("report.md")).read_text(encoding="utf-8")
    assert markdown.startswith("<!-- agentnn report -->\n## ")
    told = reporter.generate_training_report(ADA, "report.json").read_text(encoding="utf-8")
    assert from_json(told) == reporter.build_training_report(ADA)
    assert reporter.generate_training_report(ADA, "report.txt", format="json").read_text(encoding="utf-8") == told


def test_without_a_path_it_goes_to_reports_under_a_name_that_stays(reporter: ExperimentReporter):
    assert reporter.generate_training_report(ADA) == Path("reports/training-ada-best-aaaa0000.html")
    assert reporter.generate_training_report("bob", format="md") == Path("reports/training-bob-bbbb0000.md")
    first = reporter.generate_model_comparison_report([ADA, BOB], format="json")
    assert first == reporter.generate_model_comparison_report(["bob", ADA][::-1], format="json")
    assert first != reporter.generate_model_comparison_report([ADA, BOB], format="json", baseline=BOB)
    assert first.name.startswith("comparison-2-runs-")
    assert sorted(Path("reports").iterdir()) == sorted(Path("reports").glob("*-*.*"))


def test_a_folder_gets_a_file_of_that_name(reporter: ExperimentReporter, tmp_path: Path):
    assert reporter.generate_training_report(BOB, tmp_path, format="md") == tmp_path / "training-bob-bbbb0000.md"


@pytest.mark.parametrize("format", ["html", "md", "json"])
def test_a_report_is_replaced_and_any_other_file_is_not(reporter: ExperimentReporter, format: Any, tmp_path: Path):
    file = reporter.generate_training_report(ADA, tmp_path / f"report.{format}")
    before = file.read_bytes()
    reporter.generate_training_report(BOB, file)
    assert file.read_bytes() != before
    file.write_text("my own words")
    with pytest.raises(ConflictError, match="is no report"):
        reporter.generate_training_report(ADA, file)
    assert file.read_text() == "my own words"
    assert reporter.generate_training_report(ADA, file, force=True).read_bytes() == before


def test_the_same_runs_give_the_same_bytes(reporter: ExperimentReporter):
    first, second = (reporter.generate_training_report(ADA, f"{name}.html").read_bytes() for name in "ab")
    assert first == second


def test_a_file_is_written_whole_or_not_at_all(
    reporter: ExperimentReporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = reporter.generate_training_report(ADA, tmp_path / "report.md")
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match=r"report\.md can't be written: No space left on device"):
        reporter.generate_training_report(BOB, file)
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "mlflow.db"}


def test_the_file_has_the_rights_of_any_new_file(reporter: ExperimentReporter):
    before = os.umask(0o027)
    try:
        file = reporter.generate_training_report(ADA, "report.md")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_place_that_can_not_be_written_is_said(reporter: ExperimentReporter, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable, match="can't be written"):
        reporter.generate_training_report(ADA, tmp_path / "file" / "report.html")


@pytest.mark.parametrize(
    ("path", "more", "message"),
    [
        ("report.txt", {}, "can't be told by its name"),
        ("report", {}, "can't be told by its name"),
        ("report.html", {"format": "pdf"}, "no format 'pdf'"),
        ("report.html", {"assets": "mine"}, "assets is 'mine'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    reporter: ExperimentReporter, path: str, more: dict[str, Any], message: str
):
    with pytest.raises(UsageError, match=message):
        reporter.generate_training_report(ADA, path, **more)
    assert not Path(path).exists()


def test_a_run_that_is_not_there_writes_nothing(reporter: ExperimentReporter):
    with pytest.raises(NotFoundError):
        reporter.generate_training_report("f" * 32, "report.html")
    assert not Path("report.html").exists()


def test_shared_assets_lie_beside_the_page_once(reporter: ExperimentReporter, tmp_path: Path):
    for name in ("one", "two"):
        page = reporter.generate_training_report(ADA, tmp_path / "out" / f"{name}.html", assets="shared")
        assert page.stat().st_size < 400_000
    beside = {path.name for path in (tmp_path / "out").iterdir()} - {"one.html", "two.html"}
    assert beside
    assert all(name in (tmp_path / "out" / "one.html").read_text(encoding="utf-8") for name in beside)


def test_a_reporter_on_a_manager_reads_its_store(reporter: ExperimentReporter):
    manager = ModelManager(reporter.settings.tracking_uri)
    assert to_json(ExperimentReporter.on(manager).build_training_report(ADA)) == to_json(
        reporter.build_training_report(ADA)
    )


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_that_would_be_markup_stay_names(rows: Callable[[], Rows], reporter: ExperimentReporter, hostile: str):
    with rows() as opened:
        for run_id, parent in (("1" * 32, None), ("2" * 32, "1" * 32), ("3" * 32, "1" * 32)):
            opened.run(
                run_id, hostile, history={hostile: [1.0, float(run_id[0])]}, params={hostile: hostile + run_id[0]},
                tags={hostile: hostile, "mlflow.note.content": hostile, "agentnn.end_reason": hostile,
                      **({"mlflow.parentRunId": parent} if parent else {})},
                user_id=hostile, status="FAILED" if run_id[0] == "3" else "FINISHED",
            )  # fmt: skip
    for report in (
        reporter.generate_training_report("1" * 32, "1.html", assets="shared"),
        reporter.generate_hpo_report("1" * 32, "2.html", assets="shared"),
        reporter.generate_model_comparison_report(["2" * 32, "3" * 32], "3.html", assets="shared"),
    ):
        page = report.read_text(encoding="utf-8")
        elements = Elements()
        elements.feed(page)
        assert {"img", "b"}.isdisjoint(elements.names)
        assert not [name for name in elements.attributes if name.startswith("on")]
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert reporter.verify_report(report).agrees


class Elements(HTMLParser):
    """The names of the elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


class TestStores:
    """One theme on each kind of store; the details are tested on SQLite."""

    def fill(self, uri: str) -> tuple[str, list[str]]:
        """A study of three trials, through MLflow's own client; the parent and its trials."""
        client = MlflowClient(uri)
        experiment = client.create_experiment("kinds")
        parent = client.create_run(experiment, run_name="parent").info.run_id
        trials = []
        for number in range(3):
            run = client.create_run(experiment, run_name=f"trial-{number}", tags={"mlflow.parentRunId": parent})
            client.log_param(run.info.run_id, "lr", str(10.0**-number))
            for step in range(4):
                client.log_metric(run.info.run_id, "val_loss", 1 / (step + 1) + number, step=step)
            client.log_text(run.info.run_id, "actual,predicted\n1,1.5\n2,2.5\n", "predictions/predictions.csv")
            client.set_terminated(run.info.run_id)
            trials.append(run.info.run_id)
        client.set_terminated(parent)
        return parent, trials

    @pytest.mark.parametrize("kind", ["sqlite", "mlruns", pytest.param("server", marks=pytest.mark.slow)])
    def test_all_three_reports(self, make_store: Callable[[str], str], kind: str, tmp_path: Path):
        uri = make_store(kind)
        parent, trials = self.fill(uri)
        reporter = ExperimentReporter(uri)
        training = reporter.build_training_report(trials[0])
        assert training.outcome.endswith("val_loss 0.25.")
        assert training.table("predictions-0-0").column("error") == [0.5, 0.5]
        study = reporter.build_hpo_report(parent)
        assert study.outcome.startswith("Trial 0 is best: val_loss 0.25, 1 ahead of trial 1.")
        comparison = reporter.build_model_comparison_report([*trials, parent])
        assert comparison.table("runs").column("metrics.val_loss") == [0.25, 1.25, 2.25, None]
        file = reporter.generate_model_comparison_report(trials, tmp_path / "report.html")
        assert reporter.verify_report(file).agrees
        MlflowClient(uri).log_metric(trials[1], "val_loss", 9.0, step=9)
        assert "All runs: trial-1, val_loss" in {one.what for one in reporter.verify_report(file).differences}
        assert json.loads(to_json(training))["source"]["runs"] == [trials[0]]

    @pytest.mark.slow
    def test_many_runs_of_a_server_are_asked_for_together(self, make_store: Callable[[str], str]):
        uri = make_store("server")
        client = MlflowClient(uri)
        runs = [client.create_run("0", run_name=f"run-{place}").info.run_id for place in range(60)]
        reporter = ExperimentReporter(uri)
        report = reporter.build_model_comparison_report(runs)
        assert report.table("runs").column("run_id") == runs
        with pytest.raises(NotFoundError):
            reporter.build_model_comparison_report([*runs, "f" * 32])
