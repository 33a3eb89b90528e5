"""Studies in this process, as Optuna's storage and MLflow's own client find them afterwards."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from shared_store import copy_of, shared_state

from agentnn import AgentNNWarning, ConfigurationManager, EnhancedMLflowLogger, ExperimentOrganizer, start_run
from agentnn.errors import ConfigError, ConflictError, StoreUnavailable, TrainingError, UsageError
from agentnn.training.hpo.trial import TrialPruned
from agentnn.training.run_hpo import run_hpo_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow.entities import Run

    from agentnn.training.hpo.engines.engine import TrialTask
    from agentnn.training.hpo.request import StudyBeginning
    from agentnn.training.hpo.results import StudyResult, TrialRecord
    from agentnn.training.hpo.trial import Objective, Trial

SPACE = {"learning_rate": {"low": 0.1, "high": 0.9}, "batch_size": [16, 32]}


pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture
def run(
    uri: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Any]:
    """Runs a study in an experiment of the test's name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))

    def run_study(objective: Objective, *, hpo: dict[str, Any] | None = None, **options: Any) -> StudyResult:
        section = {"param_space": SPACE, "sampler": "random", "seed": 3, "num_trials": 4, **(hpo or {})}
        shared = options.pop("shared", {})
        named = {"experiment": {"name": request.node.name}, "hpo": section, **shared}
        config = ConfigurationManager(named).get_config()
        organizer = ExperimentOrganizer(config, tracking_uri=options.pop("uri", uri))
        logger = options.pop("logger", None)
        return run_hpo_study(config, None, None, None, None, organizer, logger, objective=objective, **options)

    return run_study


@pytest.fixture
def family(uri: str, request: pytest.FixtureRequest) -> Callable[[], tuple[Run, dict[int, Run]]]:
    """The study's run and those of its trials by number, as MLflow's own client says."""

    def look() -> tuple[Run, dict[int, Run]]:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(request.node.name)
        assert found is not None
        runs = client.search_runs([found.experiment_id], order_by=["start_time DESC"])
        parents = [run for run in runs if run.data.tags["agentnn.role"] == "study"]
        parent = parents[0]
        children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        return parent, {int(run.data.tags["agentnn.trial.number"]): run for run in children}

    return look


def learning_rate(trial: Trial) -> float:
    return trial.params["learning_rate"]


def interrupt(trial: Trial) -> float:
    if trial.number == 2:
        raise KeyboardInterrupt
    return trial.params["learning_rate"]


def storage_of(result: StudyResult) -> optuna.Study:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return optuna.load_study(study_name=result.name, storage=JournalStorage(JournalFileBackend(result.storage)))


def test_a_study_is_a_run_and_each_trial_a_child_of_it(run: Any, family: Any, uri: str):
    result = run(learning_rate, logger=EnhancedMLflowLogger())
    parent, trials = family()
    assert result.run_id == parent.info.run_id
    assert [one.run_id for one in result.trials] == [trials[number].info.run_id for number in range(4)]
    for one in result.trials:
        kept = trials[one.number]
        assert kept.data.params == {name: str(value) for name, value in one.params.items()}
        assert kept.data.metrics == {"val_loss": one.value}
        assert kept.info.status == "FINISHED"
    best = min(result.trials, key=lambda one: one.values[0])
    assert result.best == best
    assert parent.data.tags["agentnn.study.best_run_id"] == best.run_id
    assert parent.data.metrics["best_val_loss"] == best.value
    assert json.loads(parent.data.tags["agentnn.study.best_params"]) == best.params
    assert parent.data.params["hpo.num_trials"] == "4"
    files = {one.path for one in MlflowClient(uri).list_artifacts(parent.info.run_id, "environment")}
    assert "environment/environment.json" in files


def test_optuna_itself_reads_the_study(run: Any):
    result = run(learning_rate)
    study = storage_of(result)
    assert [one.params for one in study.trials] == [dict(one.params) for one in result.trials]
    assert [one.value for one in study.trials] == [one.value for one in result.trials]
    assert study.best_trial.number == result.best.number
    assert Path(result.storage).stat().st_mode & 0o077 == 0


def test_the_same_seed_tries_the_same(run: Any):
    first = run(learning_rate)
    second = run(learning_rate)
    assert (first.name, second.name) == ("test_the_same_seed_tries_the_same", "test_the_same_seed_tries_the_same (2)")
    assert [one.params for one in first.trials] == [one.params for one in second.trials]
    assert first.run_id != second.run_id


