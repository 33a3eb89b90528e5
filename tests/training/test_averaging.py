"""Averages of weights, parameter groups and the learning rate of SWA: by hand, and beside torch's own."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import swa_utils
from training.toy import X_TRAIN, X_VAL, Y_TRAIN, Y_VAL, Trained, perceptron, same_weights, values_of

from agentnn.config.loader import load_config
from agentnn.errors import ConflictError, UsageError
from agentnn.training.loop.averaging import ExponentialAverage, StochasticAverage, renew_statistics
from agentnn.training.loop.optimisation import Schedule, build_optimizer, build_schedule
from agentnn.training.loop.parameter_groups import parameter_groups
from agentnn.training.loop.swa_schedule import SwaSchedule

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)


class One(nn.Module):
    """A single weight, and buffers of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([100.0], dtype=torch.float64))
        self.register_buffer("seen", torch.tensor(0))
        self.register_buffer("mean", torch.tensor(50.0, dtype=torch.float64))

    def become(self, value: float) -> None:
        """Take this weight, as a step of an optimizer would."""
        with torch.no_grad():
            self.weight.fill_(value)
            self.get_buffer("seen").fill_(int(value))
            self.get_buffer("mean").fill_(10 * value)


# --- the exponential average ----------------------------------------------------------------------


def test_an_exponential_average_by_hand() -> None:
    model = One()
    average = ExponentialAverage(model, 0.5)
    assert average.judged() is model
    found = []
    for value in (1.0, 2.0, 4.0):
        model.become(value)
        average.after_step()
        found.append(average.judged().weight.item())  # type: ignore[union-attr, operator]
    # (0.5·1 + 2) / 1.5, and (0.25·1 + 0.5·2 + 4) / 1.75: the weight of the beginning, 100, is not in it
    assert found == pytest.approx([1.0, 5 / 3, 3.0], rel=1e-12)
    judged = average.judged()
    assert (judged.seen.item(), judged.mean.item()) == (4, pytest.approx(30.0))  # type: ignore[operator, union-attr]
    assert not judged.training
    assert (model.weight.item(), model.weight.requires_grad) == (4.0, True)


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30),
    st.floats(0, 0.9999),
)
def test_it_is_the_weighted_mean_of_all_steps(values: list[float], decay: float) -> None:
    model = One()
    average = ExponentialAverage(model, decay)
    for value in values:
        model.become(value)
        average.after_step()
    shares = [decay**age for age in reversed(range(len(values)))]
    expected = sum(share * value for share, value in zip(shares, values, strict=True)) / sum(shares)
    assert average.judged().weight.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)  # type: ignore[union-attr, operator]


def trained_with(average: Any, torchs: swa_utils.AveragedModel, model: nn.Module, *, each_step: bool) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        for rows in torch.arange(96).split(16):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(X_TRAIN[rows]), Y_TRAIN[rows]).backward()
            optimizer.step()
            average.after_step()
            if each_step:
                torchs.update_parameters(model)
        average.after_epoch(X_TRAIN[:96].split(16))
        if not each_step and epoch >= 1:
            torchs.update_parameters(model)


def test_without_its_correction_it_is_torchs_to_the_last_bit() -> None:
    model = perceptron()
    torchs = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    average = ExponentialAverage(model, 0.9, correct_bias=False)
    trained_with(average, torchs, model, each_step=True)
    assert same_weights(average.judged().state_dict(), torchs.module.state_dict())


# --- the mean over epochs -------------------------------------------------------------------------


def test_a_mean_over_epochs_by_hand() -> None:
    model = One()
    average = StochasticAverage(model, after=1)
    found = []
    for value in (1.0, 2.0, 4.0, 9.0):
        model.become(value)
        average.after_step()
        average.after_epoch([])
        found.append(average.judged().weight.item())  # type: ignore[union-attr, operator]
    assert found == pytest.approx([1.0, 2.0, 3.0, 5.0], rel=1e-12)
    assert average.averaged == 3


def normalised() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1))


def test_mean_and_statistics_are_those_of_swa_utils() -> None:
    model = normalised()
    torchs = swa_utils.AveragedModel(model)
    average = StochasticAverage(model, after=1)
    trained_with(average, torchs, model, each_step=False)
    swa_utils.update_bn(X_TRAIN[:96].split(16), torchs)
    ours, theirs = average.judged().state_dict(), torchs.module.state_dict()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-6, atol=1e-7)
    assert not torch.equal(ours["1.running_mean"], model.state_dict()["1.running_mean"])


