"""Parts of learning several tasks: labels that are missing, losses, their balance, and the network; by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Laplace, Normal
from torch.nn import functional

from agentnn.errors import UsageError
from agentnn.nn_models.multi_task.balance import (
    FixedBalance,
    GradNorm,
    UncertaintyBalance,
    gradnorm_gradient,
    renormalised,
)
from agentnn.nn_models.multi_task.criterion import CombinedLoss, Trainee
from agentnn.nn_models.multi_task.labels import label_counts, label_scale, packed_labels
from agentnn.nn_models.multi_task.losses import TaskLosses
from agentnn.nn_models.multi_task.metrics import metrics_of
from agentnn.nn_models.multi_task.network import MultiTaskConfig, MultiTaskNetwork
from agentnn.nn_models.multi_task.tasks import Task, checked_tasks, output_places
from agentnn.training.families import FAMILIES
from agentnn.training.networks import NetworkConfig

torch.set_num_threads(1)
NAN = math.nan
UP = Task(name="up", kind="direction")
RETURN = Task(name="ret", kind="return")
VOLATILITY = Task(name="vol", kind="volatility", loss="mae")
CLASSES = Task(name="cls", kind="classes", classes=3)
QUANTILES = Task(name="q", kind="quantiles", quantiles=(0.1, 0.5, 0.9))
ALL = (UP, RETURN, VOLATILITY, CLASSES, QUANTILES)


def network_of(tasks: tuple[Task, ...] = ALL, family: str = "gru", fusion: Any = "attention", **more: Any) -> Any:
    """Always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        encoder = NetworkConfig(family=family, n_features=2, window=4, hidden_layers=(8,))
        return MultiTaskNetwork(MultiTaskConfig(encoder, tasks, fusion, **more))


def labels_of(count: int, seed: int = 0) -> np.ndarray:
    """Labels of all tasks, of which every third is missing somewhere."""
    numbers = np.random.default_rng(seed)
    values = numbers.normal(size=count)
    table = np.stack([values > 0, values, np.abs(values), numbers.integers(0, 3, count), values], axis=1).astype(float)
    table[numbers.random(table.shape) < 0.3] = NAN
    return table


# --- labels ---------------------------------------------------------------------------------------


def test_missing_labels_are_masked_and_the_rest_is_scaled():
    packed = packed_labels({"up": [1, NAN, 0], "ret": [3.0, 5.0, NAN]}, (UP, RETURN), "y")
    assert packed.tolist() == [[1, 3, 1, 1], [0, 5, 0, 1], [0, 0, 1, 0]]
    assert label_counts(packed).tolist() == [2, 2]
    scale = label_scale(packed, (UP, RETURN))
    assert scale.mean.tolist() == [0, 4]
    assert scale.scale.tolist() == [1, 1]
    assert torch.equal(packed, packed_labels(np.array([[1, 3], [NAN, 5], [0, NAN]]), (UP, RETURN), "y"))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"up": [1.0]}, "y has labels of up, but the tasks are ret, up"),
        ({"up": [1.0, 0.0], "ret": [1.0]}, "y has labels of 2, 1 samples"),
        (np.zeros((3, 3)), r"y has the shape \(3, 3\), not \(samples, 2\)"),
        ({"up": [0.5, 1.0], "ret": [1.0, 2.0]}, "a label of the task up that is none of 0 to 1"),
        ({"up": [1.0, 0.0], "ret": [math.inf, 1.0]}, "an infinite label of the task ret"),
        ({"up": [1.0, 0.0], "ret": [NAN, NAN]}, "y has no label of the task ret"),
        ({"up": ["a", "b"], "ret": [1.0, 1.0]}, "is not an array of numbers"),
    ],
)
def test_labels_that_do_not_fit(labels: Any, message: str):
    with pytest.raises(UsageError, match=message):
        packed_labels(labels, (UP, RETURN), "y")