def test_a_trial_that_fails_is_marked_and_the_study_goes_on(run: Any, family: Any, uri: str, tmp_path: Path):
    def objective(trial: Trial) -> float:
        trial.run.log_metric("seen", trial.number)
        if trial.number == 0:
            raise RuntimeError("out of luck\nand more")
        if trial.number == 1:
            return math.nan
        if trial.number == 2:
            raise SystemExit(3)
        return 0.5

    result = run(objective)
    assert [one.state for one in result.trials] == ["failed", "failed", "failed", "complete"]
    reasons = ["RuntimeError: out of luck", "val_loss is nan", "exit code 3", ""]
    assert [one.reason for one in result.trials] == reasons
    parent, trials = family()
    assert [trials[number].info.status for number in range(4)] == ["FAILED"] * 3 + ["FINISHED"]
    assert [trials[number].data.tags.get("agentnn.end_reason", "") for number in range(4)] == reasons
    assert [trials[number].data.tags["agentnn.trial.state"] for number in range(4)] == ["failed"] * 3 + ["complete"]
    assert parent.data.metrics["trials_failed"] == 3
    kept = MlflowClient(uri).download_artifacts(trials[0].info.run_id, "traceback.txt", str(tmp_path))
    assert 'raise RuntimeError("out of luck' in Path(kept).read_text()


def test_when_all_trials_fail_the_study_does(run: Any, family: Any):
    def objective(trial: Trial) -> float:
        raise ValueError(f"bad {trial.number % 2}")

    with pytest.raises(
        TrainingError, match=r"none of 4 trials .* came to a value: ValueError: bad 0 \(and 1 other"
    ) as all_failed:
        run(objective)
    assert all_failed.value.exit_code == 8
    parent, trials = family()
    assert parent.info.status == "FAILED"
    assert len(trials) == 4
    assert run(learning_rate).best is not None  # nothing stands in the way of another one


def test_hopeless_trials_are_pruned(run: Any, family: Any, uri: str):
    def objective(trial: Trial) -> float:
        value = trial.params["learning_rate"]
        for step in range(1, 6):
            trial.run.log_metric("val_loss", value, step)
            trial.report(value, step)
            if trial.should_prune():
                raise TrialPruned if trial.number % 2 else optuna.TrialPruned
        return value

    hpo = {"num_trials": 12, "pruner": "median", "pruner_params": {"n_startup_trials": 2, "n_warmup_steps": 1}}
    result = run(objective, hpo=hpo)
    assert result.counts["pruned"] > 2
    parent, trials = family()
    for one in result.trials:
        kept = trials[one.number]
        assert (kept.info.status, kept.data.tags["agentnn.trial.state"]) == ("FINISHED", one.state)
        history = MlflowClient(uri).get_metric_history(kept.info.run_id, "val_loss")
        assert (max(point.step for point in history) == 5) == (one.state == "complete")
    assert parent.data.metrics["trials_pruned"] == result.counts["pruned"]
    assert storage_of(result).trials[0].intermediate_values.keys() == {1, 2, 3, 4, 5}


def test_several_objectives(run: Any, family: Any):
    def objective(trial: Trial) -> dict[str, float]:
        rate = trial.params["learning_rate"]
        return {"loss": rate, "profit": -((rate - 0.5) ** 2), "turnover": 3.0}

    objectives = [{"metric": "loss"}, {"metric": "profit", "mode": "max"}]
    result = run(objective, hpo={"objectives": objectives, "num_trials": 10})
    values = {one.number: one.values for one in result.trials}
    front = {
        number
        for number, (loss, profit) in values.items()
        if not any(a <= loss and b >= profit and (a, b) != (loss, profit) for a, b in values.values())
    }
    assert {one.number for one in result.pareto} == front
    assert {one.number for one in storage_of(result).best_trials} == front
    assert result.best.number == min(values, key=lambda number: values[number][0])
    parent, trials = family()
    assert parent.data.tags["agentnn.study.objective"] == "min loss, max profit"
    for number, (loss, profit) in values.items():
        assert trials[number].data.metrics == {"loss": loss, "profit": profit, "turnover": 3.0}
    assert all(one.metrics == {"turnover": 3.0} for one in result.trials)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"accuracy": 0.5}, "no metric 'val_loss'"),
        ((0.5, 0.6), "gave 2 values for 1"),
        ("good", "is no number but a str"),
        (None, "is no number but a NoneType"),
    ],
    ids=str,
)
def test_an_objective_that_can_judge_no_trial_ends_the_study(run: Any, family: Any, returned: Any, message: str):
    with pytest.raises(UsageError, match=message):
        run(lambda _: returned)
    parent, trials = family()
    assert parent.info.status == "FAILED"
    assert len(trials) == 1
    assert run(learning_rate).counts["complete"] == 4  # nothing stands in the way of a better one


