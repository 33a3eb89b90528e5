"""A report that is checked against its store: agrees, differs, gone, damaged."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import ADA, BOB, NEW_YEAR, execute
from mlflow import MlflowClient

from agentnn.errors import CorruptDataError, NotFoundError, UsageError
from agentnn.reporting.json_form import from_json, sealed, to_json
from agentnn.sdk.reporting import ExperimentReporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.support import Rows


@pytest.fixture
def store(rows: Callable[[], Rows], database: Path) -> Path:
    """Two runs and a study of two trials; the working directory is the store's."""
    with rows() as opened:
        opened.run(ADA, "ada", metrics={"sharpe_ratio": 1.0}, history={"loss": [0.9, 0.5]}, params={"lr": "0.1"})
        opened.run(BOB, "bob", metrics={"sharpe_ratio": 2.0}, history={"loss": [0.8, 0.4]}, params={"lr": "0.2"})
        for place in range(2):
            opened.run(
                f"{place}" * 32, f"trial-{place}", metrics={"val_loss": 1.0 + place}, params={"lr": str(place)},
                tags={"mlflow.parentRunId": ADA}, start_time=NEW_YEAR + place,
            )  # fmt: skip
    return database


def make(reporter: ExperimentReporter, kind: str, file: str) -> Path:
    if kind == "training":
        return reporter.generate_training_report(ADA, file)
    if kind == "hpo":
        return reporter.generate_hpo_report(ADA, file, metric="val_loss:min")
    return reporter.generate_model_comparison_report([ADA, BOB], file, baseline=BOB)


@pytest.mark.usefixtures("store")
class TestAgreement:
    @pytest.mark.parametrize("kind", ["training", "hpo", "compare"])
    @pytest.mark.parametrize("suffix", ["html", "json"])
    def test_a_fresh_report_agrees(self, reporter: ExperimentReporter, kind: str, suffix: str):
        file = make(reporter, kind, f"report.{suffix}")
        found = reporter.verify_report(file)
        assert found.agrees
        assert found.differences == ()
        assert found.facts > 15
        assert found.report.source.version

    def test_it_agrees_wherever_it_is_checked_from(
        self, reporter: ExperimentReporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        (tmp_path / "agentnn.toml").write_text('[metrics]\nsharpe_ratio = "min"\n')
        file = make(reporter, "compare", "report.json").absolute()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "agentnn.toml").write_text('[metrics]\nsharpe_ratio = { direction = "max", unit = "x" }\n')
        monkeypatch.chdir(elsewhere)
        other = ExperimentReporter(reporter.settings.tracking_uri)
        assert other.metric_conventions.direction("sharpe_ratio") == "max"
        assert other.verify_report(file).agrees

    def test_what_is_struck_out_may_be_anything(
        self, reporter: ExperimentReporter, store: Path, monkeypatch: pytest.MonkeyPatch
    ):
        MlflowClient(reporter.settings.tracking_uri).set_tag(ADA, "login", "user swordfish-77 here")
        with monkeypatch.context() as patch:
            patch.setenv("DB_PASSWORD", "swordfish-77")
            file = make(ExperimentReporter(f"sqlite:///{store}"), "training", "report.json")
        assert "swordfish-77" not in file.read_text()
        assert ExperimentReporter(f"sqlite:///{store}").verify_report(file).agrees


