"""The training loop."""

from __future__ import annotations

import copy
import io
import math
import random
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from training.toy import (
    X_TRAIN,
    X_VAL,
    Y_TRAIN,
    Y_VAL,
    Trained,
    perceptron,
    same_weights,
    toy_data,
    values_of,
)

from agentnn.errors import TrainingError, UsageError
from agentnn.training.train_nn_model import History, TrainingOptions, train_model


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: Any, step: int) -> None:
        self.calls.append((step, dict(metrics)))


# --- the bare call --------------------------------------------------------------------------------


def test_the_seeds_call_as_it_is_written() -> None:
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    data = (torch.randn(100, 10), torch.randn(100, 1), torch.randn(20, 10), torch.randn(20, 1))
    log = Log()
    history = train_model(model, *data, optimizer, nn.MSELoss(), 4, log)
    assert [len(history[name]) for name in ("train_loss", "val_loss", "learning_rate")] == [4, 4, 4]
    with torch.no_grad():
        final = nn.functional.mse_loss(model.eval()(data[2]), data[3]).item()
    assert history["val_loss"][-1] == pytest.approx(final, rel=1e-6)
    assert [step for step, _ in log.calls] == [1, 2, 3, 4]
    assert log.calls[-1][1]["val_loss"] == history["val_loss"][-1]


