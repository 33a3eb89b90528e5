"""Naming one run, experiment or model: every selector that docs and help promise."""

from __future__ import annotations

import math
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from generated_stores import NOON, ExperimentSpec, RunSpec, StoreSpec, points, run_id, write_store

from agentnn.errors import AgentNNWarning, NotFoundError, UsageError
from agentnn.query.runs import RunQuery
from agentnn.query.selectors import (
    ModelUri,
    find_model_version,
    find_run,
    nearest,
    not_found,
    parse_best,
    parse_model_uri,
)
from agentnn.records import ModelVersion, RegisteredModel
from agentnn.sdk.nn_models import ModelManager

if TYPE_CHECKING:
    from pathlib import Path

LSTM = "3f2a" + "0" * 28
GRU = "3f2b" + "0" * 28
TWIN_1, TWIN_2 = "aaaa" + "1" * 28, "aaaa" + "2" * 28
OLD, NEW = "0ld0" + "0" * 28, "e" * 32
DELETED = "deadbeef" + "0" * 24
HIDDEN = "cafe" + "0" * 28
FED, FED_UP = "feed" + "1" * 28, "feed" + "2" * 28

STORE = StoreSpec(
    (
        ExperimentSpec(0, "Default"),
        ExperimentSpec(1, "alpha"),
        ExperimentSpec(2, "0"),
        ExperimentSpec(3, "3f2a"),
        ExperimentSpec(4, "gone", "deleted"),
        ExperimentSpec(12, "été / 夏"),
    ),
    (
        RunSpec(LSTM, 1, "lstm-small", start_time=NOON, metrics={"sharpe_ratio": points(1.5), "val:loss": points(0.5)}),
        RunSpec(GRU, 1, "gru", start_time=NOON + 1, metrics={"sharpe_ratio": points(0.5), "val:loss": points(0.1)}),
        RunSpec(TWIN_1, 1, "twin", start_time=NOON + 2, metrics={"odd:min": points(3.0)}),
        RunSpec(TWIN_2, 0, "twin", start_time=NOON + 3, metrics={"odd:min": points(1.0)}),
        RunSpec(OLD, 0, None, start_time=NOON - 9, tags={"mlflow.runName": "from 2021"}),
        RunSpec(NEW, 0, "🚀 up/down 100%", "RUNNING", start_time=NOON + 9, metrics={"sharpe_ratio": points(9.0)}),
        RunSpec(DELETED, 1, "lstm-small", lifecycle_stage="deleted", start_time=NOON + 99),
        RunSpec(FED, 12, "fed", start_time=NOON - 7),
        RunSpec(FED_UP, 12, "fed up", lifecycle_stage="deleted", start_time=NOON - 7),
        RunSpec(HIDDEN, 4, "hidden", start_time=NOON + 99, metrics={"sharpe_ratio": points(99.0)}),
        RunSpec(run_id(1), 0, LSTM[:6], start_time=NOON - 5, metrics={"only_nan": points(math.nan)}),
    ),
)


