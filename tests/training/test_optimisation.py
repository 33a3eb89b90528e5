"""Optimizers, schedules and losses, by their names; against torch and by hand."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import nn

from agentnn.config.loader import load_config
from agentnn.config.schema import Loss, Optimizer, Scheduler, TrainingSection
from agentnn.errors import ConfigError, UsageError
from agentnn.training.loop.optimisation import (
    QuantileLoss,
    Schedule,
    build_loss,
    build_optimizer,
    build_schedule,
    predicts_by,
)


def names_of(choice: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = get_args(choice)[1].names
    return names


def section(**training: Any) -> TrainingSection:
    return load_config({"training": training}).training


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3))]


# --- optimizers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names_of(Optimizer))
def test_every_optimizer_of_the_schema(name: str) -> None:
    optimizer = build_optimizer(section(optimizer=name, learning_rate=0.25), weights())
    assert type(optimizer) is getattr(torch.optim, name)
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_arguments_reach_the_optimizer_and_defaults_are_its_own() -> None:
    given = {"weight_decay": 0.5, "momentum": 0.9, "optimizer_params": {"nesterov": True}}
    group = build_optimizer(section(optimizer="sgd", **given), weights()).param_groups[0]
    assert (group["weight_decay"], group["momentum"], group["nesterov"]) == (0.5, 0.9, True)
    plain = build_optimizer(section(optimizer="AdamW"), weights()).param_groups[0]
    own = torch.optim.AdamW(weights()).param_groups[0]
    assert {key: plain[key] for key in ("betas", "weight_decay", "eps")} == {
        key: own[key] for key in ("betas", "weight_decay", "eps")
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "Adam", "momentum": 0.9}, r"training\.momentum: Adam has none"),
        ({"optimizer": "LBFGS", "weight_decay": 0.1}, r"training\.weight_decay: LBFGS has none"),
        ({"optimizer_params": {"beta": 1}}, r"training\.optimizer_params\.beta: unknown to AdamW"),
        ({"optimizer_params": {"lr": 1}}, r"training\.optimizer_params\.lr: unknown"),
        ({"optimizer_params": {"betas": [2, 3]}}, r"training\.optimizer_params: AdamW: Invalid beta"),
        ({"optimizer": "SGD", "optimizer_params": {"nesterov": True}}, r"training\.optimizer_params: SGD: Nesterov"),
    ],
)
def test_wrong_arguments_of_an_optimizer(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_optimizer(section(**given), weights())


# --- schedules ------------------------------------------------------------------------------------


def rates(steps_per_epoch: int = 2, monitored: list[float] | None = None, **training: Any) -> list[float]:
    """The learning rate of every step, with a full one of 1."""
    training = {"learning_rate": 1.0, "optimizer": "SGD", **training}
    config = section(**training)
    optimizer = build_optimizer(config, weights())
    schedule = build_schedule(config, optimizer, steps_per_epoch)
    found = []
    for epoch in range(config.epochs):
        for _ in range(steps_per_epoch):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.after_step()
        schedule.after_epoch(monitored[epoch] if monitored else 0.0)
    return found


def half_cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"epochs": 2}, [1, 1, 1, 1]),
        ({"epochs": 3, "warmup_steps": 4}, [0.25, 0.5, 0.75, 1, 1, 1]),
        ({"epochs": 3, "scheduler": "step"}, [1, 1, 0.1, 0.1, 0.01, 0.01]),
        (
            {"epochs": 4, "scheduler": "step", "scheduler_params": {"step_size": 2, "gamma": 0.5}},
            [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5],
        ),
        ({"epochs": 4, "scheduler": "multistep"}, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        ({"epochs": 3, "scheduler": "multistep", "scheduler_params": {"milestones": [1]}}, [1, 1, 0.1, 0.1, 0.1, 0.1]),
        ({"epochs": 3, "scheduler": "exponential", "scheduler_params": {"gamma": 0.5}}, [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({"epochs": 3, "scheduler": "exponential"}, [1, 1, 0.95, 0.95, 0.9025, 0.9025]),
        ({"epochs": 2, "scheduler": "cosine"}, [half_cosine(step / 4) for step in range(4)]),
        (
            {"epochs": 2, "scheduler": "cosine", "scheduler_params": {"eta_min": 0.2}},
            [0.2 + 0.8 * half_cosine(step / 4) for step in range(4)],
        ),
        (
            {"epochs": 2, "scheduler": "cosine", "warmup_steps": 2},
            [0.5, half_cosine(1 / 4), half_cosine(2 / 4), half_cosine(3 / 4)],
        ),
        (
            {"epochs": 3, "scheduler": "warmup_cosine", "warmup_steps": 2},
            [0.5, 1, 1, half_cosine(1 / 4), half_cosine(2 / 4), half_cosine(3 / 4)],
        ),
    ],
)
def test_schedules_by_hand(training: dict[str, Any], expected: list[float]) -> None:
    assert rates(**training) == pytest.approx(expected)


def test_the_warm_up_of_a_cosine_is_a_tenth_unless_it_is_said() -> None:
    found = rates(epochs=20, scheduler="warmup_cosine")
    assert found[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert found[-1] < 0.01


def test_plateau_falls_where_nothing_gets_better() -> None:
    monitored = [3.0, 2.0, 2.0, 2.0]
    params = {"patience": 0, "factor": 0.5}
    assert rates(epochs=4, scheduler="plateau", scheduler_params=params, monitored=monitored) == pytest.approx(
        [1, 1, 1, 1, 1, 1, 0.5, 0.5]
    )
    warm = rates(epochs=4, scheduler="plateau", scheduler_params=params, monitored=monitored, warmup_steps=4)
    assert warm == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5])
    going_up = {"monitored": [1.0, 2.0, 3.0], "monitor": "merit", "monitor_mode": "max"}
    rising = rates(epochs=3, scheduler="plateau", scheduler_params=params, **going_up)
    assert rising == [1.0] * 6


def test_onecycle_is_torchs_own() -> None:
    optimizer = torch.optim.SGD(weights(), lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=20, pct_start=0.25)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates(epochs=10, scheduler="onecycle", warmup_steps=5) == pytest.approx(expected)


@pytest.mark.parametrize("name", names_of(Scheduler))
@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_every_schedule_goes_on_where_it_was(name: str, warmup_steps: int) -> None:
    config = section(epochs=6, scheduler=name, warmup_steps=warmup_steps, optimizer="SGD")

    def go(optimizer: torch.optim.Optimizer, schedule: Schedule, epochs: int) -> list[float]:
        found = []
        for _ in range(epochs):
            for _ in range(2):
                optimizer.step()
                schedule.after_step()
            schedule.after_epoch(1.0)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    def begun() -> tuple[torch.optim.Optimizer, Schedule]:
        optimizer = build_optimizer(config, weights())
        return optimizer, build_schedule(config, optimizer, 2)

    whole = go(*begun(), 6)
    optimizer, schedule = begun()
    first = go(optimizer, schedule, 2)
    other, resumed = begun()
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert first + go(other, resumed, 4) == whole


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scheduler": "step", "scheduler_params": {"gama": 0.1}}, r"scheduler_params\.gama: unknown to step"),
        ({"scheduler_params": {"gamma": 0.1}}, r"scheduler_params\.gamma: unknown to constant"),
        ({"scheduler": "step", "scheduler_params": {"step_size": 0}}, "scheduler_params: step"),
        ({"scheduler": "step", "scheduler_params": {"gamma": "a"}}, "scheduler_params: step"),
        ({"scheduler": "onecycle", "scheduler_params": {"total_steps": 5}}, "total_steps: unknown to onecycle"),
        ({"scheduler": "onecycle", "warmup_steps": 900}, "scheduler_params: onecycle"),
        ({"scheduler": "plateau", "scheduler_params": {"factor": 2.0}}, "scheduler_params: plateau"),
        ({"scheduler": "multistep", "scheduler_params": {"milestones": 3}}, "scheduler_params: multistep"),
    ],
)
def test_wrong_arguments_of_a_schedule(given: dict[str, Any], message: str) -> None:
    config = section(epochs=4, **given)
    with pytest.raises(ConfigError, match=message):
        build_schedule(config, build_optimizer(config, weights()), 2)


# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names_of(Loss))
def test_every_loss_of_the_schema_is_a_mean(name: str) -> None:
    outputs = torch.tensor([[0.5, -1.0, 2.0], [0.1, 0.2, 0.3]])
    targets = torch.tensor([0, 2]) if name == "cross_entropy" else torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    loss = build_loss(name, {}, output_dim=3)
    once, twice = loss(outputs, targets), loss(outputs.repeat(2, 1), torch.cat([targets, targets]))
    assert once.ndim == 0
    assert once == pytest.approx(twice)
    others = {"bce": "probability", "gce": "probability", "cross_entropy": "classes"}
    assert predicts_by(name) == others.get(name, "value")


def test_the_pinball_loss_by_hand() -> None:
    loss = build_loss("quantile", {"quantiles": [0.1, 0.9]}, output_dim=2)
    outputs, targets = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0]])
    assert loss(outputs, targets).item() == pytest.approx((0.1 * 1.0 + 0.1 * 1.0) / 2)
    assert loss(outputs, torch.tensor([[0.0]])).item() == pytest.approx((0.9 * 1.0 + 0.1 * 3.0) / 2)


def test_the_minimum_of_the_pinball_loss_is_the_quantile() -> None:
    targets = torch.arange(101.0).unsqueeze(1)
    guesses = torch.arange(101.0)
    for quantile in (0.1, 0.5, 0.9):
        losses = [QuantileLoss([quantile])(torch.full_like(targets, float(guess)), targets).item() for guess in guesses]
        assert guesses[losses.index(min(losses))] == pytest.approx(100 * quantile, abs=1)


def test_quantiles_divide_the_distribution_unless_they_are_said() -> None:
    loss = build_loss("quantile", {}, output_dim=3)
    assert loss.quantiles.tolist() == [0.25, 0.5, 0.75]
    with pytest.raises(UsageError, match="2 outputs can't be 3 quantiles"):
        loss(torch.zeros(4, 2), torch.zeros(4, 1))


def test_arguments_of_a_loss() -> None:
    assert build_loss("huber", {"delta": 0.5}).delta == 0.5
    assert build_loss("bce", {"pos_weight": 3.0}).pos_weight == 3.0
    assert build_loss("cross_entropy", {"weight": [1, 2], "label_smoothing": 0.1}, output_dim=2).weight.tolist() == [
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("mse", {"delta": 1.0}, r"training\.params\.loss_params\.delta: unknown to mse"),
        ("mse", {"reduction": "sum"}, "reduction: unknown to mse"),
        ("huber", {"delta": -1.0}, "loss_params: huber"),
        ("quantile", {"quantiles": [0.5, 1.5]}, "between 0 and 1"),
        ("quantile", {"quantiles": 0.5}, "loss_params: quantile"),
        ("quantile", {"quantiles": [0.1, 0.9]}, "1 outputs can't be 2 quantiles"),
        ("cross_entropy", {"weight": [1, 2, 3]}, "loss_params: cross_entropy"),
        ("bce", {"pos_weight": "a"}, "loss_params: bce"),
    ],
)
def test_wrong_arguments_of_a_loss(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_loss(name, params)
