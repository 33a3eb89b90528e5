"""What becomes of an optimizer when the layers of its network change."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nn_models.small_networks import architectures, grow, inputs_for, network_of
from torch import Tensor, nn, optim

from agentnn import AgentNNWarning
from agentnn.errors import UsageError
from agentnn.nn_models.architecture.description import Architecture, Block
from agentnn.nn_models.architecture.network import DynamicNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

torch.set_num_threads(1)

MAKERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda weights: optim.SGD(weights, lr=0.1, momentum=0.9),
    "nesterov": lambda weights: optim.SGD(weights, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda weights: optim.Adam(weights, lr=0.01, amsgrad=True),
    "adamw": lambda weights: optim.AdamW(weights, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda weights: optim.RMSprop(weights, lr=0.01, centered=True, momentum=0.5),
}


def trained(make: Callable[[Any], optim.Optimizer], steps: int = 3) -> tuple[DynamicNetwork, optim.Optimizer, Any]:
    """A network, its optimizer, and the gradients of each of the steps that were made, by name."""
    network = network_of(Architecture.of_widths(2, (3, 2), 2, activation="tanh", normalisation="batch"), 1)
    optimizer, seen = make(network.parameters()), []
    for number in range(steps):
        step(network, optimizer, number)
        seen.append({name: one.grad.clone() for name, one in network.named_parameters() if one.grad is not None})
    return network, optimizer, seen


def step(network: DynamicNetwork, optimizer: optim.Optimizer, seed: int) -> float:
    """One step on a batch of its own."""
    inputs = inputs_for(network, seed, 8)
    targets = torch.stack([inputs[:, 0], inputs.prod(dim=1), inputs.sum(dim=1)], dim=1)
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(network.train()(inputs), targets[:, : network.architecture.n_outputs])
    loss.backward()
    optimizer.step()
    return loss.item()


def test_momentum_by_hand() -> None:
    """y = 3 relu(x) + 4 relu(2 x) at x = 1 is 11; for the target 10.5 dL/dy = 1."""
    network = DynamicNetwork(Architecture.of_widths(1, (2,))).double()
    linear, head = network.blocks[0].linear, network.head
    for parameter, values in ((linear.weight, [[1.0], [2.0]]), (head.weight, [[3.0, 4.0]])):
        parameter.data.copy_(torch.tensor(values))
    linear.bias.data.zero_()
    head.bias.data.zero_()
    optimizer = optim.SGD(network.parameters(), lr=0.1, momentum=0.5)
    one = torch.ones(1, 1, dtype=torch.float64)
    nn.functional.mse_loss(network(one), 10.5 * one).backward()
    optimizer.step()
    # Gradients: of the weights in (3, 4), of those out (1, 2); the step takes a tenth of them.
    assert linear.weight.flatten().tolist() == pytest.approx([0.7, 1.6])
    assert head.weight.flatten().tolist() == pytest.approx([2.9, 3.8])

    network.widen(0, 3, units=[0], optimizer=optimizer)
    linear, head = network.blocks[0].linear, network.head
    assert head.weight.flatten().tolist() == pytest.approx([1.45, 3.8, 1.45])
    assert optimizer.state[linear.weight]["momentum_buffer"].flatten().tolist() == pytest.approx([1.5, 4.0, 1.5])
    assert optimizer.state[head.weight]["momentum_buffer"].flatten().tolist() == pytest.approx([1.0, 2.0, 1.0])

    # One more step. The biases are -0.3, -0.4 and -0.1: units give 0.4, 1.2, 0.4, y = 5.62; dL/dy = 1 for 5.12.
    output = network(one)
    assert output.item() == pytest.approx(2 * 1.45 * 0.4 + 3.8 * 1.2 - 0.1)
    optimizer.zero_grad()
    nn.functional.mse_loss(output, output.detach() - 0.5).backward()
    optimizer.step()
    # Momentum of the weights in: 0.5·1.5 + 1.45 = 2.2, and 0.5·4 + 3.8 = 5.8; out: 0.5·1 + 0.4, and 0.5·2 + 1.2.
    assert linear.weight.flatten().tolist() == pytest.approx([0.7 - 0.22, 1.6 - 0.58, 0.7 - 0.22])
    assert head.weight.flatten().tolist() == pytest.approx([1.45 - 0.09, 3.8 - 0.22, 1.45 - 0.09])


@pytest.mark.parametrize("name", MAKERS)
def test_moments_are_as_if_the_units_had_always_been_there(name: str) -> None:
    """Another optimizer of the same kind, given the gradients that the wide network would have had, has that state."""
    network, optimizer, seen = trained(MAKERS[name])
    network.widen(0, 5, units=[0, 0], optimizer=optimizer)
    source, copies = torch.tensor([0, 1, 2, 0, 0]), torch.tensor([3.0, 1, 1, 3, 3], dtype=torch.float64)

    def wide(parameter: str, gradient: Tensor) -> Tensor:
        if parameter.startswith("blocks.0"):
            rows = gradient[source]
            return rows / (copies[:, None] if rows.ndim == 2 else copies)
        return gradient[:, source] if parameter == "blocks.1.linear.weight" else gradient

    shadow = DynamicNetwork(network.architecture).double()
    other = MAKERS[name](shadow.parameters())
    for gradients in seen:
        for parameter, one in shadow.named_parameters():
            one.grad = wide(parameter, gradients[parameter])
        other.step()
    for (parameter, one), theirs in zip(network.named_parameters(), shadow.parameters(), strict=True):
        for key, expected in other.state[theirs].items():
            found = optimizer.state[one][key]
            if isinstance(expected, Tensor):
                torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8, msg=f"{parameter} {key}")


@pytest.mark.parametrize("name", MAKERS)
def test_replicas_are_trained_alike(name: str) -> None:
    network, optimizer, _ = trained(MAKERS[name])
    network.widen(0, 6, units=[1, 1, 2], optimizer=optimizer)
    for number in range(3):
        step(network, optimizer, 10 + number)
    rows, columns = network.blocks[0].linear.weight, network.blocks[1].linear.weight
    for one, other in ((1, 3), (1, 4), (2, 5)):
        assert torch.allclose(rows[one], rows[other], atol=1e-12)
        assert torch.allclose(columns[:, one], columns[:, other], atol=1e-12)
    assert not torch.allclose(rows[0], rows[1])


@pytest.mark.parametrize("name", MAKERS)
def test_what_stays_of_a_pruned_layer_keeps_its_state(name: str) -> None:
    network, optimizer, _ = trained(MAKERS[name])
    before = copy.deepcopy([optimizer.state[one] for one in network.parameters()])
    names = [name for name, _ in network.named_parameters()]
    network.prune(0, units=[1], optimizer=optimizer)
    for parameter, one, old in zip(names, network.parameters(), before, strict=True):
        for key, value in optimizer.state[one].items():
            expected = old[key]
            if isinstance(value, Tensor) and value.ndim:
                expected = expected[[0, 2]] if parameter.startswith("blocks.0") else expected
                expected = expected[:, [0, 2]] if parameter == "blocks.1.linear.weight" else expected
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(expected))


def test_groups_and_their_options_stay() -> None:
    network = network_of(Architecture.of_widths(2, (3, 2), activation="tanh"), 1)
    biases = [one for name, one in network.named_parameters() if name.endswith("bias")]
    weights = [one for name, one in network.named_parameters() if name.endswith("weight")]
    groups = [{"params": biases, "weight_decay": 0.0}, {"params": weights, "lr": 0.5}]
    optimizer = optim.AdamW(groups, lr=0.01, weight_decay=0.1)
    step(network, optimizer, 0)
    network.widen(0, 4, optimizer=optimizer)
    network.deepen(2, optimizer=optimizer)
    network.remove(0, optimizer=optimizer)
    by_group = [[id(one) for one in group["params"]] for group in optimizer.param_groups]
    now = dict(network.named_parameters())
    assert by_group[0] == [id(one) for name, one in now.items() if name.endswith(("bias", "gate"))]
    assert by_group[1] == [id(one) for name, one in now.items() if name.endswith("weight")]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.1]
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.5]
    assert {id(one) for one in optimizer.state} <= {id(one) for one in now.values()}


def test_a_new_layer_is_trained_though_the_one_beside_it_is_frozen() -> None:
    network = network_of(Architecture.of_widths(2, (3, 2)), 1)
    network.blocks[0].requires_grad_(requires_grad=False)
    optimizer = optim.Adam([one for one in network.parameters() if one.requires_grad])
    network.widen(0, 4, optimizer=optimizer)
    network.deepen(1, optimizer=optimizer)
    assert not any(one.requires_grad for one in network.blocks[0].parameters())
    trained_ones = {id(one) for group in optimizer.param_groups for one in group["params"]}
    assert trained_ones == {id(one) for one in network.parameters() if one.requires_grad}
    before = network.blocks[1].linear.weight.detach().clone()
    step(network, optimizer, 1)
    assert not torch.equal(network.blocks[1].linear.weight, before)


def test_new_and_merged_weights_begin_without_a_state() -> None:
    network, optimizer, _ = trained(MAKERS["adam"])
    network.deepen(1, optimizer=optimizer)
    assert not any(one in optimizer.state for one in network.blocks[1].parameters())
    step(network, optimizer, 5)
    assert [int(optimizer.state[one]["step"]) for one in (network.head.weight, network.blocks[1].gate)] == [4, 1]
    network.remove(2, optimizer=optimizer)
    assert network.head.weight not in optimizer.state
    assert optimizer.state[network.blocks[0].linear.weight]["step"] == 4
    step(network, optimizer, 6)


def test_a_schedule_goes_on() -> None:
    network, optimizer, _ = trained(MAKERS["sgd"])
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    network.widen(0, 4, optimizer=optimizer)
    step(network, optimizer, 1)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.05


class Signs(optim.Optimizer):
    """An optimizer of somebody's own, with a state."""

    def __init__(self, weights: Any) -> None:
        super().__init__(weights, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for one in self.param_groups[0]["params"]:
            mean = self.state[one].setdefault("mean", torch.zeros_like(one))
            mean.mul_(0.9).add_(one.grad, alpha=0.1)
            one.sub_(mean.sign(), alpha=0.01)


def test_an_unknown_optimizer_forgets_what_changed_and_says_so() -> None:
    network, optimizer, _ = trained(Signs)
    kept = optimizer.state[network.head.weight]["mean"]
    with pytest.warns(AgentNNWarning, match="Signs knows of 5 changed tensors"):
        network.widen(0, 4, optimizer=optimizer)
    assert optimizer.state[network.head.weight]["mean"] is kept
    assert network.blocks[0].linear.weight not in optimizer.state
    step(network, optimizer, 9)


def test_what_can_not_be_carried_over_is_refused_before_anything_changes() -> None:
    network = network_of(Architecture.of_widths(2, (3,)), 1)
    for optimizer in (optim.LBFGS(network.parameters()), optim.Adagrad(network.parameters())):
        with pytest.raises(UsageError, match="can't be carried over"):
            network.widen(0, 4, optimizer=optimizer)
    with pytest.raises(UsageError, match="not this network's"):
        network.deepen(0, optimizer=optim.SGD(nn.Linear(1, 1).parameters()))
    assert network.architecture.widths == (3,)


@settings(max_examples=40)
@given(st.data(), architectures(), st.sampled_from(sorted(MAKERS)), st.integers(0, 2**16))
def test_training_goes_on_through_any_changes(
    data: st.DataObject, architecture: Architecture, name: str, seed: int
) -> None:
    """And a new optimizer for a network of that architecture takes the state, and makes the same next step."""
    network = network_of(architecture, seed)
    optimizer = MAKERS[name](network.parameters())
    torch.manual_seed(seed)
    for number in range(3):
        step(network, optimizer, number)
        grow(data, network) if number == 1 else _change(data, network, optimizer)
        if number == 1:
            optimizer = MAKERS[name](network.parameters())
    again = DynamicNetwork(network.architecture).double()
    again.load_state_dict(copy.deepcopy(network.state_dict()))
    theirs = MAKERS[name](again.parameters())
    theirs.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one, opt in ((network, optimizer), (again, theirs)):
        torch.manual_seed(seed)
        step(one, opt, 7)
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), again.parameters(), strict=True))