def test_labels_of_volatility_and_classes_are_checked():
    with pytest.raises(UsageError, match="a negative label of the task vol"):
        packed_labels([[-1.0]], (VOLATILITY,), "y")
    with pytest.raises(UsageError, match="of the task cls that is none of 0 to 2"):
        packed_labels([3.0], (CLASSES,), "y")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "a b", "kind": "return"}, "can't be the name of a task"),
        ({"name": "a", "kind": "price"}, "unknown kind 'price'"),
        ({"name": "a", "kind": "return", "weight": 0}, "the weight must be greater than 0"),
        ({"name": "a", "kind": "classes", "classes": 1}, "classes must be a whole number of at least 2"),
        ({"name": "a", "kind": "quantiles", "quantiles": [0.5, 0.5]}, "quantiles lie between 0 and 1 and ascend"),
    ],
)
def test_tasks_that_are_wrong(wrong: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        Task(**wrong)


def test_tasks_need_names_of_their_own():
    with pytest.raises(UsageError, match="two tasks are called 'up'"):
        checked_tasks([UP, UP])
    with pytest.raises(UsageError, match="there is no task"):
        checked_tasks([])


# --- losses ---------------------------------------------------------------------------------------


def test_each_loss_by_hand():
    outputs = torch.tensor([[2.0, 1.0, 3.0, 0.0, 1.0, 2.0, -1.0, 0.0, 1.0]])
    packed = packed_labels([[1.0, 4.0, 1.0, 2.0, 0.5]], ALL, "y")
    scale = torch.tensor([1.0, 2.0, 4.0, 1.0, 0.5])
    means = [float(one) for one in TaskLosses(ALL, scale)(outputs, packed).means]
    pinball = (0.1 * 3 + 0.5 * 1 + (1 - 0.9) * 1) / 3  # errors 1.5, 0.5 and -0.5, over 0.5
    expected = [math.log(1 + math.exp(-2)), (3 / 2) ** 2, 2 / 4, math.log(1 + math.exp(-1) + math.exp(-2)), pinball]
    assert means == pytest.approx(expected, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.one_of(st.just(NAN), st.floats(-5, 5))), min_size=1, max_size=12))
def test_the_loss_is_the_mean_over_the_labels_that_are_there(pairs: list[tuple[float, float]]):
    outputs, labels = (np.array(one) for one in zip(*pairs, strict=True))
    known = ~np.isnan(labels)
    packed = torch.tensor(np.stack([np.where(known, labels, 0.0), known], axis=1), dtype=torch.float32)
    given_outputs = torch.tensor(outputs, dtype=torch.float32)[:, None].requires_grad_()
    mean = TaskLosses((RETURN,), torch.ones(1))(given_outputs, packed).means[0]
    mean.backward()
    expected = float(np.mean((outputs - labels)[known] ** 2)) if known.any() else 0.0
    assert float(mean.detach()) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert given_outputs.grad is not None
    assert not given_outputs.grad[~torch.tensor(known)].any()


def test_metrics_by_hand():
    tasks = (UP, RETURN, QUANTILES)
    losses = TaskLosses(tasks, torch.ones(3))
    outputs = torch.tensor([[1.0, 2.0, 0.0, 1.0, 2.0], [1.0, 5.0, 0.0, 1.0, 2.0], [-1.0, 9.0, 0.0, 1.0, 2.0]])
    packed = packed_labels([[1, 1, 1.5], [0, 3, 4.0], [0, NAN, NAN]], tasks, "y")
    found = {name: one(outputs, packed) for name, one in metrics_of(losses, FixedBalance(tasks)).items()}
    assert found["val_up_accuracy"] == pytest.approx(2 / 3)
    assert (found["val_ret_mae"], found["val_ret_rmse"], found["val_ret_loss"]) == pytest.approx((1.5, 2.5**0.5, 2.5))
    assert (found["val_q_coverage"], found["val_q_mae"]) == (0.5, 1.75)
    assert found["weight_ret"] == 1.0


# --- the combined loss ----------------------------------------------------------------------------


def combined(balance: nn.Module, tasks: tuple[Task, ...], validation: Tensor) -> tuple[Any, CombinedLoss]:
    network = network_of(tasks)
    return network, CombinedLoss(Trainee(network, balance, {}), TaskLosses(tasks, torch.ones(len(tasks))), validation)