def test_statistics_are_measured_without_dropout_and_random_numbers() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4)).eval()
    before = torch.get_rng_state()
    renew_statistics(model, X_TRAIN[:96].split(48))
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(model[1].running_mean, X_TRAIN[:96].mean(dim=0))
    assert (model[1].training, model[1].momentum) == (False, 0.1)


# --- in the loop ----------------------------------------------------------------------------------


def averaged(epochs: int, kind: str, model: nn.Module | None = None, **given: Any) -> Trained:
    makes = {
        "ema": lambda one: ExponentialAverage(one, 0.9),
        "swa": lambda one: StochasticAverage(one, 2),
    }
    return Trained(epochs, model=model or normalised(), batch_size=20, make_averaging=makes[kind], **given)


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_what_is_judged_and_kept_is_the_average(kind: str) -> None:
    result = averaged(5, kind)
    with torch.no_grad():
        loss = nn.functional.mse_loss(result.model.eval()(X_VAL), Y_VAL).item()
    assert loss == pytest.approx(result.history["val_loss"][-1], rel=1e-6)
    plain = Trained(5, model=normalised(), batch_size=20)
    assert result.history["train_loss"] == plain.history["train_loss"]  # the steps are the same
    assert not same_weights(result.weights, plain.weights)
    best = averaged(5, kind, restore_best=True)
    with torch.no_grad():
        loss = nn.functional.mse_loss(best.model.eval()(X_VAL), Y_VAL).item()
    assert loss == pytest.approx(best.history.best_value, rel=1e-6)


class Killed(Exception):
    """Ends a training in its middle."""


@pytest.mark.parametrize("kind", ["ema", "swa"])
@pytest.mark.parametrize("last", [1, 4])
def test_resuming_with_an_average_is_bit_equal(kind: str, last: int, tmp_path: Path) -> None:
    def kill(epoch: int, values: object) -> None:
        if epoch == last + 1:
            raise Killed

    whole = averaged(6, kind)
    with pytest.raises(Killed):
        averaged(6, kind, checkpoint_dir=tmp_path, checkpoint_every_s=0, on_epoch=kill)
    resumed = averaged(6, kind, checkpoint_dir=tmp_path, resume=True)
    assert resumed.history.resumed_from == last
    assert same_weights(resumed.weights, whole.weights)
    assert values_of(resumed.history) == values_of(whole.history)


def test_another_average_is_not_gone_on_with(tmp_path: Path) -> None:
    averaged(2, "ema", checkpoint_dir=tmp_path)
    with pytest.raises(ConflictError, match=r"its average of the weights was ema, decay 0\.9, and is swa"):
        averaged(3, "swa", checkpoint_dir=tmp_path, resume=True)
    with pytest.raises(ConflictError, match="and is None now"):
        Trained(3, model=normalised(), batch_size=20, checkpoint_dir=tmp_path, resume=True)


def test_a_step_that_was_left_out_is_not_averaged() -> None:
    """Gradients of 16 bits that are not finite make no step."""
    seen = []

    class Counting(ExponentialAverage):
        def after_step(self) -> None:
            super().after_step()
            seen.append(self.steps)

    huge = (X_TRAIN * 1e4, Y_TRAIN * 1e4, X_VAL, Y_VAL)
    Trained(1, data=huge, precision="float16", batch_size=20, make_averaging=lambda one: Counting(one, 0.9))
    assert len(seen) < 5


