"""A network built and trained as a configuration says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from agentnn.config.loader import load_config
from agentnn.errors import ConfigError, ConflictError, UsageError
from agentnn.training.data.prices import Samples, Standardisation
from agentnn.training.families import FAMILIES
from agentnn.training.fitting import fit
from agentnn.training.loop.optimisation import build_optimizer, build_schedule
from agentnn.training.networks import Network

if TYPE_CHECKING:
    from agentnn.config.schema import Config

LN_2 = 0.6931


def toy(days: int, seed: int, signal: float = 1.0) -> Samples:
    """Samples whose first feature of the last day gives the sign of the next return, or noise."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(5.0, 3.0, size=(days, 2, 3))
    returns = signal * (inputs[:, -1, 0] - 5.0) / 100 + (1 - signal) * rng.normal(0, 0.01, days)
    return Samples(np.datetime64("2020-01-01") + np.arange(days), inputs.astype(np.float32), returns)


TRAIN, VALIDATION = toy(200, 1), toy(80, 2)


def config(family: str = "mlp", *, model: dict[str, Any] | None = None, **training: Any) -> Config:
    fixed = {"learning_rate": 0.01, "batch_size": 32, "epochs": 12, "seed": 1, "num_threads": 1}
    return load_config(
        {
            "model": {"family": family, "hidden_layers": [8], "dropout": 0.1, **(model or {})},
            "training": {**fixed, **training},
        }
    )


def fitted(given: Config, train: Samples = TRAIN, validation: Samples = VALIDATION, **more: Any) -> Any:
    parts = (train.inputs, train.next_returns > 0, validation.inputs, validation.next_returns > 0)
    return fit(given, *parts, standardisation=Standardisation.fit(train), **more)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_can_be_learnt_is_learnt_and_again_the_same(family: str) -> None:
    first, second = fitted(config(family)), fitted(config(family))
    assert first.history.best_value < 0.7 * LN_2
    assert first.history["val_accuracy"][-1] > 0.8
    assert first.loss == "bce"
    right = (first.model.predict(VALIDATION.inputs) > 0.5) == (VALIDATION.next_returns > 0)
    assert right.mean() > 0.8
    for key, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key])
    assert not first.model.training


def test_another_seed_gives_other_weights_and_the_process_keeps_its_own() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, other = (fitted(config(epochs=1, seed=seed)) for seed in (1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first.model.head.weight, other.model.head.weight)


def test_features_are_standardised_with_the_training_part_alone() -> None:
    network = fitted(
        config(epochs=1), validation=Samples(VALIDATION.dates, VALIDATION.inputs + 1000, VALIDATION.next_returns)
    )
    expected = Standardisation.fit(TRAIN)
    np.testing.assert_allclose(network.model.feature_mean.numpy(), expected.mean, rtol=1e-6)
    np.testing.assert_allclose(network.model.feature_scale.numpy(), expected.scale, rtol=1e-6)


def test_early_stopping_keeps_the_best_weights() -> None:
    noise = toy(60, 1, signal=0.0), toy(60, 2, signal=0.0)
    found = fitted(config(epochs=200, patience=5, learning_rate=0.03), *noise)
    losses = found.history["val_loss"]
    assert found.history.best_value == min(losses)
    assert found.history.epochs == found.history.best_epoch + 5 < 200
    assert found.history.stopped_early
    outputs = found.model(torch.tensor(noise[1].inputs))[:, 0]
    targets = torch.tensor(noise[1].next_returns > 0, dtype=torch.float32)
    loss = nn.functional.binary_cross_entropy_with_logits(outputs, targets).item()
    assert loss == pytest.approx(found.history.best_value, rel=1e-6)


def test_numbers_are_learnt_by_their_squares() -> None:
    returns = 100 * TRAIN.next_returns
    found = fit(config(epochs=30), TRAIN.inputs, returns, VALIDATION.inputs, 100 * VALIDATION.next_returns)
    assert found.loss == "mse"
    assert set(found.history) == {"train_loss", "val_loss", "learning_rate", "epoch_seconds"}
    assert found.history.best_value < 0.2 * np.var(returns)
    assert found.model.predict(VALIDATION.inputs).shape == (80,)


def test_a_flat_sample_is_a_window_of_one_day() -> None:
    days = TRAIN.inputs[:, -1], VALIDATION.inputs[:, -1]
    found = fit(config(epochs=1), days[0], TRAIN.next_returns, days[1], VALIDATION.next_returns)
    assert (found.model.config.window, found.model.config.n_features) == (1, 3)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.int8])
@pytest.mark.parametrize("column", [True, False])
def test_classes(dtype: type, column: bool) -> None:
    def classes(samples: Samples) -> np.ndarray:
        found = np.digitize(samples.inputs[:, -1, 0], [3.0, 7.0]).astype(dtype)
        return found[:, None] if column else found

    given = config(model={"output_dim": 3}, loss="cross_entropy")
    found = fit(given, TRAIN.inputs, classes(TRAIN), VALIDATION.inputs, classes(VALIDATION))
    assert found.history["val_accuracy"][-1] > 0.6
    assert found.model.predict(VALIDATION.inputs).shape == (80, 3)


def test_quantiles() -> None:
    given = config(
        model={"output_dim": 2}, loss="quantile", params={"loss_params": {"quantiles": [0.1, 0.9]}}, epochs=40
    )
    noise = np.random.default_rng(1).normal(size=200), np.random.default_rng(2).normal(size=200)
    constant = np.ones((200, 1), dtype=np.float32)
    found = fit(given, constant, noise[0][:, None], constant, noise[1][:, None])
    low, high = found.model.predict(constant)[0]
    assert -1.8 < low < -0.8
    assert 0.8 < high < 1.8


