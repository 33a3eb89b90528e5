"""``AdvancedTrainer``: what it adds to the loop, that it goes on where it was killed, and what it records."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from faults.trainers import wait_until
from mlflow import MlflowClient
from nn_models.small_trainings import SETUPS, SMALL, normalised, trained
from shared_store import copy_of, ended_run, shared_state
from torch import Tensor, nn
from training.toy import X_TRAIN, X_VAL, Y_TRAIN, Y_VAL, Trained, perceptron, same_weights, values_of

from agentnn import ModelManager, start_run
from agentnn.errors import AgentNNWarning, ConfigError, ConflictError, TrainingError, UsageError
from agentnn.nn_models.advanced.recipe import Recipe
from agentnn.nn_models.advanced.smoothing import smoothed
from agentnn.nn_models.advanced_training import AdvancedOptions, HierarchicalNetwork, InputConfig
from agentnn.nn_models.trainer_runs import TrainerRuns
from agentnn.tracking.active_run import ActiveRun
from agentnn.training.loop.compiling import compiled
from agentnn.training.loop.devices import autocasting
from agentnn.training.loop.optimisation import build_loss
from agentnn.training.loop.options import TrainingOptions
from agentnn.training.loop.steps import Samples, Stepper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Run

torch.set_num_threads(1)


def loss_of(model: nn.Module, inputs: Tensor = X_VAL, targets: Tensor = Y_VAL) -> float:
    with torch.no_grad():
        return nn.functional.mse_loss(model(inputs), targets).item()


# --- what it adds ---------------------------------------------------------------------------------


def test_with_nothing_added_it_is_the_plain_loop() -> None:
    result = trained(replace(SMALL, decay_only_weights=False), perceptron(0.3))
    model = perceptron(0.3)
    plain = Trained(
        4,
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=0.02),
        batch_size=20,
        deterministic=True,
        restore_best=True,
    )
    assert same_weights(result.model.state_dict(), plain.weights)
    assert values_of(result.history) == values_of(plain.history)


def test_one_loop_by_hand_with_all_of_it() -> None:
    """Two groups, accumulated and clipped gradients, a warm-up, smoothed labels, and a corrected average."""
    labels = (Y_TRAIN > 0).float(), (Y_VAL > 0).float()
    options = replace(
        SMALL,
        epochs=3,
        loss="bce",
        batch_size=10,
        accumulate_steps=2,
        clip_norm=0.1,
        weight_decay=0.1,
        scheduler="warmup_cosine",
        warmup_steps=4,
        label_smoothing=0.2,
        average="ema",
        ema_decay=0.8,
        keep="last",
        learning_rate_multipliers={"3.*": 0.5},
    )
    result = trained(options, perceptron(0.1), (X_TRAIN, labels[0], X_VAL, labels[1]))

    model = perceptron(0.1)
    groups = [
        {"params": [model[0].weight], "lr": 0.02},
        {"params": [model[0].bias], "lr": 0.02, "weight_decay": 0.0},
        {"params": [model[3].weight], "lr": 0.01},
        {"params": [model[3].bias], "lr": 0.01, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
    torch.manual_seed(5)
    sums = {name: torch.zeros_like(one) for name, one in model.named_parameters()}
    step, total, norm = 0, 15, 0.0
    for _ in range(3):
        for rows in torch.randperm(100).split(20):
            rising = min(1.0, (step + 1) / 4)
            rate = rising * (1 + math.cos(math.pi * max(0, step - 4) / (total - 4))) / 2
            for group, base in zip(optimizer.param_groups, (0.02, 0.02, 0.01, 0.01), strict=True):
                group["lr"] = base * rate
            optimizer.zero_grad()
            for batch in rows.split(10):
                target = labels[0][batch] * 0.8 + 0.1
                (nn.functional.binary_cross_entropy_with_logits(model(X_TRAIN[batch]), target) / 2).backward()
            norm += float(nn.utils.clip_grad_norm_(model.parameters(), 0.1) > 0.1)
            optimizer.step()
            step += 1
            for name, one in model.named_parameters():
                sums[name] = 0.8 * sums[name] + 0.2 * one.detach()
    assert norm > 0  # something was clipped
    for name, one in result.model.named_parameters():
        torch.testing.assert_close(one.detach(), sums[name] / (1 - 0.8**step), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        judged = nn.functional.binary_cross_entropy_with_logits(result.model(X_VAL), labels[1]).item()
    assert result.history["val_loss"][-1] == pytest.approx(judged, rel=1e-6)  # of the labels as they are


def test_smoothed_labels_by_hand() -> None:
    logits, labels = torch.tensor([[2.0], [-1.0]]), torch.tensor([[1.0], [0.0]])
    loss = smoothed(build_loss("bce", {}), 0.2)
    by_hand = 0.9 * math.log1p(math.exp(-2)) + 0.1 * math.log1p(math.exp(2))
    by_hand += 0.9 * math.log1p(math.exp(-1)) + 0.1 * math.log1p(math.exp(1))
    assert loss(logits, labels).item() == pytest.approx(by_hand / 2, rel=1e-6)
    plain = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2
    assert loss.eval()(logits, labels).item() == pytest.approx(plain, rel=1e-6)


def test_smoothed_classes_are_torchs() -> None:
    logits, classes = torch.randn(9, 3, generator=torch.Generator().manual_seed(1)), torch.arange(9) % 3
    loss = smoothed(build_loss("cross_entropy", {"weight": [1.0, 2.0, 3.0]}, 3), 0.1)
    weight = torch.tensor([1.0, 2.0, 3.0])
    expected = nn.functional.cross_entropy(logits, classes, weight, label_smoothing=0.1)
    assert torch.equal(loss(logits, classes), expected)
    assert torch.equal(loss.eval()(logits, classes), nn.functional.cross_entropy(logits, classes, weight))


@pytest.mark.parametrize(("loss", "params"), [("mse", {}), ("cross_entropy", {"label_smoothing": 0.1})])
def test_labels_that_can_not_be_smoothed(loss: str, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        smoothed(build_loss(loss, params, 2), 0.1)


def test_a_robust_loss_is_not_carried_away_by_a_few_wild_targets() -> None:
    wild = Y_TRAIN.clone()
    wild[::10] = 60.0
    losses = {}
    for name in ("mse", "log_cosh", "barron"):
        options = replace(SMALL, epochs=60, loss=name, keep="last", decay_only_weights=False)
        losses[name] = loss_of(trained(options, nn.Linear(4, 1), (X_TRAIN, wild, X_VAL, Y_VAL)).model)
    assert max(losses["log_cosh"], losses["barron"]) < 0.2 * losses["mse"]


def test_the_mean_of_the_last_epochs_is_taken_at_its_own_learning_rate() -> None:
    options = replace(SMALL, epochs=8, average="swa", swa_start=0.5, swa_learning_rate=0.005, keep="last")
    model = normalised()
    ends: list[dict[str, Tensor]] = []
    watched = trained(
        options,
        model,
        on_epoch=lambda epoch, values: ends.append({k: v.clone() for k, v in model.state_dict().items()}),
    )
    assert watched.history["learning_rate"] == pytest.approx([0.02] * 4 + [0.005] * 4)
    for name, one in watched.model.named_parameters():
        mean = torch.stack([end[name] for end in ends[4:]]).mean(dim=0)
        torch.testing.assert_close(one.detach(), mean, rtol=1e-5, atol=1e-6)
    assert loss_of(watched.model) == pytest.approx(watched.history["val_loss"][-1], rel=1e-6)


def test_early_stopping_looks_at_the_average() -> None:
    options = replace(SMALL, epochs=60, average="ema", patience=3, learning_rate=0.1)
    result = trained(options)
    assert result.history.stopped_early
    assert result.history.best_epoch == result.history.epochs - 3
    assert loss_of(result.model) == pytest.approx(result.history.best_value, rel=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_as_well(precision: Any) -> None:
    options = replace(SMALL, epochs=30, precision=precision, average="ema", clip_norm=1.0)
    assert loss_of(trained(options, perceptron()).model) < 1.1 * loss_of(
        trained(replace(options, precision="float32"), perceptron()).model
    )


def test_lbfgs_which_takes_no_groups() -> None:
    assert trained(replace(SMALL, optimizer="LBFGS", learning_rate=0.1), perceptron()).history.epochs == 4


def test_the_same_seed_gives_the_same_network_and_leaves_the_process_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one, same, other = (trained(replace(SMALL, average="ema", seed=seed)).model.state_dict() for seed in (1, 1, 2))
    assert same_weights(one, same)
    assert not same_weights(one, other)
    assert torch.equal(torch.rand(2), expected)


def test_what_comes_later_moves_no_prediction_of_the_past() -> None:
    """Neither a batch's statistics nor an average let a sample see another one."""
    for average in ("ema", "swa"):
        model = trained(replace(SMALL, average=average)).model  # type: ignore[arg-type]
        moved = torch.cat([X_VAL[:20], X_VAL[20:] * -7])
        with torch.no_grad():
            assert torch.equal(model(X_VAL)[:20], model(moved)[:20])


