"""``trainer: multi_task``: labels from the prices without a look ahead, and a whole run from a configuration."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from shared_store import copy_of, shared_state
from training.toy import same_weights, values_of

from agentnn import ConfigurationManager, ModelManager
from agentnn.errors import ConfigError
from agentnn.nn_models.multi_task.configured import options_of, source_of
from agentnn.nn_models.multi_task.files import MainTask
from agentnn.nn_models.multi_task.procedure import MultiTaskTraining
from agentnn.nn_models.multi_task.targets import classes_of, realised_volatility, returns_ahead
from agentnn.nn_models.procedures import procedure_of
from agentnn.tracking.active_run import NullRun
from agentnn.training.data.datasets import Dataset, load_dataset
from agentnn.training.hpo.sampling.space import with_params
from agentnn.training.judging import judge, judge_fitted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.config.schema import Config
    from agentnn.training.fitting import Fitted

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("undrawn")

TEMPLATE = Path(__file__).parents[2] / "config_templates" / "multi_task_learning.yaml"
TASKS = {
    "direction": {},
    "return": {"horizon": 2},
    "volatility": {"horizon": 5},
    "range": {"kind": "classes", "classes": 3, "horizon": 3},
    "tails": {"kind": "quantiles", "quantiles": [0.1, 0.9]},
}
SMALL = {
    "trainer": "multi_task",
    "model": {"family": "mlp", "hidden_layers": [4]},
    "data": {"window": 2},
    "training": {"epochs": 1, "num_threads": 1, "learning_rate": 0.01, "checkpoints": False, "device": "cpu"},
    "multi_task": {"tasks": TASKS},
}


def configured(**more: Any) -> Config:
    given: dict[str, Any] = {**SMALL, **{name: {**SMALL.get(name, {}), **one} for name, one in more.items()}}  # type: ignore[dict-item]
    return ConfigurationManager(given).get_config()


def loaded(config: Config) -> Dataset:
    return load_dataset(config.data, config.model.output_dim, config.training.loss)


def labels_of(config: Config, dataset: Dataset, part: str) -> dict[str, np.ndarray]:
    return source_of(config, options_of(config, dataset.loss)).labels(dataset, getattr(dataset, part))


def trained(config: Config, dataset: Dataset) -> Fitted:
    return MultiTaskTraining().fit(config, dataset, NullRun(), None)


# --- labels ---------------------------------------------------------------------------------------


def test_labels_by_hand():
    returns = np.array([0.1, -0.5, 1.0, 0.0])
    assert returns_ahead(returns, 1) == pytest.approx(returns)
    assert returns_ahead(returns, 2) == pytest.approx([1.1 * 0.5 - 1, 0.0, 1.0, math.nan], nan_ok=True)
    both = math.sqrt((math.log(0.5) ** 2 + math.log(2) ** 2) / 2)
    expected = [
        math.sqrt((math.log(1.1) ** 2 + math.log(0.5) ** 2) / 2),
        both,
        math.sqrt(math.log(2) ** 2 / 2),
        math.nan,
    ]
    assert realised_volatility(returns, 2) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(returns_ahead(returns, 5)).all()
    found = classes_of(np.array([-9.0, 1.4, 1.6, 9.0, math.nan]), np.array([0.0, 1.0, 2.0, 3.0, math.nan]), 2)
    assert found == pytest.approx([0, 0, 1, 1, math.nan], nan_ok=True)


def test_the_labels_of_a_part_are_its_own_and_missing_where_it_ends():
    config = configured()
    dataset = loaded(config)
    labels = labels_of(config, dataset, "train")
    part = dataset.train
    assert part.next_returns is not None
    assert labels["direction"].tolist() == part.targets[:, 0].tolist()
    missing = {name: np.flatnonzero(np.isnan(one)).tolist() for name, one in labels.items()}
    count = len(part)
    assert missing == {
        "direction": [],
        "return": [count - 1],
        "volatility": list(range(count - 4, count)),
        "range": [count - 2, count - 1],
        "tails": [],
    }
    assert labels["tails"] == pytest.approx(part.next_returns)
    assert np.bincount(labels["range"][:-2].astype(int)) == pytest.approx((count - 2) / 3, abs=1)


def _other_after(dataset: Dataset, part: str) -> Dataset:
    """The same data, but everything after a part is another world."""
    names = ["train", "validation", "test"]
    changed: dict[str, Any] = {}
    for name in names[names.index(part) + 1 :]:
        one = getattr(dataset, name)
        changed[name] = replace(
            one, inputs=one.inputs + 9, targets=1 - one.targets, next_returns=np.exp(one.next_returns * 3) - 1
        )
    return replace(dataset, **changed)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_labels_do_not_know_what_comes_after_their_part(part: str):
    config = configured()
    dataset = loaded(config)
    for name in ("train", part):
        before, after = labels_of(config, dataset, name), labels_of(config, _other_after(dataset, part), name)
        assert all(np.array_equal(before[task], after[task], equal_nan=True) for task in TASKS)


def test_predictions_of_the_past_do_not_move_with_the_future():
    config = configured()
    dataset = loaded(config)
    network, other = (trained(config, one).model for one in (dataset, _other_after(dataset, "validation")))
    assert same_weights(network.state_dict(), other.state_dict())
    early = judge(network, dataset, "validation", config).predictions
    inputs = dataset.validation.inputs.copy()
    inputs[100:] += 5
    later = replace(dataset, validation=replace(dataset.validation, inputs=inputs))
    moved = judge(network, later, "validation", config).predictions
    assert np.allclose(early[:100], moved[:100], atol=1e-6)
    assert not np.allclose(early[100:], moved[100:])


def test_the_limits_of_classes_are_those_of_the_training_part():
    config = configured()
    dataset = loaded(config)
    assert dataset.train.next_returns is not None
    calm = replace(dataset, train=replace(dataset.train, next_returns=dataset.train.next_returns / 100))
    usual, of_calm = (labels_of(config, one, "validation")["range"] for one in (dataset, calm))
    assert (usual == 1).sum() > 3 * (of_calm == 1).sum()


# --- the configuration ----------------------------------------------------------------------------


def test_options_are_those_of_all_sections():
    config = configured(
        data={"horizon": 2},
        training={"learning_rate": 0.03, "loss": "huber"},
        multi_task={"balance": "gradnorm", "alpha": 0.5},
    )
    options = options_of(config, "huber")
    assert (options.balance, options.alpha, options.family, options.hidden_layers) == ("gradnorm", 0.5, "mlp", (4,))
    assert (options.learning_rate, options.epochs, options.main_task.name) == (0.03, 1, "return")
    assert [task.kind for task in options.tasks] == ["direction", "return", "volatility", "classes", "quantiles"]
    assert [task.loss for task in options.tasks[1:3]] == ["huber", "mse"]
    assert options.tasks[4].quantiles == (0.1, 0.9)


@pytest.mark.parametrize(
    ("loss", "outputs", "main"),
    [("bce", 1, "direction"), ("mae", 1, "volatility"), ("cross_entropy", 3, "range"), ("quantile", 2, "tails")],
)
def test_the_main_task_is_the_target_of_the_data(loss: str, outputs: int, main: str):
    tasks = {
        "volatility": {},
        "return": {},
        "direction": {},
        "range": {"kind": "classes"},
        "tails": {"kind": "quantiles"},
    }
    config = configured(training={"loss": loss}, model={"output_dim": outputs}, multi_task={"tasks": tasks})
    options = options_of(config, loss)
    assert (options.main_task.name, options.main_task.n_outputs) == (main, outputs)
    assert options.main_task.loss == ("mae" if loss == "mae" else "mse")


def test_a_main_task_that_is_not_the_target_of_the_data():
    with pytest.raises(ConfigError, match="the target of the data is a direction.* multi_task.main is return"):
        options_of(configured(multi_task={"main": "return"}), "bce")
    with pytest.raises(ConfigError, match="none of multi_task.tasks is one"):
        options_of(configured(multi_task={"tasks": {"volatility": {}}}), "bce")
    with pytest.raises(ConfigError, match="training.loss: smooth_l1 is none"):
        options_of(configured(training={"loss": "smooth_l1"}), "smooth_l1")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"multi_task": {"tasks": {"direction": {"horizon": 3}}}}, "direction.horizon is 3, .* data.horizon says 1"),
        ({"training": {"params": {"loss_params": {"pos_weight": 2}}}}, "are not learnt by pos_weight"),
        ({"model": {"input_dim": 3}}, "model.input_dim is 3, but the data have 13 features"),
        ({"multi_task": {"tasks": {"direction": {}, "volatility": {"horizon": 900}}}}, "has 900 days ahead"),
        (
            {"multi_task": {"tasks": {"direction": {}, "volatility": {"horizon": 300}}}},
            "y_val has no label of the task vol",
        ),
        ({"training": {"optimizer": "LBFGS"}}, "LBFGS"),
        ({"training": {"monitor": "val_up_loss"}}, "'val_up_loss' can't be monitored"),
    ],
)
def test_configurations_that_do_not_fit(more: dict[str, Any], message: str):
    config = configured(**more)
    with pytest.raises(ConfigError, match=message):
        MultiTaskTraining().check(config, loaded(config))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"tasks": {"profit": {}}}, "tasks.profit: expected a kind: one of direction"),
        ({"tasks": {"direction": {"classes": 3}}}, "tasks.direction.classes: a task of the kind direction has none"),
        ({"tasks": {"direction": {"horizn": 3}}}, r"unknown key \(did you mean horizon\?\)"),
        ({"tasks": {"q": {"kind": "quantiles", "quantiles": [0.9, 0.1]}}}, "in ascending order"),
        ({"main": "x"}, "expected one of the tasks"),
        ({"balance": "gradnrm"}, r"did you mean gradnorm\?"),
    ],
)
def test_sections_that_are_wrong(section: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        configured(multi_task=section)


def test_a_search_may_name_what_a_task_says():
    space = {"multi_task.balance": ["fixed", "gradnorm"], "multi_task.tasks.volatility.weight": [0.5, 2.0]}
    config = configured(hpo={"param_space": space})
    trial = with_params(config, {"multi_task.balance": "gradnorm", "multi_task.tasks.volatility.weight": 2.0})
    options = options_of(trial, "bce")
    assert (options.balance, options.tasks[2].weight, options.tasks[1].weight) == ("gradnorm", 2.0, 1.0)
    with pytest.raises(ConfigError, match="unknown key"):
        configured(hpo={"param_space": {"multi_task.tasks.volatility.wait": [1]}})


def test_gradnorm_and_float16_exclude_each_other():
    with pytest.raises(ConfigError, match="training.precision: expected bfloat16 or float32"):
        configured(multi_task={"balance": "gradnorm"}, training={"precision": "float16"})


def test_data_without_prices(tmp_path: Path):
    numbers = np.random.default_rng(0).normal(size=(60, 2))
    rows = "\n".join(f"{one:.4f},{int(other > 0)}" for one, other in numbers)
    (tmp_path / "own.csv").write_text("signal,event\n" + rows + "\n")
    own = {"path": str(tmp_path / "own.csv"), "target": "event", "features": ["signal"], "window": 1}
    config = configured(data=own, training={"loss": "bce"})
    with pytest.raises(ConfigError, match="the data have no prices, which it is derived from"):
        MultiTaskTraining().check(config, loaded(config))
    alone = configured(data=own, training={"loss": "bce"}, multi_task={"tasks": {"event": {"kind": "direction"}}})
    MultiTaskTraining().check(alone, loaded(alone))


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "outputs"), [("bce", 1), ("mse", 1), ("cross_entropy", 2), ("quantile", 3)])
def test_what_is_given_back_predicts_the_target_of_the_data(loss: str, outputs: int):
    tasks = {"direction": {}, "return": {}, "range": {"kind": "classes"}, "tails": {"kind": "quantiles"}}
    config = configured(training={"loss": loss}, model={"output_dim": outputs}, multi_task={"tasks": tasks})
    dataset = loaded(config)
    fitted = trained(config, dataset)
    assert isinstance(fitted.model, MainTask)
    assert fitted.model(torch.from_numpy(dataset.test.inputs)).shape == (len(dataset.test), outputs)
    judged = judge(fitted.model, dataset, "validation", config)
    task = fitted.model.task
    name = "accuracy" if loss in ("bce", "cross_entropy") else "mae"
    assert fitted.history[f"val_{task}_{name}"][-1] == pytest.approx(judged.errors[name], rel=1e-4)


def test_each_task_is_measured_on_unseen_days():
    config = configured()
    dataset = loaded(config)
    fitted = trained(config, dataset)
    assert isinstance(fitted.model, MainTask)
    errors = judge_fitted(fitted, dataset, "test", config).errors
    said, truth = fitted.model.network.predict(dataset.test.inputs), labels_of(config, dataset, "test")
    for task in ("return", "volatility"):
        missed = (said[task] - truth[task])[~np.isnan(truth[task])]
        assert errors[f"{task}_mae"] == pytest.approx(np.abs(missed).mean(), rel=1e-5)
        assert errors[f"{task}_rmse"] == pytest.approx(np.sqrt(np.square(missed).mean()), rel=1e-5)
    known = ~np.isnan(truth["range"])
    assert errors["range_accuracy"] == pytest.approx((said["range"].argmax(axis=1) == truth["range"])[known].mean())
    between = (said["tails"][:, 0] <= truth["tails"]) & (truth["tails"] <= said["tails"][:, 1])
    assert errors["tails_coverage"] == pytest.approx(between.mean())
    assert (errors["direction_accuracy"], errors["direction_loss"]) == pytest.approx(
        (errors["accuracy"], errors["loss"])
    )


def test_a_task_without_a_label_on_a_part_is_not_measured_there():
    config = configured()
    dataset = loaded(config)
    fitted = trained(config, dataset)
    short = replace(dataset, test=dataset.test.slice(slice(4)))
    errors = judge_fitted(fitted, short, "test", config).errors
    assert {"return_rmse", "range_accuracy"} <= errors.keys()
    assert not any(name.startswith("volatility") for name in errors)  # of five days


def test_a_configured_training_goes_on_bit_for_bit(tmp_path: Path):
    config = configured(training={"epochs": 3, "checkpoint_every_s": 0.0}, multi_task={"balance": "gradnorm"})
    dataset, procedure = loaded(config), MultiTaskTraining()
    whole = procedure.fit(config, dataset, NullRun(), None, checkpoint_dir=tmp_path / "whole")

    def kill(epoch: int, _: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        procedure.fit(config, dataset, NullRun(), None, on_epoch=kill, checkpoint_dir=tmp_path / "halves")
    went_on = procedure.fit(config, dataset, NullRun(), None, checkpoint_dir=tmp_path / "halves", resume=True)
    assert went_on.history.resumed_from == 1
    assert values_of(went_on.history) == values_of(whole.history)
    assert same_weights(went_on.model.state_dict(), whole.model.state_dict())


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


def test_the_template_from_the_file_to_the_run(template_database: Path, tmp_path_factory: pytest.TempPathFactory):
    uri = copy_of(template_database, tmp_path_factory)
    quick = {"training.epochs": 2, "tracking.log_environment": False, "data.features": ["return_1", "return_5"]}
    manager = ModelManager(uri)
    assert isinstance(procedure_of(ConfigurationManager(TEMPLATE).get_config()), MultiTaskTraining)
    result = manager.train(TEMPLATE, {**quick, "model.family": "mlp", "multi_task.balance": "gradnorm"})
    run = MlflowClient(uri).get_run(result.run_id or "")
    assert run.info.status == "FINISHED"
    assert (run.data.tags["trainer"], run.data.params["multi_task.balance"]) == ("multi_task", "gradnorm")
    wanted = {"val_volatility_rmse", "val_direction_accuracy", "weight_return", "sharpe_ratio", "test_volatility_rmse"}
    assert wanted <= run.data.metrics.keys()
    assert run.data.params["labels.volatility.train"] == str(result.dataset["train_samples"] - 4)
    inputs = loaded(ConfigurationManager(TEMPLATE, quick).get_config()).test.inputs
    said = manager.load_model(f"runs:/{result.run_id}/model").predict(inputs)
    assert result.test is not None
    assert np.allclose(said, result.test.predictions, atol=1e-5)