def by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int, batch_size: int) -> list[float]:
    """A loop without anything to it; gives the mean losses of the batches, weighted by their samples."""
    losses = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(X_TRAIN)).split(batch_size):
            loss = nn.functional.mse_loss(model(X_TRAIN[rows]), Y_TRAIN[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / len(X_TRAIN))
    return losses


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_the_steps_are_those_of_a_loop_by_hand(kind: type[torch.optim.Optimizer]) -> None:
    model = perceptron(dropout=0.3)
    torch.manual_seed(3)
    losses = by_hand(model, kind(model.parameters(), lr=0.01), epochs=3, batch_size=16)
    other = perceptron(dropout=0.3)
    torch.manual_seed(3)
    trained = Trained(3, model=other, optimizer=kind(other.parameters(), lr=0.01), seed=None)
    assert same_weights(trained.weights, model.state_dict())
    assert trained.history["train_loss"] == pytest.approx(losses, rel=1e-5)


def test_an_epoch_meets_every_sample_once_in_another_order() -> None:
    met: list[int] = []

    class Watching(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            if self.training:
                met.extend(inputs[:, 0].int().tolist())
            return super().forward(inputs)

    numbered = torch.arange(50.0).unsqueeze(1)
    model = Watching(1, 1)
    data = (numbered, numbered, numbered, numbered)
    Trained(2, model=model, data=data, optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
    assert sorted(met[:50]) == sorted(met[50:]) == list(range(50))
    assert met[:50] != met[50:]
    met.clear()
    Trained(2, model=model, data=data, optimizer=torch.optim.SGD(model.parameters(), lr=0.0), shuffle=False)
    assert met == [*range(50), *range(50)]


# --- random numbers -------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    first, second, other = Trained(), Trained(), Trained(seed=6)
    assert same_weights(first.weights, second.weights)
    assert values_of(first.history) == values_of(second.history)
    assert not same_weights(first.weights, other.weights)


def test_what_the_process_had_is_as_it_was() -> None:
    def state() -> list[object]:
        return [
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            random.getstate(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.backends.cudnn.benchmark,
        ]

    before = state()
    seen: list[object] = []

    def look(epoch: int, values: object) -> None:
        seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))

    Trained(1, num_threads=1, deterministic=True, on_epoch=look)
    assert state() == before
    assert seen == [(1, True)]
    with pytest.raises(ZeroDivisionError):
        Trained(1, num_threads=1, deterministic=True, on_epoch=lambda epoch, values: 1 / 0)
    assert state() == before


def test_the_number_of_threads_makes_no_difference_where_it_is_given() -> None:
    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            runs.append(Trained(num_threads=1).weights)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert same_weights(*runs)


def test_without_a_seed_random_numbers_go_on() -> None:
    torch.manual_seed(1)
    first, second = Trained(1, seed=None), Trained(1, seed=None)
    assert not same_weights(first.weights, second.weights)
    torch.manual_seed(1)
    assert same_weights(first.weights, Trained(1, seed=None).weights)


def test_each_modules_mode_is_left_as_it_was() -> None:
    model = perceptron(dropout=0.5)
    model[2].eval()
    Trained(1, model=model)
    assert [one.training for one in model.modules()] == [True, True, True, False, True]
    model.eval()
    Trained(1, model=model)
    assert not any(one.training for one in model.modules())


# --- accumulation, clipping, precision ------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "accumulate_steps"), [(8, 4), (1, 32), (16, 2), (5, 7)])
def test_accumulated_batches_are_one_batch_also_the_last_incomplete_one(batch_size: int, accumulate_steps: int) -> None:
    def trained(**options: int) -> Trained:
        model = perceptron()
        return Trained(2, model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **options)

    whole = trained(batch_size=batch_size * accumulate_steps)
    parts = trained(batch_size=batch_size, accumulate_steps=accumulate_steps)
    for name, value in whole.weights.items():
        torch.testing.assert_close(parts.weights[name], value, rtol=1e-4, atol=1e-6)
    assert parts.history["train_loss"] == pytest.approx(whole.history["train_loss"], rel=1e-5)


@pytest.mark.parametrize("accumulate_steps", [1, 3])
def test_gradients_are_clipped_to_a_norm(accumulate_steps: int) -> None:
    """With plain gradient descent and a rate of 1, a step is the gradient: none is longer than the norm."""
    model = perceptron()
    before = [nn.utils.parameters_to_vector(model.parameters()).detach().clone()]
    steps: list[float] = []

    def measure(epoch: int, values: object) -> None:
        now = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        steps.append((now - before[0]).norm().item())
        before[0] = now

    Trained(
        3, model=model, optimizer=torch.optim.SGD(model.parameters(), lr=1.0), clip_norm=0.01, on_epoch=measure,
        batch_size=-(-100 // accumulate_steps), accumulate_steps=accumulate_steps,
    )  # fmt: skip
    assert steps == [pytest.approx(0.01, rel=1e-3)] * 3


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_and_keeps_whole_weights(precision: str) -> None:
    seen: set[torch.dtype] = set()

    class Watching(nn.Sequential):
        def forward(self, inputs: Tensor) -> Tensor:
            outputs = super().forward(inputs)
            seen.add(outputs.dtype)
            return outputs

    model = Watching(*perceptron())
    trained = Trained(15, model=model, precision=precision, clip_norm=5.0)
    assert seen == {getattr(torch, precision)}
    assert all(weights.dtype == torch.float32 for weights in model.parameters())
    assert trained.history["val_loss"][-1] < 0.2 * trained.history["val_loss"][0]


def test_a_step_that_overflows_16_bits_is_left_out() -> None:
    """The scale of the gradients begins at 65536: the first steps overflow, and change nothing."""
    model = perceptron()
    before = copy.deepcopy(model.state_dict())
    inputs, targets = X_TRAIN, Y_TRAIN * 1000
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer := torch.optim.SGD(model.parameters(), lr=1e-6), 1e-6, total_steps=7
    )
    trained = Trained(
        1, model=model, optimizer=optimizer, scheduler=schedule, data=(inputs, targets, inputs, targets),
        precision="float16", batch_size=100,
    )  # fmt: skip
    assert same_weights(before, trained.weights)
    assert schedule.last_epoch == 0
    assert math.isfinite(trained.history["train_loss"][0])


def test_lbfgs_is_asked_again_within_a_step() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1.0, line_search_fn="strong_wolfe")
    trained = Trained(3, model=model, optimizer=optimizer, batch_size=100)
    assert trained.history["val_loss"][-1] < 0.02
    assert trained.history["train_loss"][0] > trained.history["train_loss"][-1]
    with pytest.raises(UsageError, match="LBFGS"):
        Trained(1, model=model, optimizer=optimizer, precision="float16")


# --- schedulers -----------------------------------------------------------------------------------


def test_a_scheduler_of_epochs_is_told_of_epochs() -> None:
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    history = Trained(3, model=model, optimizer=optimizer, scheduler=scheduler, clip_norm=0.1).history
    assert history["learning_rate"] == [1.0, 0.5, 0.25]


def test_a_scheduler_of_steps_is_told_of_steps() -> None:
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=14)
    Trained(2, model=model, optimizer=optimizer, scheduler=scheduler)
    assert scheduler.last_epoch == 14
    Trained(1, model=model, optimizer=optimizer, scheduler=scheduler)  # beyond its end its last value stays


def test_plateau_looks_at_what_is_monitored() -> None:
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0, factor=0.1)
    worse = iter([3.0, 2.0, 1.0, 0.0])
    history = Trained(
        4, model=model, optimizer=optimizer, scheduler=scheduler, monitor="merit", monitor_mode="max",
        metrics={"merit": lambda outputs, targets: next(worse)},
    ).history  # fmt: skip
    assert history["learning_rate"] == pytest.approx([0.1, 0.1, 0.01, 0.001])