# --- compiling ------------------------------------------------------------------------------------


def test_what_is_compiled_computes_the_same_and_leaves_random_numbers_alone() -> None:
    model, seen = perceptron(0.5), []

    def backend(graph: Any, inputs: Any) -> Any:
        seen.append(len(inputs))
        return graph.forward

    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    forward = compiled(model, X_TRAIN[:20], autocasting(torch.device("cpu"), "float32"), backend=backend)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(forward(X_VAL), model.eval()(X_VAL)) is False  # dropout: it was training
    assert torch.equal(forward(X_VAL), model(X_VAL))
    assert len(seen) >= 2
    assert model.state_dict().keys() == perceptron().state_dict().keys()


def test_a_step_that_is_compiled_is_the_same_step() -> None:
    weights = []
    for is_compiled in (False, True):
        model = perceptron()
        forward = torch.compile(model, backend="eager") if is_compiled else None
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        cpu = torch.device("cpu")
        stepper = Stepper(model, optimizer, nn.MSELoss(), TrainingOptions(), cpu, forward)
        samples = Samples(X_TRAIN, Y_TRAIN)
        stepper.step(samples, torch.arange(20))
        stepper.step(samples, torch.arange(7))
        weights.append(model.state_dict())
    assert same_weights(*weights)


def test_where_there_is_no_compiler_it_is_said_and_trained_as_it_is() -> None:
    def backend(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("No working C++ compiler found")

    model = perceptron()
    with pytest.warns(AgentNNWarning, match=r"not compiled, and trained as it is: .*No working C\+\+ compiler"):
        assert compiled(model, X_TRAIN[:20], autocasting(torch.device("cpu"), "float32"), backend=backend) is model


# --- going on -------------------------------------------------------------------------------------


class Killed(Exception):
    """Ends a training in its middle."""


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("last", [1, 4])
def test_resuming_is_bit_equal(setup: str, last: int, tmp_path: Path) -> None:
    def kill(epoch: int, values: object) -> None:
        if epoch == last + 1:
            raise Killed

    options = replace(SETUPS[setup], checkpoint_dir=str(tmp_path))
    with pytest.raises(Killed):
        trained(options, on_epoch=kill)
    with pytest.raises(ConflictError, match="unfinished"):
        trained(options)
    resumed, whole = trained(replace(options, resume=True)), trained(SETUPS[setup])
    assert resumed.history.resumed_from == last
    assert same_weights(resumed.model.state_dict(), whole.model.state_dict())
    assert values_of(resumed.history) == values_of(whole.history)


CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from dataclasses import replace
from nn_models.small_trainings import SETUPS, trained

def told(epoch, values):
    print(epoch, flush=True)
    if epoch == 4:
        time.sleep(600)

trained(replace(SETUPS["swa"], checkpoint_dir={folder!r}), on_epoch=told)
"""


def test_a_training_that_was_killed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(tests=tests, folder=str(tmp_path))], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == "4":
            child.send_signal(signal.SIGKILL)
            break
    assert child.wait(60) == -signal.SIGKILL
    resumed = trained(replace(SETUPS["swa"], checkpoint_dir=str(tmp_path), resume=True))
    whole = trained(SETUPS["swa"])
    assert resumed.history.resumed_from == 3
    assert same_weights(resumed.model.state_dict(), whole.model.state_dict())


def test_another_training_is_not_gone_on_with(tmp_path: Path) -> None:
    options = replace(SETUPS["ema"], checkpoint_dir=str(tmp_path))
    trained(options)
    again = replace(options, resume=True, epochs=8)
    for changes in (
        {"average": "swa"},
        {"ema_decay": 0.5},
        {"average": "none"},
        {"learning_rate_multipliers": {}},
        {"learning_rate_multipliers": {"0.*": 0.6}},
        {"weight_decay": 0.5},
    ):
        with pytest.raises(ConflictError):
            trained(replace(again, **changes))


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": None},
        {"warmup_steps": -1},
        {"ema_decay": 1.0},
        {"swa_start": 1.0},
        {"label_smoothing": -0.1},
        {"learning_rate": 0.0},
        {"swa_learning_rate": -1.0},
        {"average": "mean"},
        {"keep": "worst"},
        {"optimizer": "Adamant"},
        {"optimizer": "Tensor"},
        {"batch_size": 0},
        {"precision": "float8"},
        {"resume": True},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        AdvancedOptions(**wrong)


def test_options_that_do_not_fit_the_model_are_refused() -> None:
    with pytest.raises(UsageError, match="no parameter's name fits 'body"):
        trained(replace(SMALL, learning_rate_multipliers={"body.*": 2.0}))
    with pytest.raises(UsageError, match="inputs by name"):
        trained(data=({"prices": X_TRAIN}, Y_TRAIN, {"prices": X_VAL}, Y_VAL))
    with pytest.raises(ConfigError, match="scheduler_params"):
        trained(replace(SMALL, scheduler="step", scheduler_params={"size": 1}))


def test_the_options_as_json() -> None:
    assert json.loads(json.dumps(SETUPS["swa"].to_dict()))["learning_rate_multipliers"] == {"0.*": 0.5}


# --- its run --------------------------------------------------------------------------------------


pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


def _ended(uri: str, name: str) -> Run:
    return ended_run(uri, name, "advanced_training")


def test_the_run_of_a_training(uri: str) -> None:
    inputs = [InputConfig("prices", 3), InputConfig("calendar", 1, "latest", (2,))]
    network = HierarchicalNetwork(inputs, hidden_layers=(6,), fusion="concat")
    train, validation = ({"prices": X[:, None, :3], "calendar": X[:, 3:]} for X in (X_TRAIN, X_VAL))
    result = trained(
        replace(SMALL, average="ema", log_model=True),
        network,
        (train, Y_TRAIN, validation, Y_VAL),
        track=True,
        tracking_uri=uri,
        run_name="whole",
        tags={"a": "b"},
    )
    run, client = _ended(uri, "whole"), MlflowClient(uri)
    assert run.info.status == "FINISHED"
    assert (run.data.tags["agentnn.run_uuid"], run.data.tags["model_type"], run.data.tags["a"]) == (
        result.uuid,
        "mlp",
        "b",
    )
    assert (run.data.params["average"], run.data.params["epochs"]) == ("ema", "4")
    assert run.data.params["n_parameters"] == str(sum(one.numel() for one in network.parameters()))
    for name in ("train_loss", "val_loss", "learning_rate"):
        history = sorted(client.get_metric_history(run.info.run_id, name), key=lambda one: one.step)
        assert [one.step for one in history] == [1, 2, 3, 4]
        assert [one.value for one in history] == pytest.approx(result.history[name])
    assert run.data.metrics["best_val_loss"] == result.history.best_value
    groups = client.download_artifacts(run.info.run_id, "parameter_groups.json")
    with Path(groups).open() as file:
        assert json.load(file) == {
            "all others": {"parameters": 18 + 2 + 36 + 12 + 72 + 6, "learning_rate": 0.02, "weight_decay": 0.01},
            "all others, without decay": {"parameters": 27, "learning_rate": 0.02, "weight_decay": 0.0},
        }
    loaded = ModelManager(uri).load_model(f"runs:/{run.info.run_id}/model")
    with torch.no_grad():
        packed = network.pack(validation)
        assert loaded.predict(packed.numpy()).tolist() == result.model(validation)[:, 0].tolist()


def test_a_run_that_is_open_is_used_and_left_open(uri: str) -> None:
    with start_run("open", experiment="advanced_training", tracking_uri=uri) as run:
        result = trained(replace(SMALL, epochs=1), run=run, track=True)
        assert not run.ended
        assert result.uuid == run.uuid
        trained(replace(SMALL, epochs=1), track=True, run_name="below")
        parent = run.run_id
    assert _ended(uri, "open").data.metrics.keys() >= {"val_loss", "best_epoch"}
    assert _ended(uri, "below").data.tags["mlflow.parentRunId"] == parent


def test_a_training_that_fails_says_why(uri: str) -> None:
    with pytest.raises(TrainingError):
        trained(replace(SMALL, learning_rate=1e30, optimizer="SGD"), track=True, tracking_uri=uri, run_name="failed")
    run = _ended(uri, "failed")
    assert run.info.status == "FAILED"
    assert "no longer finite" in run.data.tags["agentnn.end_reason"]


def test_a_resumed_training_goes_on_in_its_run(uri: str, tmp_path: Path) -> None:
    def kill(epoch: int, values: object) -> None:
        if epoch == 3:
            raise Killed

    options = replace(SETUPS["ema"], checkpoint_dir=str(tmp_path))
    where: dict[str, Any] = {"track": True, "tracking_uri": uri, "run_name": "resumed"}
    with pytest.raises(Killed):
        trained(options, on_epoch=kill, **where)
    result = trained(replace(options, resume=True, epochs=7), **where)
    wait_until(lambda: _ended(uri, "resumed").info.status == "FINISHED", "the end of the resumed run")
    run = _ended(uri, "resumed")
    assert run.data.tags["agentnn.run_uuid"] == result.uuid
    steps = {one.step for one in MlflowClient(uri).get_metric_history(run.info.run_id, "val_loss")}
    assert steps == set(range(1, 8))


def test_it_is_told_that_the_run_of_a_checkpoint_is_gone(uri: str) -> None:
    runs = TrainerRuns(given=None, experiment="alpha", tracking_uri=uri)
    with pytest.warns(AgentNNWarning, match="in another run than what it goes on with"), runs.open("0" * 32) as run:
        assert isinstance(run, ActiveRun)
        assert run.uuid != "0" * 32


def test_a_store_that_is_down_does_not_stop_it() -> None:
    result = trained(replace(SMALL, epochs=1), track=True, tracking_uri="http://127.0.0.1:9", run_name="nowhere")
    assert (result.history.epochs, result.run_id) == (1, None)


def test_a_recipe_names_its_groups() -> None:
    recipe = Recipe.of(normalised(), replace(SMALL, learning_rate_multipliers={"4.*": 0.1}), 100)
    assert {name: one["learning_rate"] for name, one in recipe.groups.items()} == {
        "all others": 0.02,
        "all others, without decay": 0.02,
        "4.*": pytest.approx(0.002),
        "4.*, without decay": pytest.approx(0.002),
    }
