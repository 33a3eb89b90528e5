"""``trainer: online``: what is predicted before which label is known, and what the run keeps of it."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from nn_models.configured import configured
from shared_store import copy_of, shared_state

from agentnn import ExperimentOrganizer, ModelManager
from agentnn.errors import AgentNNWarning, ConfigError
from agentnn.nn_models.online.day_stream import DayStream
from agentnn.nn_models.online.options import OnlineOptions
from agentnn.nn_models.online.procedure import OnlineTraining
from agentnn.nn_models.online_learning import OnlineLearner
from agentnn.sdk.training_inputs import inputs_for
from agentnn.tracking.active_run import NullRun
from agentnn.training.data.datasets import Part
from agentnn.training.judging import judge
from agentnn.training.run_hpo import run_hpo_study

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentnn.config.schema import Config
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.fitting import Fitted

pytestmark = pytest.mark.usefixtures("undrawn")

TINY = {"online": {"learning_rate_share": 1.0, "samples_a_step": 3, "detector": "none"}}


def tiny(**sections: dict[str, Any]) -> Config:
    return configured("online", TINY, sections)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return inputs_for(tiny()).dataset


def fitted(config: Config, dataset: Dataset, **how: Any) -> Fitted:
    return OnlineTraining().fit(config, dataset, NullRun(), None, **how)


def part_of(inputs: list[list[float]], targets: list[float]) -> Part:
    days = np.arange(len(inputs))
    shaped = np.array(inputs, np.float32)[:, None, :], np.array(targets, np.float32)[:, None]
    return Part(days, *shaped, None, days + 1)


# -- the stream ----------------------------------------------------------------------------------------------


class Told:
    """Stands where a learner does, and notes what it is told in which order."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def observe(self, inputs: Any) -> tuple[int, torch.Tensor]:
        day = int(inputs[0, 0])
        self.order.append(f"predict {day}")
        return day, torch.zeros(1)

    def learn(self, ticket: int, label: Any) -> None:
        self.order.append(f"learn {ticket}")
        assert label == ticket + 0.5


@pytest.mark.parametrize(
    ("delay", "order"),
    [
        (1, "predict 0, predict 1 after 0, predict 2 after 1, predict 3 after 2"),
        (0, "predict 0, predict 1 after 0, predict 2 after 1, predict 3 after 2"),
        (3, "predict 0, predict 1, predict 2, predict 3 after 0"),
    ],
)
def test_a_label_is_learnt_once_it_is_known_and_before_the_day_is_predicted(delay: int, order: str):
    told = Told()
    stream = DayStream(told, delay)  # type: ignore[arg-type]
    stream.predict(part_of([[day] for day in range(4)], [day + 0.5 for day in range(4)]))
    wanted = []
    for one in order.split(", "):
        predicted, _, learnt = one.partition(" after ")
        wanted += [f"learn {learnt}", predicted] if learnt else [predicted]
    assert told.order == wanted


def test_the_days_between_two_parts_count_for_what_is_known_after_them():
    told = Told()
    stream = DayStream(told, 3)  # type: ignore[arg-type]
    stream.predict(part_of([[0.0], [1.0]], [0.5, 1.5]))
    stream.pass_over(2)
    assert told.order == ["predict 0", "predict 1"]
    stream.predict(part_of([[4.0]], [4.5]))
    assert told.order[2:] == ["learn 0", "learn 1", "predict 4"]
    assert stream.predict(part_of([[5.0]], [5.5]).slice(slice(0))).shape == (0, 1)