# --- the best epoch -------------------------------------------------------------------------------


def merits(*values: float) -> dict[str, Any]:
    left = iter(values)
    return {"metrics": {"merit": lambda outputs, targets: next(left)}, "monitor": "merit", "monitor_mode": "max"}


def test_patience_ends_training() -> None:
    history = Trained(10, patience=2, **merits(1.0, 3.0, 2.0, 3.0, 9.0)).history
    assert (history.best_epoch, history.best_value, history.epochs, history.stopped_early) == (2, 3.0, 4, True)
    history = Trained(4, patience=2, **merits(1.0, 3.0, 2.0, 3.0)).history
    assert not history.stopped_early


def test_min_delta_says_what_is_better() -> None:
    history = Trained(4, min_delta=0.5, **merits(1.0, 1.4, 1.6, 2.0)).history
    assert (history.best_epoch, history.best_value) == (3, 1.6)


def test_a_value_that_is_not_finite_is_never_best() -> None:
    history = Trained(4, **merits(math.nan, 1.0, math.inf, 0.5)).history
    assert (history.best_epoch, history.best_value) == (2, 1.0)
    history = Trained(5, patience=2, **merits(math.nan, math.nan, math.nan)).history
    assert (history.best_epoch, history.epochs, history.stopped_early) == (0, 2, True)
    assert math.isnan(history.best_value)


def test_the_best_weights_come_back_where_that_is_wanted() -> None:
    kept: dict[int, dict[str, Tensor]] = {}
    model = perceptron()

    def keep(epoch: int, values: object) -> None:
        kept[epoch] = copy.deepcopy(model.state_dict())

    restored = Trained(4, model=model, restore_best=True, on_epoch=keep, **merits(1.0, 3.0, 2.0, 0.0))
    assert same_weights(restored.weights, kept[2])
    model = perceptron()
    left = Trained(4, model=model, on_epoch=keep, **merits(1.0, 3.0, 2.0, 0.0))
    assert same_weights(left.weights, kept[4])


# --- what is told ---------------------------------------------------------------------------------


def test_metrics_are_those_of_the_whole_validation_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def mae(outputs: Tensor, targets: Tensor) -> float:
        assert outputs.shape == targets.shape == (40, 1)
        return nn.functional.l1_loss(outputs, targets).item()

    whole = Trained(2, metrics={"val_mae": mae})
    monkeypatch.setattr("agentnn.training.loop.steps.VALUES_AT_ONCE", 1)
    parts = Trained(2, metrics={"val_mae": mae})
    for name in ("val_loss", "val_mae"):
        assert whole.history[name] == pytest.approx(parts.history[name], rel=1e-5)
    with torch.no_grad():
        assert whole.history["val_mae"][-1] == pytest.approx(mae(whole.model.eval()(X_VAL), Y_VAL), rel=1e-5)