def test_a_tensor_is_a_number(run: Any):
    import torch

    assert run(lambda trial: torch.tensor([0.25]), hpo={"num_trials": 1}).best.values == (0.25,)


def test_a_study_that_was_broken_off_is_not_begun_anew_by_mistake(run: Any, family: Any):
    with pytest.raises(KeyboardInterrupt), pytest.warns(AgentNNWarning, match="2 of 4 trials of .* are done; --resume"):
        run(interrupt)
    before, trials = family()
    assert before.info.status == "KILLED"
    assert [trials[number].info.status for number in range(3)] == ["FINISHED", "FINISHED", "KILLED"]
    with pytest.raises(ConflictError, match="is not finished: 2 trials are done") as refused:
        run(learning_rate)
    assert "--resume" in refused.value.hint
    result = run(learning_rate, resume=True)
    parent, trials = family()
    assert parent.info.run_id == before.info.run_id == result.run_id
    assert parent.info.status == "FINISHED"
    assert "agentnn.end_reason" not in parent.data.tags
    assert result.counts == {"complete": 4, "pruned": 0, "failed": 1}
    assert trials[3].data.params == trials[2].data.params
    assert trials[3].data.tags["agentnn.trial.retry_of"] == "2"
    assert trials[2].data.tags["agentnn.trial.retried_as"] == "3"
    assert (trials[2].info.status, trials[2].info.end_time) == ("KILLED", family()[1][2].info.end_time)


def test_a_resumed_study_may_get_more_trials_and_nothing_else(run: Any, family: Any):
    first = run(learning_rate, trials=2)
    more = run(learning_rate, trials=5, resume=True)
    assert [one.params for one in more.trials[:2]] == [one.params for one in first.trials]
    assert (len(more.trials), more.run_id, more.resumed) == (5, first.run_id, True)
    assert len({one.params["learning_rate"] for one in more.trials}) == 5
    parent, _ = family()
    assert parent.data.metrics["trials"] == 5
    again = run(learning_rate, trials=5, resume=True)
    assert (len(again.trials), again.best, again.run_id) == (5, more.best, first.run_id)
    assert again.metrics["best_val_loss"] == more.best.value
    with pytest.raises(ConflictError, match=r"searches something else: batch_size \[16, 32\] before, \[16\] now"):
        run(learning_rate, hpo={"param_space": {**SPACE, "batch_size": [16]}}, resume=True)
    with pytest.raises(
        ConflictError, match=r'objectives \[\["val_loss", "min"\]\] before, \[\["val_loss", "max"\]\] now'
    ):
        run(learning_rate, hpo={"mode": "max"}, resume=True)
    assert parent.info.end_time == family()[0].info.end_time


def test_a_study_that_could_not_begin_leaves_nothing_behind(run: Any, uri: str):
    with start_run("another", tracking_uri=uri), pytest.raises(ConflictError, match="'another' is open"):
        run(learning_rate)
    assert run(learning_rate).name == "test_a_study_that_could_not_begin_leaves_nothing_behind"


def test_what_makes_trials_differ_beside_their_params_is_warned_of(run: Any):
    run(learning_rate, trials=2, shared={"training": {"epochs": 5}})
    told = r"no longer alike: model.family was \"mlp\" and is \"gru\"; training.epochs was 5 and is 6"
    with pytest.warns(AgentNNWarning, match=told):
        run(learning_rate, trials=3, resume=True, shared={"training": {"epochs": 6}, "model": {"family": "gru"}})