def test_a_stream_by_hand():
    """y = w x from w = 0 by SGD of the squared error, rate 0.1: w becomes w + 0.2 (y - w x) x with each label."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 1, bias=False))
    torch.nn.init.zeros_(model[1].weight)
    options = OnlineOptions(background=False, batch_size=1, detector="none", seed=0)
    learner = OnlineLearner(
        model, torch.nn.MSELoss(), torch.optim.SGD(model.parameters(), lr=0.1), options, track=False
    )
    with learner:
        outputs = DayStream(learner, 2).predict(part_of([[1.0], [2.0], [1.0], [1.0]], [1.0, 4.0, 2.0, 9.0]))
    first = 0.2  # of (1, 1), known on the third day
    second = first + 0.2 * (4.0 - first * 2.0) * 2.0  # of (2, 4), known on the fourth
    np.testing.assert_allclose(outputs[:, 0], [0.0, 0.0, first, second], rtol=1e-6)


# -- the procedure -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("warm_up", "horizon"), [("epochs", 1), ("epochs", 4), ("stream", 2)])
def test_the_future_does_not_move_a_prediction_of_the_past(warm_up: str, horizon: int):
    config = tiny(online={"warm_up": warm_up}, data={"horizon": horizon})
    dataset = inputs_for(config).dataset
    day = 30
    inputs, targets = dataset.test.inputs.copy(), dataset.test.targets.copy()
    inputs[day + 1 :] += 5.0
    targets[day - horizon + 1 :] = 1 - targets[day - horizon + 1 :]  # labels that are known after this day
    shifted = replace(dataset, test=replace(dataset.test, inputs=inputs, targets=targets))
    before, after = (fitted(config, one).outputs for one in (dataset, shifted))
    np.testing.assert_array_equal(before["validation"], after["validation"])
    np.testing.assert_array_equal(before["test"][: day + 1], after["test"][: day + 1])
    assert not np.array_equal(before["test"][day + 1 :], after["test"][day + 1 :])

    known = dataset.test.targets.copy()
    known[day - horizon - 3 : day - horizon] = 1 - known[day - horizon - 3 : day - horizon]
    learnt = fitted(config, replace(dataset, test=replace(dataset.test, targets=known))).outputs["test"]
    assert not np.array_equal(before["test"][day], learnt[day])  # what is known by then does count


def test_the_same_seed_gives_the_same_and_another_one_does_not(dataset: Dataset):
    config = tiny(model={"dropout": 0.3}, online={"replayed": 2, "memory": 20})
    first, again = fitted(config, dataset), fitted(config, dataset)
    np.testing.assert_array_equal(first.outputs["test"], again.outputs["test"])
    weights, same = first.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    other = fitted(tiny(model={"dropout": 0.3}, online={"replayed": 2, "memory": 20}, training={"seed": 8}), dataset)
    assert not np.array_equal(first.outputs["test"], other.outputs["test"])


def test_it_begins_with_what_the_plain_loop_comes_to_and_goes_on_from_there(dataset: Dataset):
    frozen = fitted(tiny(online={"samples_a_step": 10_000}), dataset)  # no step is ever made
    plain = configured(None, {}, {})
    inputs = inputs_for(plain)
    trained = inputs.procedure.fit(plain, inputs.dataset, NullRun(), None)
    assert frozen.history["val_loss"] == trained.history["val_loss"]
    judged = judge(trained.model, dataset, "test", plain)
    online = judge(frozen.model, dataset, "test", plain, outputs=frozen.outputs["test"])
    np.testing.assert_allclose(online.predictions, judged.predictions, atol=1e-6)
    learning = fitted(tiny(), dataset)
    assert not np.allclose(learning.outputs["test"], frozen.outputs["test"], atol=1e-4)
    assert learning.facts["stream"].startswith("393 days learnt in 131 steps")


def test_one_pass_is_one_epoch_and_is_told(dataset: Dataset):
    told: list[tuple[int, Any]] = []
    came = fitted(
        tiny(online={"warm_up": "stream"}), dataset, on_epoch=lambda epoch, values: told.append((epoch, values))
    )
    assert [epoch for epoch, _ in told] == [1]
    assert {name: [value] for name, value in told[0][1].items()} == dict(came.history)
    assert came.history["val_loss"] == [came.history.best_value]
    assert came.outputs.keys() == {"validation", "test"}


def test_without_a_test_part_the_validation_part_is_the_same(dataset: Dataset):
    without = replace(dataset, test=dataset.test.slice(slice(0)))
    came = fitted(tiny(), without)
    np.testing.assert_array_equal(came.outputs["validation"], fitted(tiny(), dataset).outputs["validation"])
    assert len(came.outputs["test"]) == 0


def test_what_can_t_be_had_is_told_before_anything_is_recorded():
    with pytest.raises(ConfigError, match="online: the model has no module 'body.9'"):
        inputs_for(tiny(online={"reactions": ["reset_head"], "head": "body.9"}))
    inputs_for(tiny(online={"reactions": ["reset_head"], "head": "head"}))


# -- runs ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


def test_one_run_holds_all_of_it_and_can_be_repeated(uri: str):
    manager = ModelManager(uri)
    result = manager.train(tiny(online={"detector": "page_hinkley", "page_hinkley_threshold": 0.5, "log_every": 50}))
    run = MlflowClient(uri).get_run(result.run_id or "")
    experiment = MlflowClient(uri).get_experiment(run.info.experiment_id)
    assert (run.info.status, experiment.name, run.data.tags["trainer"]) == ("FINISHED", "online_learning", "online")
    assert len(MlflowClient(uri).search_runs([run.info.experiment_id])) == 1
    metrics = run.data.metrics
    assert metrics["online_judged"] == len(result_days(result)) - 1  # the label of the last day is not known yet
    assert metrics["online_drifts"] > 0
    assert run.data.tags["online_last_drift"]
    assert [one for one in run.data.params if one.startswith("online_")] == []
    assert run.data.params["online.samples_a_step"] == "3"
    assert {"test_loss", "validation_loss", "sharpe_ratio", "train_loss"} <= metrics.keys()
    days = MlflowClient(uri).get_metric_history(result.run_id or "", "online_prequential_loss")
    assert {one.step for one in days} == {50, 100, 150, 200, 250, 300, 350, int(metrics["online_judged"])}
    assert result.to_dict()["facts"]["stream"].endswith(f"{int(metrics['online_drifts'])} drifts")

    compared = manager.replay(result.run_id or "", here=True)
    assert compared.is_equal, compared.differences
    assert "online_prequential_loss" in compared.compared
    assert not [one for one in compared.compared if "per_second" in one]


def result_days(result: Any) -> range:
    return range(result.dataset["validation_samples"] + result.dataset["test_samples"])


def test_a_run_that_was_broken_off_in_the_stream_goes_on_to_the_same_end(uri: str, monkeypatch: pytest.MonkeyPatch):
    manager, config = ModelManager(uri), tiny(model={"dropout": 0.2}, tracking={"log_model": False})
    whole = manager.train(config, run_name="whole")
    said = pytest.warns(AgentNNWarning, match="to go on from the last checkpoint")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), said:
        patch.setattr(DayStream, "pass_over", lambda self, days: signal.raise_signal(signal.SIGINT))
        manager.train(config, run_name="broken")
    resumed = manager.train(resume="broken")
    assert resumed.resumed_from == 2  # its epochs were done
    assert whole.test is not None
    assert resumed.test is not None
    np.testing.assert_array_equal(resumed.test.predictions, whole.test.predictions)
    assert MlflowClient(uri).get_run(resumed.run_id or "").info.status == "FINISHED"


def test_a_study_searches_keys_of_the_trainer_and_its_trials_see_no_test_part(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    seen: list[tuple[int, int]] = []
    plain = OnlineTraining.fit

    def noting(self: Any, config: Config, dataset: Dataset, *more: Any, **how: Any) -> Fitted:
        seen.append((len(dataset.validation), len(dataset.test)))
        return plain(self, config, dataset, *more, **how)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(OnlineTraining, "fit", noting)
    space = {"online.samples_a_step": [1, 5], "online.learning_rate_share": {"low": 0.01, "high": 1.0, "log": True}}
    hpo = {"param_space": space, "num_trials": 2, "metric": "validation_loss", "storage": f"{tmp_path}/study.log"}
    result = ModelManager(uri).run_study(tiny(hpo=hpo, training={"epochs": 1}))
    assert seen == [(197, 0), (197, 0), (197, 197)]
    assert result.best is not None
    assert result.metrics["best_validation_loss"] == pytest.approx(result.best.value)
    study = MlflowClient(uri).get_run(result.run_id or "")
    assert study.data.tags["trainer"] == "online"
    assert "best_test_loss" in study.data.metrics
    assert not [one for one in study.data.metrics if one.startswith("online_")]
    [trial, _] = MlflowClient(uri).search_runs(
        [study.info.experiment_id], f"tags.`mlflow.parentRunId` = '{result.run_id}'"
    )
    assert trial.data.metrics["online_judged"] == 196


def test_a_study_of_arrays_says_that_it_knows_the_plain_loop_only(tmp_path: Path):
    config = tiny(hpo={"param_space": {"online.memory": [1, 2]}})
    with pytest.raises(ConfigError, match="trained by the plain loop, and the configuration says trainer: online"):
        run_hpo_study(config, *[np.zeros((4, 1))] * 4, ExperimentOrganizer(config, tracking_uri=tmp_path / "m.db"))