def test_validation_takes_a_bounded_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Watching(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            if not self.training:
                sizes.append(len(inputs))
            return super().forward(inputs)

    monkeypatch.setattr("agentnn.training.loop.steps.VALUES_AT_ONCE", 4 * 15)
    Trained(1, model=Watching(4, 1), batch_size=8)
    assert sizes == [15, 15, 10]


def test_log_every_and_the_last() -> None:
    log = Log()
    Trained(5, logger=log, log_every=2)
    assert [step for step, _ in log.calls] == [2, 4, 5]
    log = Log()
    Trained(9, logger=log, log_every=4, patience=2, **merits(1.0, 0.5, 0.4))
    assert [step for step, _ in log.calls] == [3]
    assert set(log.calls[0][1]) == {"train_loss", "val_loss", "learning_rate", "epoch_seconds", "merit"}


def test_on_epoch_is_told_and_what_it_raises_goes_through() -> None:
    seen: list[int] = []

    def stop(epoch: int, values: Any) -> None:
        seen.append(epoch)
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trained(5, on_epoch=stop)
    assert seen == [1, 2]


def test_nothing_is_printed_unless_on_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    Trained(2, progress=True)
    assert capfd.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_shown_on_a_terminal(progress: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr("agentnn.training.loop.progress_bar._REFRESH_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    Trained(2, progress=progress)
    assert ("epoch 2 of 2  train_loss" in terminal.getvalue()) == progress


# --- data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["list", "numpy", "float64", "frame", "reversed", "read-only"])
def test_arrays_lists_and_frames_are_taken(kind: str) -> None:
    def given(tensor: Tensor) -> Any:
        array = tensor.numpy().copy()
        array.flags.writeable = kind != "read-only"
        return {
            "list": lambda: array.tolist(),
            "float64": lambda: array.astype(np.float64),
            "frame": lambda: pd.DataFrame(array),
            "reversed": lambda: np.ascontiguousarray(array[::-1])[::-1],
        }.get(kind, lambda: array)()

    trained = Trained(1, data=tuple(given(one) for one in (X_TRAIN, Y_TRAIN, X_VAL, Y_VAL)))
    assert same_weights(trained.weights, Trained(1).weights)


def test_one_value_a_sample_needs_no_axis() -> None:
    """(n,) against (n, 1) would broadcast to (n, n), silently."""
    flat = Trained(3, data=(X_TRAIN, Y_TRAIN[:, 0], X_VAL, Y_VAL[:, 0]))
    assert same_weights(flat.weights, Trained(3).weights)
    model = nn.Sequential(perceptron(dropout=0.2), nn.Flatten(0))  # gives (n,) for targets of (n, 1)
    other = Trained(3, model=model)
    assert list(other.history["val_loss"]) == pytest.approx(flat.history["val_loss"], rel=1e-6)


@pytest.mark.parametrize("targets", [torch.ones(100, 2), torch.ones(100, 1, 3), torch.ones(100, 100)])
def test_targets_that_do_not_fit_the_outputs_are_refused_with_both_shapes(targets: Tensor) -> None:
    shapes = rf"\(16, {', '.join(map(str, targets.shape[1:]))}\) don't fit outputs of shape \(16, 1\)"
    with pytest.raises(UsageError, match=shapes):
        Trained(1, data=(X_TRAIN, targets, X_VAL, Y_VAL))


def test_three_targets_for_three_samples_are_not_a_matrix() -> None:
    """Where n is the number of outputs, torch would not even warn."""
    with pytest.raises(UsageError, match="don't fit"):
        Trained(1, model=perceptron(outputs=3), data=(X_TRAIN[:3], torch.ones(3), X_VAL[:3], torch.ones(3)))


def test_classes_and_whole_numbers() -> None:
    classes = torch.arange(100) % 3
    data = (X_TRAIN, classes, X_VAL, classes[:40])
    model = perceptron(outputs=3)
    flat = Trained(2, model=model, data=data, criterion=nn.CrossEntropyLoss())
    column = Trained(
        2, model=perceptron(outputs=3), data=(X_TRAIN, classes[:, None], X_VAL, classes[:40, None]),
        criterion=nn.CrossEntropyLoss(),
    )  # fmt: skip
    assert same_weights(flat.weights, column.weights)
    whole = Trained(1, data=(X_TRAIN, classes, X_VAL, classes[:40]))
    floats = Trained(1, data=(X_TRAIN, classes.float(), X_VAL, classes[:40].float()))
    assert same_weights(whole.weights, floats.weights)
    up = Trained(1, data=(X_TRAIN, Y_TRAIN > 0, X_VAL, Y_VAL > 0), criterion=nn.BCEWithLogitsLoss())
    assert up.history["val_loss"][0] < 1


def test_a_criterion_of_ones_own_may_take_other_shapes() -> None:
    def gaussian(outputs: Tensor, targets: Tensor) -> Tensor:
        mean, log_scale = outputs.split(1, dim=1)
        return (log_scale + 0.5 * ((targets - mean) / log_scale.exp()).square()).mean()

    history = Trained(5, model=perceptron(outputs=2), criterion=gaussian).history
    assert history["val_loss"][-1] < history["val_loss"][0]


BROKEN = X_TRAIN.clone()
BROKEN[3, 1] = math.nan
BROKEN[4, 0] = math.inf


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X_TRAIN[:0], Y_TRAIN[:0], X_VAL, Y_VAL), r"X_train is empty: its shape is \(0, 4\)"),
        ((X_TRAIN, Y_TRAIN, X_VAL[:0], Y_VAL[:0]), "X_val is empty"),
        ((X_TRAIN, Y_TRAIN[:99], X_VAL, Y_VAL), "X_train holds 100 samples, but y_train 99"),
        ((X_TRAIN, Y_TRAIN, X_VAL, Y_VAL[:1]), "X_val holds 40 samples, but y_val 1"),
        ((BROKEN, Y_TRAIN, X_VAL, Y_VAL), "X_train holds NaN or infinite values in 2 of 100 samples"),
        ((X_TRAIN, BROKEN, X_VAL, Y_VAL), "y_train holds NaN"),
        ((X_TRAIN, Y_TRAIN, BROKEN[:40], Y_VAL), "X_val holds NaN"),
        ((np.array([["a"]] * 100), Y_TRAIN, X_VAL, Y_VAL), "X_train is not an array of numbers"),
        ((None, Y_TRAIN, X_VAL, Y_VAL), "X_train is not an array of numbers"),
        ((X_TRAIN, torch.tensor(1.0), X_VAL, Y_VAL), "y_train is empty"),
    ],
)
def test_data_that_can_not_be_learnt_from_are_refused(data: tuple[Any, ...], message: str) -> None:
    model = perceptron()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UsageError, match=message):
        Trained(1, model=model, data=data)
    assert same_weights(before, model.state_dict())