def balances(tasks: tuple[Task, ...]) -> list[Any]:
    return [FixedBalance(tasks), UncertaintyBalance(tasks), GradNorm(tasks, 1.5, 0.025)]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_batch_without_a_label_of_a_task_is_one_of_the_other_tasks(place: int):
    inputs = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(1))
    table = np.array([[1.0, 0.3, 0.1]] * 6)
    table[:, 2] = NAN
    packed = torch.cat([torch.tensor(np.nan_to_num(table)), torch.tensor(~np.isnan(table))], dim=1).float()
    tasks = (UP, RETURN, VOLATILITY)
    balance = balances(tasks)[place]
    before = {name: one.clone() for name, one in balance.state_dict().items()}
    network, loss = combined(balance, tasks, torch.ones(6, 6))
    value = loss(network(inputs), packed)
    value.backward()
    assert torch.isfinite(value)
    assert all(not one.grad.any() for one in network.heads[2].parameters())
    assert network.heads[1][-1].weight.grad.any()
    if isinstance(balance, UncertaintyBalance):
        assert balance.log_variances.grad is not None
        assert balance.log_variances.grad[2] == 0 != balance.log_variances.grad[0]
    if isinstance(balance, GradNorm):
        assert all(torch.isfinite(one).all() for one in (balance.weights, balance.moments))
        assert (balance.steps.tolist(), balance.moments[2].item()) == ([1, 1, 0], 0)
        assert balance.first_losses.isnan().tolist() == [False, False, True]
        assert not torch.equal(balance.weights, before["weights"])
        assert balance.weights.sum().item() == pytest.approx(3)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_batch_without_any_label_changes_nothing(place: int):
    balance = balances((UP, RETURN))[place]
    network, loss = combined(balance, (UP, RETURN), torch.ones(6, 4))
    weights = balance.effective_weights().clone()
    value = loss(network(torch.randn(3, 4, 2)), torch.zeros(3, 4))
    value.backward()
    assert value.item() == 0
    assert all(not one.grad.any() for one in network.parameters() if one.grad is not None)
    assert torch.equal(balance.effective_weights(), weights)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_value_is_by_the_fixed_weights_and_the_gradient_that_of_the_balance(place: int):
    tasks = (Task(name="up", kind="direction", weight=2), Task(name="ret", kind="return", weight=0.5))
    balance = balances(tasks)[place]
    if isinstance(balance, UncertaintyBalance):
        balance.log_variances.data = torch.tensor([0.7, -0.4])
    if isinstance(balance, GradNorm):
        balance.weights.copy_(torch.tensor([0.4, 1.6]))
    inputs, packed = torch.randn(5, 4, 2), packed_labels([[1, 0.2], [0, NAN]] * 2 + [[1, 0.3]], tasks, "y")
    network, loss = combined(balance, tasks, packed)
    one, other = (mean.item() for mean in loss.losses(network(inputs), packed).means)
    weights = balance.effective_weights().tolist()
    value = loss(network(inputs), packed)
    [found] = torch.autograd.grad(value, network.shared.weight)
    means = loss.losses(network(inputs), packed).means
    [expected] = torch.autograd.grad(weights[0] * means[0] + weights[1] * means[1], network.shared.weight)
    assert value.item() == pytest.approx(2 * one + 0.5 * other, rel=1e-6)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7)
    loss.eval()
    assert loss(network(inputs), packed).item() == pytest.approx(2 * one + 0.5 * other, rel=1e-6)


def test_in_evaluation_batches_add_up_to_the_mean_over_all_labels():
    packed = packed_labels(labels_of(20), ALL, "y")
    network, loss = combined(FixedBalance(ALL), ALL, packed)
    loss.eval()
    outputs = network(torch.randn(20, 4, 2))
    parts = [(outputs[:7], packed[:7]), (outputs[7:8], packed[7:8]), (outputs[8:], packed[8:])]
    by_batches = sum(loss(*part).item() * len(part[0]) / 20 for part in parts)
    assert by_batches == pytest.approx(loss(outputs, packed).item(), rel=1e-5)
    assert by_batches == pytest.approx(sum(one.item() for one in loss.losses(outputs, packed).means), rel=1e-5)


# --- uncertainty ----------------------------------------------------------------------------------