@pytest.fixture(scope="module")
def manager(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelManager:
    """A store with the runs above and the model ``alpha``: 1 by lstm (Production), 2 by gru (@champion), 3 by none."""
    from mlflow import MlflowClient

    database = tmp_path_factory.mktemp("selectors") / "mlflow.db"
    shutil.copyfile(template_database, database)
    write_store(database, STORE)
    uri = f"sqlite:///{database}"
    client = MlflowClient(uri, uri)
    client.create_registered_model("alpha")
    client.create_registered_model("empty")
    client.create_model_version("alpha", "/nowhere/1", LSTM)
    client.create_model_version("alpha", "/nowhere/2", GRU)
    client.create_model_version("alpha", "/nowhere/3", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # stages are deprecated, but alive
        client.transition_model_version_stage("alpha", "1", "Production")
    client.set_registered_model_alias("alpha", "champion", "2")
    client.set_registered_model_alias("alpha", "Champion", "1")
    return ModelManager(uri)


def found(manager: ModelManager, selector: str, **arguments: Any) -> str:
    return manager.get_run(selector, **arguments).run_id


def refused(manager: ModelManager, selector: str, **arguments: Any) -> NotFoundError:
    with pytest.raises(NotFoundError) as caught:
        manager.get_run(selector, **arguments)
    assert caught.value.exit_code == 3
    return caught.value


class TestIds:
    def test_a_full_id(self, manager: ModelManager) -> None:
        assert found(manager, LSTM) == LSTM

    @pytest.mark.parametrize("run", [DELETED, HIDDEN])
    def test_a_full_id_is_found_though_the_run_or_its_experiment_is_deleted(
        self, manager: ModelManager, run: str
    ) -> None:
        assert found(manager, run) == run
        assert found(manager, run, experiment="Default") == run

    def test_a_prefix_of_at_least_four_characters_that_is_unique(self, manager: ModelManager) -> None:
        assert found(manager, "3f2b") == GRU
        assert found(manager, GRU[:20]) == GRU

    def test_a_shorter_prefix_is_no_id(self, manager: ModelManager) -> None:
        assert "4 characters" in refused(manager, "eee").hint

    def test_an_ambiguous_prefix_lists_the_candidates(self, manager: ModelManager) -> None:
        error = refused(manager, "aaaa")
        assert error.message == "2 run ids begin with 'aaaa'"
        assert error.candidates == (f"{TWIN_2} (Default)", f"{TWIN_1} (alpha)")
        assert TWIN_1 in error.hint
        assert TWIN_2 in error.hint

    def test_an_experiment_makes_a_prefix_unique(self, manager: ModelManager) -> None:
        assert found(manager, "aaaa", experiment="alpha") == TWIN_1

    def test_a_prefix_finds_a_deleted_run_only_when_no_other_begins_so(self, manager: ModelManager) -> None:
        assert found(manager, "deadbeef") == DELETED
        assert found(manager, "deadbeef", view="deleted") == DELETED
        assert found(manager, "deadbeef", view="all") == DELETED
        assert found(manager, "feed") == FED
        assert len(refused(manager, "feed", view="all").candidates) == 2

    @pytest.mark.parametrize("text", ["3f2%", "____", "%%%%%", "3f2_", "''''", "3f2a' OR '1'='1", "", " "])
    def test_wildcards_and_quotes_in_a_selector_are_plain_text(self, manager: ModelManager, text: str) -> None:
        assert refused(manager, text)


class TestNames:
    @pytest.mark.parametrize(("name", "run"), [("lstm-small", LSTM), ("🚀 up/down 100%", NEW), ("from 2021", OLD)])
    def test_a_name_that_one_run_has(self, manager: ModelManager, name: str, run: str) -> None:
        assert found(manager, name) == run

    def test_a_name_that_two_runs_have_lists_both(self, manager: ModelManager) -> None:
        error = refused(manager, "twin")
        assert error.message == "2 runs are named 'twin'"
        assert error.candidates == (f"{TWIN_2} (Default)", f"{TWIN_1} (alpha)")

    def test_a_name_is_looked_for_in_the_experiment(self, manager: ModelManager) -> None:
        assert found(manager, "twin", experiment="Default") == TWIN_2
        assert refused(manager, "gru", experiment="Default")

    def test_a_name_goes_before_a_prefix(self, manager: ModelManager) -> None:
        assert found(manager, LSTM[:6]) == run_id(1)

    def test_a_name_that_only_a_deleted_run_has_says_so(self, manager: ModelManager) -> None:
        error = refused(manager, "fed up")
        assert (error.message, error.candidates) == ("the run 'fed up' is deleted", (FED_UP,))
        assert error.hint.endswith(f"agentnn run restore {FED_UP}")

    def test_a_deleted_run_does_not_make_a_name_ambiguous(self, manager: ModelManager) -> None:
        assert found(manager, "lstm-small") == LSTM
        assert found(manager, "lstm-small", view="deleted") == DELETED

    def test_a_name_that_is_nearly_right_is_offered(self, manager: ModelManager) -> None:
        error = refused(manager, "lstm-smal")
        assert error.message == "there is no run 'lstm-smal'"
        assert error.candidates[0] == "lstm-small"
        assert error.hint.startswith("did you mean lstm-small")

    def test_many_runs_of_one_name_are_counted_with_a_plus_and_five_are_shown(self, database: Path, uri: str) -> None:
        runs = tuple(RunSpec(run_id(number), name="same") for number in range(9))
        write_store(database, StoreSpec(runs=runs))
        error = refused(ModelManager(uri), "same")
        assert error.message == "6+ runs are named 'same'"
        assert len(error.candidates) == 5
        assert error.hint.endswith("…")


class TestLastAndBest:
    def test_last_is_the_newest_active_run_finished_or_not(self, manager: ModelManager) -> None:
        assert found(manager, "@last") == NEW
        assert found(manager, "@last", experiment="alpha") == TWIN_1

    def test_last_in_an_empty_experiment_is_not_found(self, manager: ModelManager) -> None:
        assert "no runs yet" in refused(manager, "@last", experiment="3f2a").message

    @pytest.mark.parametrize(
        ("selector", "run"),
        [
            ("@best:sharpe_ratio", LSTM),
            ("@best:sharpe_ratio:max", LSTM),
            ("@best:sharpe_ratio:min", GRU),
            ("@best:val:loss:max", LSTM),
            ("@best:val:loss:min", GRU),
            ("@best:odd:min:max", TWIN_1),
            ("@best:odd:min:min", TWIN_2),
        ],
    )
    def test_best_by_a_metric_whose_name_may_hold_colons(self, manager: ModelManager, selector: str, run: str) -> None:
        assert found(manager, selector) == run

    def test_the_greatest_loss_counts_as_best_where_nothing_is_said_and_that_is_told(
        self, manager: ModelManager
    ) -> None:
        with pytest.warns(AgentNNWarning, match="the greatest 'val:loss' counts as the best; say min"):
            assert found(manager, "@best:val:loss") == LSTM

    @pytest.mark.parametrize(
        ("text", "parsed"),
        [
            ("@best:m", ("m", None)), ("@best:m:max", ("m", "max")), ("@best:m:min", ("m", "min")),
            ("@best:a:b", ("a:b", None)), ("@best:a:b:min", ("a:b", "min")), ("@best:min", ("min", None)),
            ("@best:a:min:max", ("a:min", "max")), ("@best:Sharpe ratio/x:min", ("Sharpe ratio/x", "min")),
            ("@best::min", (":min", None)),
        ],
    )  # fmt: skip
    def test_metric_and_mode_are_taken_apart(self, text: str, parsed: tuple[str, str | None]) -> None:
        assert parse_best(text) == parsed

    def test_best_looks_in_the_experiment_only(self, manager: ModelManager) -> None:
        error = refused(manager, "@best:sharpe_ratio", experiment="Default")  # its only run there is still running
        assert error.message == "no run qualifies by 'sharpe_ratio': 1 not finished, 3 without the metric"
        assert "--include-unfinished" in error.hint

    def test_best_by_an_unknown_metric_offers_the_nearest(self, manager: ModelManager) -> None:
        error = refused(manager, "@best:sharp_ratio")
        assert error.message == "no run qualifies: no run has a metric 'sharp_ratio'"
        assert error.candidates[0] == "sharpe_ratio"
        assert "sharpe_ratio" in error.hint

    def test_best_by_a_metric_like_no_other_names_those_there_are(self, manager: ModelManager) -> None:
        error = refused(manager, "@best:qqqq")
        assert error.candidates == ()
        for metric in ("odd:min", "only_nan", "sharpe_ratio", "val:loss"):
            assert metric in error.hint

    def test_best_by_a_metric_that_is_nan_everywhere_says_so(self, manager: ModelManager) -> None:
        assert "1 NaN" in refused(manager, "@best:only_nan").message

    def test_best_where_no_run_has_any_metric_says_so(self, manager: ModelManager) -> None:
        assert "no run here has any metric" in refused(manager, "@best:loss:min", experiment="été / 夏").hint

    def test_best_where_there_is_no_run_says_so(self, manager: ModelManager) -> None:
        assert refused(manager, "@best:loss:min", experiment="3f2a").message == "no run qualifies: no run is there"

    @pytest.mark.parametrize("selector", ["@best:", "@best", "@first", "@", "@latest"])
    def test_an_unknown_at_selector_is_wrong_use(self, manager: ModelManager, selector: str) -> None:
        with pytest.raises(UsageError) as caught:
            manager.get_run(selector)
        assert "@best:" in caught.value.hint


class TestModels:
    @pytest.mark.parametrize(
        ("selector", "run"),
        [
            ("models:/alpha@champion", GRU),
            ("models:/alpha@Champion", LSTM),
            ("models:/alpha/1", LSTM),
            ("models:/alpha/2", GRU),
            ("models:/alpha/Production", LSTM),
            ("models:/alpha/production", LSTM),
        ],
    )
    def test_the_run_behind_a_model_version(self, manager: ModelManager, selector: str, run: str) -> None:
        assert found(manager, selector) == run

    @pytest.mark.parametrize("selector", ["models:/alpha", "models:/alpha/latest", "models:/alpha/3"])
    def test_a_version_without_a_run_says_so(self, manager: ModelManager, selector: str) -> None:
        assert refused(manager, selector).message == "alpha version 3 has no run in this store"

    @pytest.mark.parametrize(
        ("selector", "message"),
        [
            ("models:/alpha@CHAMPION", "the model 'alpha' has no alias 'CHAMPION'"),
            ("models:/alpha/4", "the model 'alpha' has no version '4'"),
            ("models:/alpha/Staging", "the model 'alpha' has no stage 'Staging'"),
            ("models:/empty", "the model 'empty' has no versions"),
            ("models:/alpa/1", "there is no model 'alpa'"),
        ],
    )
    def test_what_is_not_there_is_named(self, manager: ModelManager, selector: str, message: str) -> None:
        assert refused(manager, selector).message == message

    def test_a_model_name_that_is_nearly_right_is_offered(self, manager: ModelManager) -> None:
        assert refused(manager, "models:/alpa/1").candidates[0] == "alpha"

    @pytest.mark.parametrize(
        ("text", "uri"),
        [
            ("models:/a@b", ModelUri("a", "alias", "b")), ("models:/a/3", ModelUri("a", "version", "3")),
            ("models:/a/Production", ModelUri("a", "stage", "Production")), ("models:/a", ModelUri("a", "latest")),
            ("models:/a/latest", ModelUri("a", "latest")), ("a@b", ModelUri("a", "alias", "b")),
            ("a", ModelUri("a", "latest")), ("a/3", ModelUri("a", "version", "3")),
            ("models:/été 1@x y", ModelUri("été 1", "alias", "x y")),
            ("models:/me@home@b", ModelUri("me@home", "alias", "b")),
        ],
    )  # fmt: skip
    def test_a_model_uri_is_taken_apart(self, text: str, uri: ModelUri) -> None:
        assert parse_model_uri(text) == uri

    @pytest.mark.parametrize("text", ["models:/", "", "models:/a/b/3", "/", "models:///"])
    def test_a_uri_that_names_no_model_is_wrong_use(self, text: str) -> None:
        with pytest.raises(UsageError):
            parse_model_uri(text)

    @pytest.mark.parametrize(
        ("uri", "version"),
        [
            (ModelUri("m", "latest"), 11), (ModelUri("m", "version", "9"), 9), (ModelUri("m", "version", "009"), 9),
            (ModelUri("m", "alias", "top"), 9), (ModelUri("m", "stage", "STAGING"), 10),
        ],
    )  # fmt: skip
    def test_versions_count_as_numbers_and_a_shared_stage_means_the_newest(self, uri: ModelUri, version: int) -> None:
        class Models:
            def list_models(self) -> list[RegisteredModel]:
                return [RegisteredModel("m")]

            def list_model_versions(self, name: str) -> list[ModelVersion]:
                assert name == "m"
                return [
                    ModelVersion("m", 11),
                    ModelVersion("m", 10, "Staging"),
                    ModelVersion("m", 9, "Staging", ("top",)),
                ]

        assert find_model_version(uri, Models()).version == version

    def test_the_registry_is_opened_for_a_model_uri_only(self, manager: ModelManager) -> None:
        def never() -> Any:
            raise AssertionError("the registry was opened")

        for selector in (LSTM, "3f2b", "gru", "@last", "@best:sharpe_ratio"):
            assert find_run(selector, manager._store, never, RunQuery())
        with pytest.raises(AssertionError, match="the registry was opened"):
            find_run("models:/alpha/1", manager._store, never, RunQuery())


class TestExperiments:
    @pytest.mark.parametrize(
        ("text", "experiment_id"),
        [
            ("Default", "0"), ("alpha", "1"), ("1", "1"), ("0", "2"), ("2", "2"), ("3f2a", "3"), ("été / 夏", "12"),
            ("gone", "4"), ("4", "4"),
        ],
    )  # fmt: skip
    def test_a_name_goes_before_an_id_even_when_it_looks_like_one(
        self, manager: ModelManager, text: str, experiment_id: str
    ) -> None:
        assert manager.get_experiment(text).experiment_id == experiment_id

    def test_an_id_may_be_a_number(self, manager: ModelManager) -> None:
        assert manager.get_experiment(12).name == "été / 夏"

    @pytest.mark.parametrize("text", ["alpah", "ALPHA", "alph"])
    def test_a_name_that_is_nearly_right_is_offered(self, manager: ModelManager, text: str) -> None:
        with pytest.raises(NotFoundError) as caught:
            manager.get_experiment(text)
        assert caught.value.candidates[0] == "alpha"
        assert caught.value.message == f"there is no experiment {text!r}"

    @pytest.mark.parametrize("text", ["99", "1.0", "-1", "", "9" * 40])
    def test_an_unknown_id_is_not_found(self, manager: ModelManager, text: str) -> None:
        with pytest.raises(NotFoundError):
            manager.get_experiment(text)

    def test_a_search_in_an_unknown_experiment_is_an_error_and_no_empty_list(self, manager: ModelManager) -> None:
        with pytest.raises(NotFoundError):
            manager.list_runs("no such")


class TestNearest:
    def test_near_names_come_closest_first_and_at_most_three(self) -> None:
        known = ["sharpe_ratio", "sharp_ratio_2", "sharpe", "sharpe_ratios", "loss"]
        assert nearest("sharpe_ratio_", known)[0] in ("sharpe_ratio", "sharpe_ratios")
        assert len(nearest("sharpe_ratio_", known)) == 3

    def test_case_does_not_count_and_names_come_back_as_they_are_written(self) -> None:
        assert nearest("SHARPE_RATIO", ["Sharpe_Ratio", "loss"]) == ("Sharpe_Ratio",)

    def test_a_name_that_holds_the_text_is_near(self) -> None:
        assert nearest("sr", ["model/quite/long/name/sr", "x"]) == ("model/quite/long/name/sr",)

    def test_nothing_is_near_to_something_else(self) -> None:
        assert nearest("zzz", ["alpha", "beta"]) == ()
        error = not_found("model", "zzz", ["alpha"], listing="agentnn model list")
        assert (error.candidates, error.hint) == ((), "agentnn model list")