def test_a_batch_may_be_larger_than_the_data() -> None:
    assert same_weights(Trained(2, batch_size=100).weights, Trained(2, batch_size=10_000).weights)


def test_no_epochs_change_nothing() -> None:
    trained = Trained(0)
    assert same_weights(trained.weights, perceptron().state_dict())
    assert (trained.history.epochs, trained.history.best_epoch, trained.history.stopped_early) == (0, 0, False)
    assert trained.history["val_loss"] == []


@pytest.mark.parametrize("epochs", [-1, 2.0, True, "3"])
def test_epochs_are_whole_numbers(epochs: Any) -> None:
    with pytest.raises(UsageError, match="epochs"):
        Trained(epochs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"accumulate_steps": 1.5}, "accumulate_steps"),
        ({"patience": 0}, "patience"),
        ({"num_threads": 0}, "num_threads"),
        ({"log_every": True}, "log_every"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"precision": "float8"}, "precision"),
        ({"monitor_mode": "best"}, "monitor_mode"),
        ({"resume": True}, "checkpoint_dir"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainingOptions(**options)
    assert message in caught.value.message + caught.value.hint


def test_what_can_not_be_monitored_is_said_before_training() -> None:
    with pytest.raises(UsageError, match="'val_merit' can't be monitored") as caught:
        Trained(1, monitor="val_merit", metrics={"merit": lambda outputs, targets: 1.0})
    assert "val_loss" in caught.value.hint and "merit" in caught.value.hint
    with pytest.raises(UsageError, match="can't be called val_loss"):
        Trained(1, metrics={"val_loss": lambda outputs, targets: 1.0})


def test_criteria_that_are_no_mean_are_refused() -> None:
    for reduction in ("sum", "none"):
        with pytest.raises(UsageError, match="mean"):
            Trained(1, criterion=nn.MSELoss(reduction=reduction))
    with pytest.raises(UsageError, match=r"shape \(16, 1\), not one number"):
        Trained(1, criterion=lambda outputs, targets: (outputs - targets).square())
    with pytest.raises(UsageError, match=r"a float, not one number"):
        Trained(1, criterion=lambda outputs, targets: 1.0)


def test_a_model_that_gives_no_tensor() -> None:
    model = nn.LSTM(4, 3)
    with pytest.raises(UsageError, match="gives a tuple, not a tensor"):
        Trained(1, model=model)


# --- a loss that is lost --------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_training() -> None:
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e30)
    log = Log()
    with pytest.raises(TrainingError, match=r"the (train|val)_loss is no longer finite in epoch 1") as caught:
        Trained(5, model=model, optimizer=optimizer, logger=log)
    assert caught.value.exit_code == 8
    assert "learning rate" in caught.value.hint and "clip_norm" in caught.value.hint
    assert log.calls == []


def test_a_criterion_moves_with_the_model() -> None:
    """Where there is no other device, that it is asked to is all that can be seen."""
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))
    Trained(1, data=(X_TRAIN, Y_TRAIN > 0, X_VAL, Y_VAL > 0), criterion=criterion, device="cpu")
    with pytest.raises(UsageError, match="cuda:7") as caught:
        Trained(1, device="cuda:7")
    assert "cpu" in caught.value.hint


def test_a_history_is_read_as_every_other(tmp_path: Any) -> None:
    from agentnn.tracking.capture.training_history import read_history

    history = Trained(3).history
    assert isinstance(history, History)
    assert read_history(history).series["val_loss"] == tuple(history["val_loss"])
    assert read_history(history).epochs == 3


def test_the_data_are_not_changed() -> None:
    data = (*toy_data(30, 1), *toy_data(10, 2))
    before = [one.clone() for one in data]
    Trained(2, data=data)
    assert all(torch.equal(one, other) for one, other in zip(data, before, strict=True))