@pytest.mark.parametrize("wrong", [lambda: ExponentialAverage(One(), 1.0), lambda: StochasticAverage(One(), -1)])
def test_wrong_averages(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong()


# --- the criterion's mode -------------------------------------------------------------------------


def test_a_criterion_knows_whether_the_model_learns() -> None:
    class Watching(nn.MSELoss):
        modes: list[tuple[bool, int]] = []

        def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:  # type: ignore[override]
            self.modes.append((self.training, len(outputs)))
            return super().forward(outputs, targets)

    criterion = Watching()
    Trained(1, criterion=criterion, batch_size=100)
    assert Watching.modes == [(True, 100), (False, 40)]
    assert criterion.training


# --- SWA's learning rate --------------------------------------------------------------------------


def rates_of(schedule: Schedule, optimizer: torch.optim.Optimizer, epochs: int) -> list[list[float]]:
    found = []
    for _ in range(epochs):
        found.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        schedule.after_step()
        schedule.after_epoch(0.0)
    return found


def two_groups() -> torch.optim.Optimizer:
    return torch.optim.SGD(
        [{"params": [nn.Parameter(torch.ones(1))], "lr": 1.0}, {"params": [nn.Parameter(torch.ones(1))], "lr": 2.0}],
        lr=1.0,
    )


@pytest.mark.parametrize("anneal", [0, 1, 4])
def test_the_learning_rate_is_that_of_swalr(anneal: int) -> None:
    optimizer, other = two_groups(), two_groups()
    ours = SwaSchedule(Schedule(), optimizer, [0.1, 0.2], after=3, anneal_epochs=anneal)
    theirs = swa_utils.SWALR(other, [0.1, 0.2], anneal_epochs=anneal)
    found = rates_of(ours, optimizer, 9)
    expected = [[1.0, 2.0]] * 3
    for _ in range(6):
        other.step()
        theirs.step()
        expected.append([group["lr"] for group in other.param_groups])
    assert found == [pytest.approx(one, rel=1e-9) for one in expected]


def test_the_schedule_before_it_is_left_where_it_is() -> None:
    config = load_config({"training": {"learning_rate": 1.0, "optimizer": "SGD", "epochs": 6, "warmup_steps": 2}})
    optimizer = build_optimizer(config.training, [nn.Parameter(torch.ones(1))])
    before = build_schedule(config.training, optimizer, 1)
    found = rates_of(SwaSchedule(before, optimizer, [0.25], after=4, anneal_epochs=2), optimizer, 7)
    assert [one for [one] in found] == pytest.approx([0.5, 1, 1, 1, 0.625, 0.25, 0.25])


def test_the_state_of_a_schedule_goes_on() -> None:
    def made() -> tuple[SwaSchedule, torch.optim.Optimizer]:
        optimizer = two_groups()
        before = Schedule(each_step=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5))
        return SwaSchedule(before, optimizer, [0.1, 0.2], after=2, anneal_epochs=3), optimizer

    whole, optimizer = made()
    expected = rates_of(whole, optimizer, 7)
    first, optimizer = made()
    found = rates_of(first, optimizer, 3)
    states = copy.deepcopy((first.state_dict(), optimizer.state_dict()))
    second, optimizer = made()
    optimizer.load_state_dict(states[1])
    second.load_state_dict(states[0])
    assert found + rates_of(second, optimizer, 4) == expected


# --- groups ---------------------------------------------------------------------------------------


def section(**given: Any) -> Any:
    return load_config({"training": {"learning_rate": 0.5, **given}}).training


def names_in(groups: list[dict[str, Any]], model: nn.Module) -> list[tuple[str, list[str], float, float | None]]:
    by_id = {id(one): name for name, one in model.named_parameters()}
    return [
        (one["name"], [by_id[id(weight)] for weight in one["params"]], one["lr"], one.get("weight_decay"))
        for one in groups
    ]


def test_groups_by_hand() -> None:
    model = normalised()
    assert names_in(parameter_groups(model, section()), model) == [
        ("all others", ["0.weight", "3.weight"], 0.5, None),
        ("all others, without decay", ["0.bias", "1.weight", "1.bias", "3.bias"], 0.5, 0.0),
    ]
    factors = {"3.*": 2.0, "*.bias": 0.1}
    assert names_in(parameter_groups(model, section(weight_decay=0.3), multipliers=factors), model) == [
        ("all others", ["0.weight"], 0.5, None),
        ("all others, without decay", ["1.weight"], 0.5, 0.0),
        ("3.*", ["3.weight"], 1.0, None),
        ("3.*, without decay", ["3.bias"], 1.0, 0.0),
        ("*.bias, without decay", ["0.bias", "1.bias"], 0.05, 0.0),
    ]
    for what in ({"optimizer": "Adam"}, {"weight_decay": 0.0}):  # nothing decays: nothing to leave out
        assert len(parameter_groups(model, section(**what))) == 1
    assert len(parameter_groups(model, section(), only_weights=False)) == 1
    model[0].requires_grad_(requires_grad=False)
    assert [names for _, names, _, _ in names_in(parameter_groups(model, section()), model)] == [
        ["3.weight"],
        ["1.weight", "1.bias", "3.bias"],
    ]


@pytest.mark.parametrize("factors", [{"headd.*": 2.0}, {"0.*": 0.0}, {"0.*": -1.0}, {"0.*": math.nan}, {"0.*": "2"}])
def test_wrong_groups(factors: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        parameter_groups(normalised(), section(), multipliers=factors)


@pytest.mark.parametrize("scheduler", ["constant", "cosine", "onecycle", "plateau", "step"])
def test_every_schedule_keeps_the_ratio_of_the_groups(scheduler: str) -> None:
    model = normalised()
    chosen = section(scheduler=scheduler, epochs=10, warmup_steps=3)
    optimizer = build_optimizer(chosen, parameter_groups(model, chosen, multipliers={"3.*": 4.0}))
    for one, _, other, _ in rates_of(build_schedule(chosen, optimizer, 1), optimizer, 10):
        assert other == pytest.approx(4 * one)