def _change(data: st.DataObject, network: DynamicNetwork, optimizer: optim.Optimizer) -> None:
    now = network.architecture
    place = data.draw(st.integers(0, now.depth))
    kind = data.draw(st.sampled_from(["widen", "deepen", "prune", "remove"]))
    try:
        if kind == "deepen":
            network.deepen(place, optimizer=optimizer)
        elif kind == "widen":
            network.widen(
                place, now.blocks[min(place, now.depth - 1)].width + 2 if now.depth else 2, optimizer=optimizer
            )
        elif kind == "prune":
            network.prune(place, fraction=0.5, optimizer=optimizer)
        else:
            network.remove(place, optimizer=optimizer)
    except UsageError:
        assert network.architecture == now


def test_no_warning_for_the_optimizers_that_are_known(recwarn: pytest.WarningsRecorder) -> None:
    for make in MAKERS.values():
        network, optimizer, _ = trained(make, 1)
        network.widen(1, 3, optimizer=optimizer)
        network.prune(1, fraction=0.5, optimizer=optimizer)
    assert [str(one.message) for one in recwarn] == []


def test_replicas_of_a_stream_and_its_residual_layers() -> None:
    """Residual layers have the units of the layer that they add to in their rows and in their columns."""
    blocks = (Block(width=2, activation="tanh"), Block(width=2, activation="tanh", residual=True))
    network = network_of(Architecture(2, 1, blocks), 1)
    optimizer = MAKERS["adam"](network.parameters())
    step(network, optimizer, 1)
    inputs = inputs_for(network, 3)
    before = network(inputs).detach()
    network.widen(1, 3, units=[1], optimizer=optimizer)
    assert torch.allclose(network(inputs), before, atol=1e-12)
    for number in range(3):
        step(network, optimizer, number)
    weight = network.blocks[1].linear.weight
    assert torch.allclose(weight[1], weight[2], atol=1e-12)
    assert torch.allclose(weight[:, 1], weight[:, 2], atol=1e-12)