def test_uncertainty_is_the_likelihood_of_a_gaussian_and_of_a_laplace():
    outputs, labels = torch.randn(50, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    tasks = (RETURN, VOLATILITY)
    balance = UncertaintyBalance(tasks).double()
    balance.log_variances.data = torch.tensor([0.6, -0.8], dtype=torch.float64)
    sigma = balance.log_variances.detach().div(2).exp()
    squared, absolute = functional.mse_loss(outputs, labels), functional.l1_loss(outputs, labels)
    gaussian = -Normal(outputs, sigma[0]).log_prob(labels).mean() - 0.5 * math.log(2 * math.pi)
    laplace = -Laplace(outputs, sigma[1]).log_prob(labels).mean() - math.log(2)
    found = balance([squared, absolute], torch.ones(2), torch.empty(0))
    assert found.item() == pytest.approx((gaussian + laplace).item(), rel=1e-12)


def test_uncertainty_by_hand():
    tasks = (
        UP,
        Task(name="ret", kind="return", weight=3),
        CLASSES,
        QUANTILES,
        Task(name="h", kind="return", loss="huber"),
    )
    balance = UncertaintyBalance(tasks)
    s = [0.5, -1.0, 0.2, 0.4, 0.1]
    balance.log_variances.data = torch.tensor(s)
    losses = [0.7, 0.9, 1.1, 0.3, 0.2]
    found = balance([torch.tensor(one) for one in losses], torch.ones(5), torch.empty(0))
    terms = [
        math.exp(-0.5) * 0.7 + 0.25,
        3 * (math.exp(1) * 0.9 / 2 - 0.5),
        math.exp(-0.2) * 1.1 + 0.1,
        math.exp(-0.2) * 0.3 + 0.2,
        math.exp(-0.1) * 0.2 + 0.05,
    ]
    assert found.item() == pytest.approx(sum(terms), rel=1e-6)
    weights = [math.exp(-0.5), 3 * math.exp(1) / 2, math.exp(-0.2), math.exp(-0.2), math.exp(-0.1)]
    assert balance.effective_weights().tolist() == pytest.approx(weights, rel=1e-6)


@pytest.mark.parametrize(("task", "variance"), [(RETURN, 0.3), (UP, 0.6), (QUANTILES, 0.09)])
def test_the_variance_that_is_learnt_is_that_of_the_loss(task: Task, variance: float):
    """Where the gradient is 0: the mean squared error, twice a cross-entropy, the square of an absolute error."""
    balance = UncertaintyBalance((task,))
    for factor, sign in ((0.9, -1), (1.0, 0), (1.1, 1)):
        balance.log_variances.data = torch.tensor([math.log(factor * variance)])
        value = balance([torch.tensor(0.3)], torch.ones(1), torch.empty(0))
        [gradient] = torch.autograd.grad(value, balance.log_variances)
        assert round(gradient.item(), 4) == 0 if sign == 0 else gradient.item() * sign > 0.01


# --- GradNorm -------------------------------------------------------------------------------------


def test_the_gradient_of_gradnorm_by_hand():
    weights, norms, rates = torch.tensor([1.0, 1.0]), torch.tensor([3.0, 1.0]), torch.tensor([0.5, 1.0])
    present = torch.tensor([True, True])
    # G = (3, 1), their mean 2; r = (2/3, 4/3); the targets 4/3 and 8/3: the first weight is to fall, the other to rise.
    assert gradnorm_gradient(weights, norms, rates, 1.0, present).tolist() == [3, -1]
    # Without alpha both targets are 2.
    assert gradnorm_gradient(weights, norms, rates, 0.0, present).tolist() == [3, -1]
    # The rates pull the other way as strongly as it takes: the targets are 2 * (1/4) and 2 * (7/4).
    strong = gradnorm_gradient(weights, torch.tensor([1.0, 3.0]), torch.tensor([0.1, 0.7]), 1.0, present)
    assert strong.tolist() == [1, -3]


def test_a_step_of_gradnorm_by_hand():
    balance = GradNorm((UP, RETURN, VOLATILITY), alpha=1.0, learning_rate=0.1)
    everything = torch.tensor([True, True, True])
    balance.update(torch.tensor([2.0, 4.0, 1.0]), torch.tensor([3.0, 1.0, 1.0]), everything)
    assert balance.first_losses.tolist() == [2, 4, 1]
    # All rates are 1, the targets 5/3: the first falls by 0.1 (the first step of Adam), the others rise; they add up to
    # 3.1, and are brought to 3.
    assert balance.weights.tolist() == pytest.approx([0.9 * 3 / 3.1, 1.1 * 3 / 3.1, 1.1 * 3 / 3.1], rel=1e-6)


def test_gradnorm_is_the_algorithm_of_the_paper():
    """Beside algorithm 1 written down with autograd and torch's Adam, on a shared layer and two heads."""
    generator = torch.Generator().manual_seed(4)
    inputs, labels = (
        torch.randn(30, 3, generator=generator),
        torch.randn(30, 2, generator=generator) * torch.tensor([9.0, 1]),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(4)
        shared, heads = nn.Linear(3, 4, bias=False), nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])
    alpha, rate = 0.8, 0.05

    def losses() -> list[Tensor]:
        return [functional.mse_loss(head(shared(inputs))[:, 0], labels[:, i]) for i, head in enumerate(heads)]

    weights = torch.ones(2, requires_grad=True)
    adam, first = torch.optim.Adam([weights], lr=rate), [one.item() for one in losses()]
    balance = GradNorm((RETURN, Task(name="other", kind="return")), alpha, rate)
    for _ in range(12):
        found = losses()
        assert balance.weights.tolist() == pytest.approx(weights.tolist(), rel=1e-4)
        value = balance(found, torch.ones(2), shared.weight)
        expected = sum(w * x.item() for w, x in zip(weights.tolist(), found, strict=True))
        assert value.item() == pytest.approx(expected, rel=1e-4)
        norms = torch.stack(
            [
                torch.autograd.grad(weights[i] * found[i], shared.weight, retain_graph=True, create_graph=True)[
                    0
                ].norm()
                for i in range(2)
            ]
        )
        ratios = torch.tensor([one.item() / start for one, start in zip(found, first, strict=True)])
        targets = (norms.mean() * (ratios / ratios.mean()) ** alpha).detach()
        [weights.grad] = torch.autograd.grad((norms - targets).abs().sum(), weights, retain_graph=True)
        adam.step()
        with torch.no_grad():
            weights.mul_(2 / weights.sum())
            gradients = torch.autograd.grad(value, [*shared.parameters(), *heads.parameters()])
            for one, gradient in zip([*shared.parameters(), *heads.parameters()], gradients, strict=True):
                one.sub_(0.01 * gradient)
    assert weights[0] < weights[1]