@pytest.mark.usefixtures("store")
class TestDifference:
    def test_a_changed_value_is_named_with_both_sides(self, reporter: ExperimentReporter, store: Path):
        file = make(reporter, "training", "report.html")
        execute(store, f"UPDATE latest_metrics SET value = 9.5 WHERE run_uuid = '{ADA}' AND key = 'sharpe_ratio'")
        found = reporter.verify_report(file)
        assert not found.agrees
        told = {(one.section, one.what): (one.in_report, one.in_store) for one in found.differences}
        assert told["Key metrics", "sharpe_ratio"] == (1.0, 9.5)
        assert told["Key metrics", "All metrics: sharpe_ratio, Last value"] == (1.0, 9.5)
        assert set(told) <= {
            ("", "outcome"), ("Key metrics", "sharpe_ratio"), ("Key metrics", "All metrics: sharpe_ratio, Last value"),
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (f"UPDATE metrics SET value = 0.7 WHERE run_uuid = '{ADA}' AND step = 0 AND key = 'loss'", "loss: loss"),
            (f"UPDATE params SET value = '0.3' WHERE run_uuid = '{ADA}'", "Configuration: lr, Value"),
            (f"UPDATE runs SET status = 'FAILED' WHERE run_uuid = '{ADA}'", "Status"),
            (f"INSERT INTO tags (run_uuid, key, value) VALUES ('{ADA}', 'team', 'quant')", "Tags: team, Value"),
            (f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = '{ADA}'", "Status"),
        ],
    )
    def test_any_change_of_the_run_is_seen(self, reporter: ExperimentReporter, store: Path, change: str, what: str):
        file = make(reporter, "training", "report.json")
        execute(store, change)
        assert what in {one.what for one in reporter.verify_report(file).differences}

    def test_a_new_trial_is_seen(self, reporter: ExperimentReporter, rows: Callable[[], Rows]):
        file = make(reporter, "hpo", "report.json")
        with rows() as opened:
            tags = {"mlflow.parentRunId": ADA}
            opened.run("2" * 32, "trial-2", metrics={"val_loss": 0.5}, tags=tags, start_time=NEW_YEAR + 9)
        differences = {one.what: (one.in_report, one.in_store) for one in reporter.verify_report(file).differences}
        assert differences["Trials"] == (2, 3)
        assert differences["Trials: 2, val_loss"] == (None, 0.5)


@pytest.mark.usefixtures("store")
class TestGone:
    def test_a_run_that_is_gone_is_named(self, reporter: ExperimentReporter, store: Path):
        file = make(reporter, "compare", "report.html")
        execute(store, f"DELETE FROM runs WHERE run_uuid = '{BOB}'")
        with pytest.raises(NotFoundError, match=f"1 of 2 runs of the report are not in this store: {BOB}") as caught:
            reporter.verify_report(file)
        assert "sqlite:///" in caught.value.hint

    def test_a_file_that_is_not_there(self, reporter: ExperimentReporter):
        with pytest.raises(NotFoundError, match=r"there is no file nothing\.html"):
            reporter.verify_report("nothing.html")


@pytest.mark.usefixtures("store")
class TestDamage:
    def change(self, file: Path, change: Callable[[str], str]) -> None:
        file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text.replace('"sharpe_ratio","value":1.0', '"sharpe_ratio","value":7.0'),
            lambda text: text.replace('"format":1', '"format":"x"'),
            lambda text: re.sub(r'(id="agentnn-report">.{100})', r"\1###", text),
            lambda text: text[: len(text) - text[::-1].index('>"troper-nntnega"=di') + 400],
            lambda text: text + '<script type="application/json" id="agentnn-report">{}</script>',
        ],
        ids=["a forged value", "a wrong type", "no JSON", "cut off", "two of them"],
    )
    def test_a_page_whose_data_were_changed(self, reporter: ExperimentReporter, change: Callable[[str], str]):
        file = make(reporter, "training", "report.html")
        before = file.read_text(encoding="utf-8")
        self.change(file, change)
        assert file.read_text(encoding="utf-8") != before
        with pytest.raises(CorruptDataError):
            reporter.verify_report(file)

    def test_a_file_of_another_encoding(self, reporter: ExperimentReporter, tmp_path: Path):
        (tmp_path / "report.html").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(CorruptDataError):
            reporter.verify_report(tmp_path / "report.html")

    def test_markdown_and_other_files_hold_no_data(self, reporter: ExperimentReporter, tmp_path: Path):
        make(reporter, "training", "report.md")
        (tmp_path / "other.html").write_text("<p>hello</p>")
        for name in ("report.md", "other.html"):
            with pytest.raises(UsageError, match="holds no data of a report"):
                reporter.verify_report(tmp_path / name)

    def test_what_a_forger_sealed_anew_is_compared_with_the_store(self, reporter: ExperimentReporter):
        """The seal keeps accidents out; the truth is the store's."""
        file = make(reporter, "training", "report.json")
        told: dict[str, Any] = json.loads(file.read_text())
        told["sections"][0]["blocks"][0]["items"][0]["value"] = 7.0
        file.write_text(to_json(sealed(from_json(json.dumps(told)), told["source"]["version"])))
        (difference,) = reporter.verify_report(file).differences
        assert (difference.what, difference.in_report, difference.in_store) == ("sharpe_ratio", 7.0, 1.0)
