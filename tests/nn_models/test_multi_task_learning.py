"""``MultiTaskTrainer``: what it learns, what it records, and that it goes on where it was killed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from shared_store import copy_of, shared_state
from training.toy import same_weights, values_of

from agentnn import ModelManager, start_run
from agentnn.errors import ConflictError, CorruptDataError, NotFoundError, TrainingError, UnsafeError, UsageError
from agentnn.nn_models.multi_task_learning import (
    MainTask,
    MultiTaskOptions,
    MultiTaskResult,
    MultiTaskTrainer,
    Task,
    load_network,
    save_network,
)
from agentnn.training.loop.checkpoints import write_state
from agentnn.training.loop.options import TrainingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

torch.set_num_threads(1)
TASKS = (
    Task(name="up", kind="direction"),
    Task(name="ret", kind="return", weight=2),
    Task(name="vol", kind="volatility"),
)
TRAINING = TrainingOptions(
    batch_size=16, seed=4, device="cpu", num_threads=1, restore_best=True, progress=False, deterministic=True
)
SMALL = MultiTaskOptions(
    tasks=TASKS, family="mlp", hidden_layers=(8,), dropout=0.1, epochs=3, learning_rate=0.01, training=TRAINING
)


def data(count: int, seed: int) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float64]]]:
    """Windows of two days, and labels that can be learnt from them; some are missing."""
    numbers = np.random.default_rng(seed)
    inputs = numbers.normal(3, 2, size=(count, 2, 3)).astype(np.float32)
    value = 0.01 * (inputs[:, 1, 0] - inputs[:, 0, 1]).astype(np.float64)
    labels = {"up": (value > 0).astype(float), "ret": value, "vol": 0.02 * np.abs(inputs[:, 1, 2]).astype(np.float64)}
    labels["ret"][::5] = np.nan
    labels["vol"][-8:] = np.nan
    return inputs, labels


X_TRAIN, Y_TRAIN = data(120, 1)
X_VAL, Y_VAL = data(60, 2)


def fitted(options: MultiTaskOptions = SMALL, **given: Any) -> MultiTaskResult:
    passed = {name: given.pop(name) for name in ("on_epoch", "logger") if name in given}
    trainer = MultiTaskTrainer(options, **{"track": False, **given})
    return trainer.fit(X_TRAIN, Y_TRAIN, X_VAL, Y_VAL, **passed)


def of(options: MultiTaskOptions = SMALL, **training: Any) -> MultiTaskOptions:
    """The same with other options of the loop."""
    return replace(options, training=replace(options.training, **training))


# --- what is learnt -------------------------------------------------------------------------------


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "gradnorm"])
def test_all_tasks_are_learnt_and_what_is_monitored_can_not_be_gamed(balance: Any):
    result = fitted(replace(SMALL, balance=balance, epochs=25, learning_rate=0.02))
    best = result.best
    assert best["val_up_accuracy"] > 0.85
    assert best["val_ret_loss"] < 0.4
    assert best["val_vol_loss"] < 0.9
    for place in range(25):
        values = {name: one[place] for name, one in result.history.items()}
        combined = values["val_up_loss"] + 2 * values["val_ret_loss"] + values["val_vol_loss"]
        assert values["val_loss"] == pytest.approx(combined, rel=1e-5)
    assert result.history.best_value == min(result.history["val_loss"])
    assert (result.weights == {"up": 1, "ret": 2, "vol": 1}) == (balance == "fixed")
    if balance == "gradnorm":
        assert sum(result.weights.values()) == pytest.approx(3)


def test_what_is_reported_is_what_the_network_says():
    result = fitted()
    said = result.network.predict(X_VAL)
    known = ~np.isnan(Y_VAL["ret"])
    missed = (said["ret"] - Y_VAL["ret"])[known]
    assert result.best["val_ret_mae"] == pytest.approx(np.abs(missed).mean(), rel=1e-5)
    assert result.best["val_ret_rmse"] == pytest.approx(math.sqrt(np.square(missed).mean()), rel=1e-5)
    scale = np.nanstd(Y_TRAIN["ret"])
    assert result.best["val_ret_loss"] == pytest.approx(np.square(missed / scale).mean(), rel=1e-4)
    assert result.best["val_up_accuracy"] == pytest.approx(((said["up"] > 0.5) == Y_VAL["up"]).mean())
    assert (said["vol"] > 0).all()


def test_labels_by_name_are_those_of_a_table():
    result = fitted()
    table = np.stack([Y_TRAIN[task.name] for task in TASKS], axis=1)
    again = MultiTaskTrainer(SMALL, track=False).fit(X_TRAIN, table, X_VAL, Y_VAL)
    assert same_weights(result.network.state_dict(), again.network.state_dict())
    assert all(math.isfinite(value) for values in result.history.values() for value in values)


@pytest.mark.parametrize("balance", ["uncertainty", "gradnorm"])
def test_the_same_seed_gives_the_same_weights_and_another_one_others(balance: Any):
    options = replace(SMALL, balance=balance)
    one, same, other = (fitted(of(options, seed=seed)) for seed in (1, 1, 2))
    assert same_weights(one.network.state_dict(), same.network.state_dict())
    assert values_of(one.history) == values_of(same.history)
    assert not same_weights(one.network.state_dict(), other.network.state_dict())


def test_random_numbers_of_the_process_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fitted()
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("balance", ["uncertainty", "gradnorm"])
def test_it_goes_with_accumulation_clipping_and_mixed_precision(balance: Any, precision: Any):
    options = of(replace(SMALL, balance=balance), accumulate_steps=2, clip_norm=1.0, precision=precision)
    result = fitted(options)
    assert result.history["train_loss"][-1] < result.history["train_loss"][0]


def test_what_the_balance_learns_does_not_decay():
    groups: list[Any] = []

    def make(given: list[dict[str, Any]]) -> torch.optim.Optimizer:
        groups.extend(given)
        return torch.optim.AdamW(given, lr=0.01, weight_decay=0.5)

    fitted(replace(SMALL, epochs=1, balance_learning_rate=0.07), make_optimizer=make)
    assert [group.get("weight_decay") for group in groups] == [0.5, 0.0]
    assert groups[1]["lr"] == 0.07
    assert len(groups[1]["params"]) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"balance": "none"}, "unknown balance 'none'"),
        ({"main": "x"}, "main is 'x', which is no task"),
        ({"alpha": -1.0}, "alpha must be at least 0"),
        ({"fusion": "sum"}, "unknown fusion 'sum'"),
        ({"balance_learning_rate": 0.0}, "balance_learning_rate must be greater than 0"),
        ({"head_layers": (0,)}, "head_layers must be whole numbers"),
        ({"family": "cnn"}, "unknown family 'cnn'"),
        ({"tasks": ()}, "there is no task"),
    ],
)
def test_options_that_are_wrong(wrong: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        replace(SMALL, **wrong)


def test_gradnorm_refuses_gradients_that_are_scaled_or_taken_once():
    with pytest.raises(UsageError, match="float16"):
        of(replace(SMALL, balance="gradnorm"), precision="float16")
    with pytest.raises(UsageError, match="can't be compiled"):
        of(replace(SMALL, balance="gradnorm"), compile=True)


def test_data_that_do_not_fit():
    trainer = MultiTaskTrainer(SMALL, track=False)
    with pytest.raises(UsageError, match="X_train holds 120 samples, but y_train 60"):
        trainer.fit(X_TRAIN, Y_VAL, X_VAL, Y_VAL)
    with pytest.raises(UsageError, match=r"have the shape \(2, 3\), those of X_val \(1, 3\)"):
        trainer.check(X_TRAIN, Y_TRAIN, X_VAL[:, :1], Y_VAL)
    with pytest.raises(UsageError, match="torch.optim has no 'Best'"):
        fitted(replace(SMALL, optimizer="Best"))
    with pytest.raises(UsageError, match="'val_x_loss' can't be monitored"):
        fitted(of(monitor="val_x_loss"))


# --- going on -------------------------------------------------------------------------------------


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("balance", ["uncertainty", "gradnorm"])
def test_a_training_that_was_killed_goes_on_bit_for_bit(balance: Any, tmp_path: Path):
    options = of(replace(SMALL, balance=balance, epochs=5), checkpoint_every_s=0.0)
    whole = fitted(of(options, checkpoint_dir=tmp_path / "whole"))

    def kill(epoch: int, _: Any) -> None:
        if epoch == 3:
            raise _KilledError

    halves = of(options, checkpoint_dir=tmp_path / "halves")
    with pytest.raises(_KilledError):
        fitted(halves, on_epoch=kill)
    went_on = fitted(of(halves, resume=True))
    assert went_on.history.resumed_from == 2
    assert values_of(went_on.history) == values_of(whole.history)
    assert same_weights(went_on.network.state_dict(), whole.network.state_dict())
    states = [torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "halves")]
    learnt = {"uncertainty": "balance.log_variances", "gradnorm": "balance.moments"}[balance]
    assert all(state["model"][learnt].any() for state in states)
    for name, value in states[0]["model"].items():
        other = states[1]["model"][name]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
    moments = [[one["exp_avg"].tolist() for one in state["optimizer"]["state"].values()] for state in states]
    assert moments[0] == moments[1]
    assert len(moments[0]) == len(list(whole.network.parameters())) + (balance == "uncertainty")


def test_a_checkpoint_of_another_balance_is_refused(tmp_path: Path):
    options = of(replace(SMALL, balance="gradnorm", epochs=1), checkpoint_dir=tmp_path, checkpoint_every_s=0.0)
    fitted(options)
    changed = {
        "alpha": {"alpha": 0.5},
        "balance": {"balance": "fixed"},
        "tasks": {"tasks": (*TASKS[:2], replace(TASKS[2], weight=3))},
    }
    for name, change in changed.items():
        with pytest.raises(ConflictError, match=f"of another training:.*{name}"):
            fitted(of(replace(options, epochs=2, **change), resume=True))


# --- files ----------------------------------------------------------------------------------------


def test_a_network_is_saved_and_read_without_code(tmp_path: Path):
    result = fitted(replace(SMALL, family="transformer", epochs=1))
    save_network(tmp_path / "kept" / "net.pt", result.network)
    network = load_network(tmp_path / "kept" / "net.pt")
    assert network.config == result.network.config
    for name, said in network.predict(X_VAL).items():
        assert np.array_equal(said, result.network.predict(X_VAL)[name])
    with pytest.raises(NotFoundError):
        load_network(tmp_path / "other.pt")


def test_files_that_are_damaged_or_something_else(tmp_path: Path):
    path = tmp_path / "net.pt"
    save_network(path, fitted(replace(SMALL, epochs=1)).network)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.pt").write_bytes(content)
    (tmp_path / "text.pt").write_text("no network")
    write_state(tmp_path / "state.pt", {"format": 1})
    torch.save({"format": 1, "model": torch.nn.Linear(1, 1)}, tmp_path / "code.pt")
    for name in ("damaged", "text", "state"):
        with pytest.raises(CorruptDataError):
            load_network(tmp_path / f"{name}.pt")
    with pytest.raises(UnsafeError):
        load_network(tmp_path / "code.pt")


def test_one_task_of_a_network():
    network = fitted(replace(SMALL, epochs=1)).network
    model = MainTask(network, "ret")
    assert torch.equal(model(torch.tensor(X_VAL)), network(torch.tensor(X_VAL))[:, 1:2])
    assert np.array_equal(model.predict(X_VAL), network.predict(X_VAL)["ret"])
    with pytest.raises(UsageError, match="no task 'x'"):
        MainTask(network, "x")


# --- runs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory, state_dir: Path) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture(scope="module")
def tracked(uri: str) -> tuple[MultiTaskResult, Any]:
    result = fitted(replace(SMALL, balance="gradnorm", main="vol"), track=True, tracking_uri=uri, tags={"team": "x"})
    return result, MlflowClient(uri).get_run(result.run_id or "")


def test_a_run_holds_options_tasks_and_the_values_of_each_epoch(tracked: tuple[MultiTaskResult, Any], uri: str):
    result, run = tracked
    client = MlflowClient(uri)
    assert client.get_experiment(run.info.experiment_id).name == "multi_task_learning"
    assert run.info.status == "FINISHED"
    assert (run.data.tags["model_type"], run.data.tags["team"]) == ("multi_task", "x")
    expected = {
        "balance": "gradnorm",
        "alpha": "1.5",
        "main": "vol",
        "task.ret.weight": "2.0",
        "task.up.kind": "direction",
    }
    expected |= {"labels.ret.train": "96", "labels.vol.validation": "52", "batch_size": "16", "family": "mlp"}
    expected["n_parameters"] = str(result.network.n_parameters)
    assert expected.items() <= run.data.params.items()
    for name in ("train_loss", "val_loss", "val_up_accuracy", "val_ret_rmse", "weight_vol"):
        found = sorted((one.step, one.value) for one in client.get_metric_history(run.info.run_id, name))
        assert found == [(place + 1, pytest.approx(value)) for place, value in enumerate(result.history[name])]
    assert run.data.metrics["best_val_loss"] == pytest.approx(result.history.best_value)


def test_the_model_of_a_run_predicts_the_main_task_without_foreign_code(tracked: tuple[MultiTaskResult, Any], uri: str):
    result, run = tracked
    model = ModelManager(uri).load_model(f"runs:/{run.info.run_id}/model")
    assert np.allclose(model.predict(X_VAL), result.network.predict(X_VAL)["vol"])


def test_a_run_that_is_open_is_used_and_left_open(uri: str):
    with start_run("mine", experiment="other", tracking_uri=uri) as run:
        result = fitted(replace(SMALL, epochs=1), track=True, run=run)
        assert not run.ended
        run.log_metrics({"after": 1.0})
    found = MlflowClient(uri).get_run(run.run_id)
    assert (result.uuid, found.info.status, found.data.metrics["after"]) == (run.uuid, "FINISHED", 1)
    assert found.data.metrics["val_up_loss"] == pytest.approx(result.history["val_up_loss"][0])
    assert "balance" not in found.data.params
    assert found.data.params["labels.ret.train"] == "96"


def test_a_training_that_fails_ends_its_run_so(uri: str):
    options = replace(SMALL, learning_rate=1e30, optimizer="SGD")
    with pytest.raises(TrainingError, match="no longer finite"):
        fitted(options, track=True, run_name="fails", tracking_uri=uri)
    [run] = [one for one in ModelManager(uri).list_runs("multi_task_learning") if one.name == "fails"]
    assert run.status == "FAILED"
    assert "no longer finite" in run.tags["agentnn.end_reason"]


def test_the_result_as_json(tracked: tuple[MultiTaskResult, Any]):
    result, run = tracked
    found = json.loads(json.dumps(result.to_dict()))
    assert (found["run_id"], found["epochs"], found["tasks"][1]["name"]) == (run.info.run_id, 3, "ret")
    assert found["weights"].keys() == {"up", "ret", "vol"}