def test_weights_add_up_to_their_number_and_none_vanishes():
    found = renormalised(torch.tensor([-1.0, 1.0, 3.0]))
    assert found.sum().item() == pytest.approx(3)
    assert found[0] > 0
    assert GradNorm((Task(name="a", kind="return", weight=3), UP), 1.0, 0.1).weights.tolist() == [1.5, 0.5]


# --- the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", ["attention", "none"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_gives_the_outputs_of_all_tasks(family: str, fusion: str):
    network = network_of(family=family, fusion=fusion, head_layers=(5,))
    outputs = network(torch.randn(6, 4, 2))
    assert outputs.shape == (6, 9)
    assert [place.start for place in output_places(ALL)] == [0, 1, 2, 3, 6]
    outputs.sum().backward()
    assert all(one.grad is not None for one in network.parameters())
    assert network.shared.weight.grad.any()
    said = network.predict(np.zeros((2, 8)))
    assert {name: one.shape for name, one in said.items()} == {
        "up": (2,),
        "ret": (2,),
        "vol": (2,),
        "cls": (2, 3),
        "q": (2, 3),
    }
    assert said["cls"].sum(axis=1) == pytest.approx([1, 1], rel=1e-6)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_a_task_attends_to_is_the_window_alone(family: str):
    network = network_of(family=family).eval()
    inputs = torch.randn(6, 4, 2)
    changed = inputs.clone()
    changed[3:] += 1
    with torch.no_grad():
        before, after = network(inputs), network(changed)
    assert torch.allclose(before[:3], after[:3], atol=1e-6)
    assert not torch.allclose(before[3:], after[3:])


@pytest.mark.parametrize("family", ["lstm", "gru", "tcn", "transformer"])
def test_the_state_of_a_day_knows_nothing_of_later_days(family: str):
    encoder = NetworkConfig(family=family, n_features=2, window=6, hidden_layers=(8, 8))
    body = FAMILIES[family](encoder).eval()
    inputs = torch.randn(3, 6, 2)
    changed = inputs.clone()
    changed[:, 4:] += 1
    with torch.no_grad():
        states, after = body.states(inputs), body.states(changed)
        assert torch.allclose(states[:, -1], body(inputs), atol=1e-6)
    assert torch.allclose(states[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(states[:, 4:], after[:, 4:])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_volatility_is_positive_and_quantiles_ascend(seed: int, size: float):
    network = network_of((VOLATILITY, QUANTILES))
    network.scale_labels(
        label_scale(packed_labels([[0.02, -1.0], [0.05, 2.0]], (VOLATILITY, QUANTILES), "y"), (VOLATILITY, QUANTILES))
    )
    inputs = size * torch.randn(8, 4, 2, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        outputs = network(inputs)
    assert (outputs[:, 0] >= 0).all()
    assert all((low <= high).all() for low, high in pairwise(outputs[:, 1:].unbind(1)))


def test_a_network_begins_near_the_means_of_the_labels():
    network = network_of((RETURN, VOLATILITY))
    for head in network.heads:
        nn.init.zeros_(head[-1].weight)
        nn.init.zeros_(head[-1].bias)
    network.scale_labels(
        label_scale(packed_labels([[1.0, 0.01], [3.0, 0.03]], (RETURN, VOLATILITY), "y"), (RETURN, VOLATILITY))
    )
    assert network(torch.randn(1, 4, 2))[0].tolist() == pytest.approx([2.0, 0.02], rel=1e-5)