def test_the_configuration_says_the_loss_and_then_the_caller() -> None:
    parts = (TRAIN.inputs, TRAIN.next_returns > 0, VALIDATION.inputs, VALIDATION.next_returns > 0)
    assert fit(config(epochs=1), *parts, loss="mae").loss == "mae"
    assert fit(config(epochs=1, loss="mse"), *parts, loss="mae").loss == "mse"


def test_it_is_the_loop_with_what_the_configuration_names() -> None:
    """Put together by hand, from the same seed, it is the same."""
    given = config(scheduler="onecycle", optimizer="RMSprop", momentum=0.5, clip_norm=1.0, epochs=2, accumulate_steps=2)
    found = fitted(given)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = Network(found.model.config, Standardisation.fit(TRAIN))
        optimizer = build_optimizer(given.training, network.parameters())
        schedule = build_schedule(given.training, optimizer, 4)
        inputs, targets = torch.tensor(TRAIN.inputs), torch.tensor(TRAIN.next_returns > 0).float()[:, None]
        losses = []
        for _ in range(2):
            for rows in torch.randperm(200).split(64):
                optimizer.zero_grad()
                for batch in rows.split(32):
                    loss = nn.functional.binary_cross_entropy_with_logits(network(inputs[batch]), targets[batch])
                    (loss * (len(batch) / len(rows))).backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.after_step()
            network.eval()
            with torch.no_grad():
                seen = network(torch.tensor(VALIDATION.inputs))[:, 0]
                up = torch.tensor(VALIDATION.next_returns > 0).float()
                losses.append(nn.functional.binary_cross_entropy_with_logits(seen, up).item())
            network.train()
    assert found.history["val_loss"] == pytest.approx(losses, rel=1e-5)


def test_a_model_of_ones_own() -> None:
    asked: list[Config] = []

    def build(given: Config) -> nn.Module:
        asked.append(given)
        return nn.Sequential(nn.Flatten(), nn.Linear(6, 1))

    given = config(epochs=2)
    found = fitted(given, build_model=build)
    assert asked == [given]
    assert isinstance(found.model, nn.Sequential)
    again = fitted(given, build_model=build)
    assert torch.equal(found.model[1].weight, again.model[1].weight)


def test_it_resumes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(epoch: int, values: Any) -> None:
        if epoch == 3:
            raise Stop

    monkeypatch.setattr("agentnn.training.loop.checkpoints._LEAST_INTERVAL_S", 0.0)
    monkeypatch.setattr("agentnn.training.loop.checkpoints._COST_SHARE", math.inf)
    given = config(epochs=5, checkpoint_dir=str(tmp_path))
    with pytest.raises(Stop):
        fitted(given, on_epoch=stop)
    with pytest.raises(ConflictError, match="unfinished training, of 2 epochs"):
        fitted(given)
    resumed = fitted(given, resume=True)
    assert resumed.history.resumed_from == 2
    elsewhere = fitted(config(epochs=5, checkpoints=False), checkpoint_dir=tmp_path / "elsewhere")
    assert torch.equal(elsewhere.model.head.weight, resumed.model.head.weight)
    assert (tmp_path / "elsewhere" / "last.pt").exists()
    before = (tmp_path / "last.pt").stat().st_mtime_ns
    fitted(given, checkpoints=False)
    assert (tmp_path / "last.pt").stat().st_mtime_ns == before


def test_log_every_is_that_of_tracking() -> None:
    logged: list[int] = []

    class Log:
        def log_metrics(self, metrics: Any, step: int) -> None:
            logged.append(step)

    given = load_config({**config(epochs=5).to_dict(), "tracking": {"log_every": 2}})
    fitted(given, logger=Log())
    assert logged == [2, 4, 5]


@pytest.mark.parametrize(
    ("given", "changes", "error", "message"),
    [
        (config(model={"input_dim": 4}), {}, ConfigError, "model.input_dim is 4, but the data have 3 features"),
        (config(loss="bce"), {"y": TRAIN.next_returns}, UsageError, "y_train holds values outside of 0 to 1"),
        (config(loss="cross_entropy", model={"output_dim": 2}), {"y": np.arange(200) % 3}, UsageError, "no classes"),
        (config(loss="cross_entropy", model={"output_dim": 2}), {"y": np.full(200, 0.5)}, UsageError, "no classes"),
        (config(), {"y": np.array(["up"] * 200)}, UsageError, "y_train is not an array of numbers"),
        (config(), {"X": TRAIN.inputs[:, 0, 0]}, UsageError, r"X_train has the shape \(200,\)"),
        (config(), {"X": TRAIN.inputs[:0]}, UsageError, "X_train has the shape"),
        (config(model={"output_dim": 3}), {}, UsageError, r"don't fit outputs of shape \(32, 3\)"),
        (config(params={"loss_params": 3}), {}, ConfigError, "loss_params: expected arguments by name, not 3"),
        (config(momentum=0.5), {}, ConfigError, "AdamW has none"),
        (config(monitor="val_f1"), {}, UsageError, "'val_f1' can't be monitored"),
        (config(device="cuda:5"), {}, UsageError, "cuda:5"),
    ],
)
def test_what_does_not_fit_is_refused(
    given: Config, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    inputs, targets = changes.get("X", TRAIN.inputs), changes.get("y", TRAIN.next_returns > 0)
    with pytest.raises(error, match=message):
        fit(given, inputs, targets, VALIDATION.inputs, VALIDATION.next_returns > 0)