def test_that_the_smallest_is_best_is_warned_of_where_nobody_says_so(run: Any):
    with pytest.warns(AgentNNWarning, match="the smallest profit counts as the best; say hpo.mode"):
        run(learning_rate, trials=1, hpo={"metric": "profit"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", AgentNNWarning)
        run(learning_rate, trials=1, hpo={"metric": "profit", "mode": "min"})
        run(learning_rate, trials=1, hpo={"metric": "test_error"})


def test_with_strict_a_store_that_is_down_is_an_error_at_the_end(run: Any):
    with FaultyProxy("http://127.0.0.1:9") as proxy:
        proxy.mode = "refuse"
        with pytest.raises(StoreUnavailable, match="wait on this machine"):
            run(learning_rate, uri=proxy.url, trials=1, shared={"tracking": {"strict": True}})


def test_a_study_of_somebody_else_is_not_gone_on_with(run: Any, tmp_path: Path):
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = tmp_path / "theirs.journal"
    optuna.create_study(study_name="theirs", storage=JournalStorage(JournalFileBackend(str(path)))).ask()
    with pytest.raises(ConflictError, match="is not one of agentnn's"):
        run(learning_rate, hpo={"storage": str(path), "study_name": "theirs"}, resume=True)


def test_a_grid_is_tried_once_as_a_whole(run: Any):
    space = {"learning_rate": [0.1, 0.2, 0.3], "batch_size": [16, 32]}
    result = run(learning_rate, hpo={"param_space": space, "sampler": "grid", "num_trials": 20})
    tried = {tuple(sorted(one.params.items())) for one in result.trials}
    assert (len(result.trials), len(tried)) == (6, 6)


def test_no_further_trial_begins_once_the_time_is_up(run: Any):
    def objective(trial: Trial) -> float:
        import time

        time.sleep(0.8)
        return 0.5

    result = run(objective, hpo={"num_trials": 50, "timeout_s": 2.0})
    assert 1 <= len(result.trials) < 10


def test_events_are_told_in_their_order(run: Any):
    class Events:
        def __init__(self) -> None:
            self.told: list[Any] = []

        def began(self, study: StudyBeginning) -> None:
            self.told.append((study.limit, study.done, study.resumed))

        def submitted(self, task: TrialTask) -> None:
            self.told.append(task.number)

        def ended(self, record: TrialRecord) -> None:
            self.told.append((record.number, record.state, record.values))

    events = Events()
    run(lambda _: 0.5, trials=2, events=events)
    done = ("complete", (0.5,))
    assert events.told == [(2, 0, False), 0, (0, *done), 1, (1, *done)]


def test_the_table_and_the_best_configuration_are_files_of_the_study(run: Any, uri: str, tmp_path: Path):
    result = run(learning_rate)
    client = MlflowClient(uri)
    table = Path(client.download_artifacts(result.run_id, "study/trials.csv", str(tmp_path))).read_text()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(int(row["number"]), float(row["val_loss"]), row["run_id"]) for row in rows] == [
        (one.number, one.value, one.run_id) for one in result.trials
    ]
    best = client.download_artifacts(result.run_id, "study/best_config.yaml", str(tmp_path))
    config = ConfigurationManager(best).get_config()
    assert config.training.learning_rate == result.best.params["learning_rate"]
    assert config.training.batch_size == result.best.params["batch_size"]


def test_a_store_that_is_down_does_not_matter(run: Any):
    with FaultyProxy("http://127.0.0.1:9") as proxy:
        proxy.mode = "refuse"
        result = run(learning_rate, uri=proxy.url, logger=EnhancedMLflowLogger())
    assert (len(result.trials), result.best.state, result.run_id) == (4, "complete", None)


def test_a_configuration_without_a_search_is_refused(uri: str):
    with pytest.raises(ConfigError, match="there is nothing to search"):
        run_hpo_study({"training": {"epochs": 1}}, None, None, None, None, ExperimentOrganizer({}, tracking_uri=uri))


def test_trials_of_a_network_are_judged_at_their_best_epoch(run: Any, family: Any, uri: str):
    import torch

    from agentnn.training.hpo.fitted_objective import FittedObjective

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 3, generator=generator)
    targets = inputs.sum(1, keepdim=True)
    objective = FittedObjective(inputs[:40], targets[:40], inputs[40:], targets[40:], EnhancedMLflowLogger())

    def small(trial: Trial) -> dict[str, float]:
        from agentnn.config.changes import with_changes

        trial.config = with_changes(trial.config, {("training", "epochs"): 4, ("model", "hidden_layers"): [4]}, "small")
        return objective(trial)

    result = run(small, hpo={"num_trials": 2})
    _, trials = family()
    for one in result.trials:
        history = MlflowClient(uri).get_metric_history(trials[one.number].info.run_id, "val_loss")
        assert one.value == min(point.value for point in history)
        assert trials[one.number].data.metrics["val_loss"] == one.value
        assert {point.step for point in history} == {1, 2, 3, 4}
