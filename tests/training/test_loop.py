"""The training loop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from agentnn.errors import TrainingError
from agentnn.training.data import Samples, Standardisation
from agentnn.training.loop import Epoch, TrainedNetwork, TrainingConfig, TrainingData, evaluate, train
from agentnn.training.networks import NetworkConfig

LN_2 = 0.6931


def toy(days: int, seed: int, signal: float = 1.0) -> Samples:
    """Samples whose first feature of the last day gives the sign of the next return, or noise."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(5.0, 3.0, size=(days, 2, 3))
    returns = signal * (inputs[:, -1, 0] - 5.0) / 100 + (1 - signal) * rng.normal(0, 0.01, days)
    return Samples(np.datetime64("2020-01-01") + np.arange(days), inputs.astype(np.float32), returns)


LEARNABLE = TrainingData(toy(200, 1), toy(80, 2))
NOISE = TrainingData(toy(60, 1, signal=0.0), toy(60, 2, signal=0.0))


def config(family: str = "mlp", **changes: object) -> TrainingConfig:
    network = NetworkConfig(family, n_features=3, window=2, hidden_size=8, dropout=0.1)
    fixed = TrainingConfig(network, learning_rate=0.01, batch_size=32, max_epochs=12, seed=1)
    return dataclasses.replace(fixed, **changes)


def losses(trained: TrainedNetwork) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.val_loss) for epoch in trained.epochs]


@pytest.mark.parametrize("family", ["mlp", "gru"])
def test_the_same_seed_gives_the_same_run(family: str) -> None:
    first, second = train(config(family), LEARNABLE), train(config(family), LEARNABLE)
    assert losses(first) == losses(second)
    for key, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[key])


def test_the_number_of_threads_makes_no_difference() -> None:
    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            runs.append(losses(train(config("gru"), LEARNABLE)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert runs[0] == runs[1]


def test_another_seed_gives_another_run() -> None:
    assert losses(train(config(seed=1), LEARNABLE)) != losses(train(config(seed=2), LEARNABLE))


def test_the_callers_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    train(config(max_epochs=1), LEARNABLE)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("family", ["mlp", "gru"])
def test_what_can_be_learnt_is_learnt(family: str) -> None:
    trained = train(config(family), LEARNABLE)
    assert trained.epochs[-1].train_loss < trained.epochs[0].train_loss
    assert trained.best.val_loss < 0.5 * LN_2
    right = (trained.network.probabilities(LEARNABLE.validation.inputs) > 0.5) == (
        LEARNABLE.validation.next_returns > 0
    )
    assert right.mean() > 0.85


def test_early_stopping_keeps_the_best_weights() -> None:
    trained = train(config(max_epochs=200, patience=5, learning_rate=0.03), NOISE)
    best = min(trained.epochs, key=lambda epoch: epoch.val_loss)
    assert trained.best == best
    assert len(trained.epochs) == best.number + 5 < 200
    inputs = torch.tensor(NOISE.validation.inputs)
    targets = torch.tensor(NOISE.validation.next_returns > 0, dtype=torch.float32)
    assert evaluate(trained.network, inputs, targets) == pytest.approx(best.val_loss, rel=1e-6)
    assert trained.epochs[-1].val_loss > best.val_loss
    assert not trained.network.training


def test_epochs_are_numbered_timed_and_reported() -> None:
    seen: list[Epoch] = []
    trained = train(config(max_epochs=4), LEARNABLE, seen.append)
    assert tuple(seen) == trained.epochs
    assert [epoch.number for epoch in seen] == [1, 2, 3, 4]
    times = [epoch.timestamp for epoch in seen]
    assert times == sorted(times)
    assert times[0] > 1_600_000_000_000


def test_features_are_standardised_with_the_training_part_alone() -> None:
    shifted = dataclasses.replace(LEARNABLE.validation, inputs=LEARNABLE.validation.inputs + 1000)
    network = train(config(max_epochs=1), TrainingData(LEARNABLE.train, shifted)).network
    expected = Standardisation.fit(LEARNABLE.train)
    np.testing.assert_allclose(network.feature_mean.numpy(), expected.mean, rtol=1e-6)
    np.testing.assert_allclose(network.feature_scale.numpy(), expected.scale, rtol=1e-6)


def test_a_loss_that_is_not_finite_ends_training() -> None:
    broken = dataclasses.replace(LEARNABLE.train, inputs=LEARNABLE.train.inputs.copy())
    broken.inputs[0, 0, 0] = np.nan
    threads = torch.get_num_threads()
    with pytest.raises(TrainingError, match="epoch 1"):
        train(config(), TrainingData(broken, LEARNABLE.validation))
    assert torch.get_num_threads() == threads


def test_no_epochs_is_an_error() -> None:
    with pytest.raises(TrainingError, match="max_epochs"):
        train(config(max_epochs=0), LEARNABLE)
