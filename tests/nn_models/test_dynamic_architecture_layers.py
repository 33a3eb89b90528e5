"""Widening, deepening, pruning and removing layers: by hand, and for any network."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nn_models.small_networks import architectures, grow, has_units, inputs_for, network_of, outputs_of
from torch import Tensor, nn

from agentnn.errors import ConfigError, UsageError
from agentnn.nn_models.architecture import importance
from agentnn.nn_models.architecture.description import ACTIVATIONS, Architecture, Block
from agentnn.nn_models.architecture.network import DynamicNetwork, mean_and_scale
from agentnn.nn_models.architecture.normalisation import SharedLayerNorm

torch.set_num_threads(1)
SEEDS = st.integers(0, 2**16)


def two_units(**options: Any) -> DynamicNetwork:
    """One input, two units, one output: y = 3 f(x + 0.5) + 4 f(-2 x + 1) + 0.25."""
    network = DynamicNetwork(Architecture.of_widths(1, (2,), **options)).double().eval()
    linear, head = network.blocks[0].linear, network.head
    for parameter, values in (
        (linear.weight, [[1.0], [-2.0]]),
        (linear.bias, [0.5, 1.0]),
        (head.weight, [[3.0, 4.0]]),
        (head.bias, [0.25]),
    ):
        parameter.data.copy_(torch.tensor(values))
    return network


def column(*values: float) -> Tensor:
    return torch.tensor([[one] for one in values], dtype=torch.float64)


# --- what an architecture is ----------------------------------------------------------------------


def test_an_architecture_as_json_and_back() -> None:
    architecture = Architecture(3, 2, (Block(width=4, activation="tanh"), Block(width=4, residual=True, dropout=0.1)))
    assert Architecture.from_dict(architecture.to_dict()) == architecture
    assert str(architecture) == "3-4+4-2"
    assert hash(architecture) == hash(Architecture.from_dict(architecture.to_dict()))


def test_parameters_counted_by_hand() -> None:
    blocks = (Block(width=4, normalisation="batch"), Block(width=4, residual=True), Block(width=2))
    # 3·4+4 and 2·4 of the normalisation; 4·4+4 and the gate; 4·2+2; 2·5+5
    assert Architecture(3, 5, blocks).n_parameters == 16 + 8 + 20 + 1 + 10 + 15
    assert DynamicNetwork(Architecture(3, 5, blocks)).n_parameters == 70
    assert Architecture(3).n_parameters == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"n_inputs": 1, "n_outputs": 1, "blocks": [{"width": 0}]},
        {"n_inputs": 1, "n_outputs": 1, "blocks": [{"width": 2, "depth": 1}]},
        {"n_inputs": 1, "n_outputs": 1, "blocks": [{"width": 2, "activation": "rely"}]},
        {"n_inputs": 1, "n_outputs": 1, "blocks": [{"width": 2, "normalisation": "group"}]},
        {"n_inputs": 1, "n_outputs": 1, "blocks": [{"width": 2, "dropout": 1.0}]},
        {"n_inputs": 1, "n_outputs": 1, "blocks": [{"width": 2, "residual": True}]},
        {"n_inputs": True, "n_outputs": 1, "blocks": []},
        {"n_inputs": 1, "n_outputs": 1, "blocks": "x"},
    ],
)
def test_a_wrong_architecture_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Architecture.from_dict(wrong)


# --- by hand --------------------------------------------------------------------------------------


def test_net2wider_by_hand() -> None:
    network = two_units()
    change = network.widen(0, 4, units=[0, 0])
    assert network.blocks[0].linear.weight.tolist() == [[1.0], [-2.0], [1.0], [1.0]]
    assert network.blocks[0].linear.bias.tolist() == [0.5, 1.0, 0.5, 0.5]
    assert network.head.weight.tolist() == [[1.0, 4.0, 1.0, 1.0]]
    assert (change.kind, change.exact, change.after.widths) == ("widen", True, (4,))
    # x = 1: relu(1.5) = 1.5 and relu(-1) = 0, so y = 4.5 + 0.25
    assert outputs_of(network, column(1.0)).item() == 4.75
    # x = 0: 3·0.5 + 4·1 + 0.25
    assert outputs_of(network, column(0.0)).item() == 5.75


def test_net2deeper_by_hand() -> None:
    network = two_units()
    network.deepen(1)
    assert network.blocks[1].linear.weight.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert network.blocks[1].linear.bias.tolist() == [0.0, 0.0]
    assert network.architecture.widths == (2, 2)
    assert outputs_of(network, column(1.0, 0.0)).tolist() == [[4.75], [5.75]]


def test_a_layer_of_tanh_is_deepened_by_a_residual_one_whose_gate_is_closed() -> None:
    network = two_units(activation="tanh")
    before = outputs_of(network, column(1.0))
    network.deepen(1)
    assert network.architecture.blocks[1] == Block(width=2, activation="tanh", residual=True)
    assert network.blocks[1].gate.tolist() == [0.0]
    assert torch.equal(outputs_of(network, column(1.0)), before)
    with pytest.raises(UsageError, match="can't be an identity"):
        network.deepen(1, residual=False)


def test_pruning_by_magnitude_by_hand() -> None:
    network = two_units()
    # |(1, 0.5)|·3 = 3.35 against |(-2, 1)|·4 = 8.94: the first one goes
    network.prune(0, fraction=0.5)
    assert network.blocks[0].linear.weight.tolist() == [[-2.0]]
    assert network.head.weight.tolist() == [[4.0]]
    assert network.head.bias.tolist() == [0.25]


def test_pruning_by_activation_by_hand() -> None:
    network = two_units()
    sample = column(1.0, 2.0, 3.0)  # the first unit gives 1.5, 2.5, 3.5; the second one nothing
    network.prune(0, fraction=0.5, by="activation", sample=sample)
    assert network.head.weight.tolist() == [[3.0]]
    assert outputs_of(network, column(1.0)).item() == 4.75


def test_what_a_constant_unit_gives_goes_into_the_next_bias() -> None:
    network = two_units()
    network.blocks[0].linear.weight.data[1] = 0.0  # it gives relu(1) = 1, always
    inputs = column(-3.0, 0.0, 2.0)
    before = outputs_of(network, inputs)
    network.prune(0, units=[1], sample=inputs)
    assert network.head.bias.tolist() == [4.25]
    assert torch.equal(outputs_of(network, inputs), before)


def test_pruning_by_taylor_by_hand() -> None:
    network = two_units()
    # At x = 0 the units give 0.5 and 1; y = 5.75. With the target 5.25 dL/dy = 2·0.5 = 1: |0.5·3| < |1·4|.
    # At x = 1 they give 1.5 and 0: there the second one does nothing.
    for at, target, gone in ((0.0, 5.25, 0), (1.0, 0.0, 1)):
        network = two_units()
        network.prune(0, fraction=0.5, by="taylor", sample=column(at), targets=column(target), criterion=nn.MSELoss())
        assert network.head.weight.item() == [4.0, 3.0][gone]


def test_removing_a_linear_layer_by_hand() -> None:
    network = two_units(activation="identity")
    change = network.remove(0)
    # 3 (x + 0.5) + 4 (-2 x + 1) + 0.25 = -5 x + 5.75
    assert change.exact
    assert network.head.weight.tolist() == [[-5.0]]
    assert network.head.bias.tolist() == [5.75]
    assert network.architecture == Architecture(1)


def test_removing_a_layer_with_an_activation_drops_the_activation() -> None:
    network = two_units()
    assert not network.remove(0).exact
    assert outputs_of(network, column(1.0)).item() == pytest.approx(-5 + 5.75)


def test_a_layer_that_was_put_in_can_be_taken_out_again() -> None:
    for activation in ("relu", "tanh", "sigmoid"):
        network = two_units(activation=activation)
        before = outputs_of(network, column(1.0, -1.0))
        network.deepen(1)
        network.remove(1)
        assert network.architecture.widths == (2,)
        assert torch.allclose(outputs_of(network, column(1.0, -1.0)), before, atol=1e-14)


def test_batch_normalisation_goes_into_the_product() -> None:
    architecture = Architecture.of_widths(3, (4,), 2, activation="identity", normalisation="batch")
    network = network_of(architecture, 3)
    inputs = inputs_for(network, 4)
    before = outputs_of(network, inputs)
    assert network.remove(0).exact
    assert torch.allclose(outputs_of(network, inputs), before, atol=1e-12)


def test_shared_layer_normalisation_with_equal_shares_is_torchs() -> None:
    ours, theirs = SharedLayerNorm(5).double(), nn.LayerNorm(5).double()
    inputs = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ours(inputs), theirs(inputs), atol=1e-14)


def test_noise_makes_the_new_units_differ_and_no_other() -> None:
    network = network_of(Architecture.of_widths(3, (4,)), 1)
    before = network.blocks[0].linear.weight.detach().clone()
    assert not network.widen(0, 8, units=[0, 1, 2, 3], noise=0.1).exact
    after = network.blocks[0].linear.weight.detach()
    assert torch.equal(after[:4], before)
    difference = after[4:] - before
    assert 0.02 < (difference.std() / before.std()).item() < 0.3


def test_units_are_replicated_in_turn_and_by_torchs_seed() -> None:
    found = []
    for seed in (1, 1, 2):
        network = network_of(Architecture.of_widths(1, (5,)), 1)
        torch.manual_seed(seed)
        network.widen(0, 14)
        found.append(network.blocks[0].linear.weight[:, 0].tolist())
    assert found[0] == found[1] != found[2]
    counts = sorted(found[0].count(one) for one in found[0][:5])
    assert counts == [2, 3, 3, 3, 3]


def test_new_layers_have_the_mode_and_the_type_of_the_network() -> None:
    network = network_of(Architecture.of_widths(2, (3,), dropout=0.5, normalisation="batch", activation="tanh"), 1)
    network.train()
    network.deepen(1)
    assert network.blocks[1].training
    assert network.blocks[1].dropout.p == 0.5
    assert {one.dtype for one in network.parameters()} == {torch.float64}


# --- for any network ------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data(), architectures(), SEEDS)
def test_widening_and_deepening_keep_the_function(data: st.DataObject, architecture: Architecture, seed: int) -> None:
    network = network_of(architecture, seed)
    inputs = inputs_for(network, seed)
    before = outputs_of(network, inputs)
    torch.manual_seed(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        change = grow(data, network)
        assert change is None or (change.exact and change.after == network.architecture)
        assert network.n_parameters == network.architecture.n_parameters
    after = outputs_of(network, inputs)
    assert (after - before).abs().max().item() <= 1e-12 * (1 + before.abs().max().item())


@pytest.mark.parametrize("first", sorted(ACTIVATIONS))
def test_whatever_a_layer_is_put_behind_the_function_is_kept(first: str) -> None:
    for residual, second in itertools.product((False, True), sorted(ACTIVATIONS)):
        blocks = (Block(width=3, activation=first), Block(width=3, activation=first, residual=True))
        network = network_of(Architecture(2, 1, blocks[: 1 + residual]), 5)
        inputs = inputs_for(network, 6, 50)
        before = outputs_of(network, inputs)
        network.deepen(1 + residual, activation=second)
        assert torch.allclose(outputs_of(network, inputs), before, atol=1e-12)
        is_identity = not network.architecture.blocks[1 + residual].residual
        assert is_identity == (
            second == "identity"
            or (not residual and first in {"relu", "sigmoid", "softplus"} and second in {"relu", "leaky_relu", "elu"})
        )


def test_a_sample_that_is_looked_at_in_parts_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(Architecture.of_widths(3, (5,)), 1)
    inputs = inputs_for(network, 2, 11)
    targets = torch.ones(11, 1, dtype=torch.float64)
    whole = importance.means_and_spreads(network, [network.head], inputs)[0]
    slopes = importance.taylor(network, network.head, inputs, targets, nn.MSELoss())
    monkeypatch.setattr(importance, "VALUES_AT_ONCE", 12)  # four samples at once, and three in the end
    for one, other in zip(whole, importance.means_and_spreads(network, [network.head], inputs)[0], strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    assert torch.allclose(slopes, importance.taylor(network, network.head, inputs, targets, nn.MSELoss()), atol=1e-12)
    with torch.no_grad():
        hidden = torch.relu(network.blocks[0].linear((inputs - network.feature_mean) / network.feature_scale))
        assert torch.allclose(whole[0], hidden.mean(dim=0))
        assert torch.allclose(whole[1], hidden.std(dim=0, correction=0))
        slope = 2 * (network(inputs) - targets) @ network.head.weight
        assert torch.allclose(slopes, (hidden * slope).abs().mean(dim=0))


@settings(max_examples=40)
@given(st.data(), architectures(normalisations=("none", "batch")), SEEDS)
def test_so_they_do_with_single_precision(data: st.DataObject, architecture: Architecture, seed: int) -> None:
    network = network_of(architecture, seed, torch.float32)
    inputs = inputs_for(network, seed)
    before = outputs_of(network, inputs)
    torch.manual_seed(seed)
    for _ in range(3):
        grow(data, network)
    after = outputs_of(network, inputs)
    assert (after - before).abs().max().item() <= 1e-6 * (1 + before.abs().max().item())


@settings(max_examples=40)
@given(st.data(), architectures(3, ends_plain=True), SEEDS)
def test_without_dropout_the_function_is_kept_while_training_too(
    data: st.DataObject, architecture: Architecture, seed: int
) -> None:
    blocks = tuple(Block(**{**block, "dropout": 0.0}) for block in architecture.to_dict()["blocks"])
    network = network_of(Architecture(architecture.n_inputs, architecture.n_outputs, blocks), seed).train()
    inputs = inputs_for(network, seed)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    before = network(inputs).detach()
    network.load_state_dict(state)
    torch.manual_seed(seed)
    layer = data.draw(st.sampled_from([one for one in range(len(blocks)) if has_units(network.architecture, one)]))
    network.widen(layer, network.architecture.blocks[layer].width + data.draw(st.integers(1, 4)))
    assert (network(inputs).detach() - before).abs().max().item() <= 1e-9 * (1 + before.abs().max().item())


@settings(max_examples=50)
@given(st.data(), architectures(3, ends_plain=True), SEEDS)
def test_pruning_leaves_a_network_that_runs_and_learns(
    data: st.DataObject, architecture: Architecture, seed: int
) -> None:
    network = network_of(architecture, seed)
    widths = architecture.widths
    layer = data.draw(st.sampled_from([n for n, one in enumerate(widths) if one > 1 and has_units(architecture, n)]))
    width = widths[layer]
    inputs = inputs_for(network, seed)
    targets = torch.zeros(len(inputs), architecture.n_outputs, dtype=torch.float64)
    judged = {"sample": inputs, "targets": targets, "criterion": nn.MSELoss()}
    if data.draw(st.booleans()):
        gone = data.draw(st.sets(st.integers(0, width - 1), min_size=1, max_size=width - 1))
        change = network.prune(layer, units=sorted(gone), **(judged if data.draw(st.booleans()) else {}))
        assert change.after.blocks[layer].width == width - len(gone)
    else:
        fraction = data.draw(st.floats(0.01, 0.99))
        change = network.prune(
            layer, fraction=fraction, by=data.draw(st.sampled_from(["magnitude", "activation", "taylor"])), **judged
        )
        left = change.after.blocks[layer].width
        assert 1 <= left < width
        assert left in {width - max(1, math.floor(fraction * width)), width - max(1, round(fraction * width)), 1}
    assert network.n_parameters == network.architecture.n_parameters
    loss = nn.functional.mse_loss(network.train()(inputs), targets)
    loss.backward()
    assert all(one.grad is not None and one.grad.shape == one.shape for one in network.parameters())


@settings(max_examples=40)
@given(st.data(), architectures(3, ends_plain=True), SEEDS)
def test_a_unit_that_never_varies_leaves_without_a_trace(
    data: st.DataObject, architecture: Architecture, seed: int
) -> None:
    network = network_of(architecture, seed)
    possible = [
        layer
        for layer, block in enumerate(architecture.blocks)
        if not block.residual and len(architecture.stream_of(layer)) == 1
        if block.width > 1 and block.normalisation != "layer"
    ]
    layer = data.draw(st.sampled_from(possible))
    unit = data.draw(st.integers(0, architecture.blocks[layer].width - 1))
    network.blocks[layer].linear.weight.data[unit] = 0.0
    inputs = inputs_for(network, seed)
    before = outputs_of(network, inputs)
    network.prune(layer, fraction=1e-9, by="activation", sample=inputs)
    after = outputs_of(network, inputs)
    assert (after - before).abs().max().item() <= 1e-9 * (1 + before.abs().max().item())


@settings(max_examples=40)
@given(st.data(), architectures(), SEEDS)
def test_any_changes_one_after_another(data: st.DataObject, architecture: Architecture, seed: int) -> None:
    """Whatever is done, the network is the one that its architecture describes."""
    network = network_of(architecture, seed)
    torch.manual_seed(seed)
    for _ in range(5):
        now = network.architecture
        if data.draw(st.booleans()) or not now.depth:
            grow(data, network)
            continue
        layer = data.draw(st.integers(0, now.depth - 1))
        try:
            if data.draw(st.booleans()):
                network.prune(layer, fraction=0.5)
            else:
                network.remove(layer)
        except UsageError:
            assert network.architecture == now
    fresh = DynamicNetwork(network.architecture).double()
    fresh.load_state_dict(network.state_dict())
    inputs = inputs_for(network, seed)
    assert torch.equal(outputs_of(fresh, inputs), outputs_of(network, inputs))


def test_a_file_of_weights_of_another_network_would_not_fit() -> None:
    network = network_of(Architecture.of_widths(2, (3,)), 1)
    with pytest.raises(RuntimeError):
        DynamicNetwork(Architecture.of_widths(2, (4,))).load_state_dict(network.state_dict())


# --- what can't be --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.widen(2, 9),
        lambda one: one.widen(-1, 9),
        lambda one: one.widen(0, 2),
        lambda one: one.widen(0, 4, units=[0]),
        lambda one: one.widen(0, 3, units=[2]),
        lambda one: one.widen(0, 3, noise=-1.0),
        lambda one: one.widen(0, 3, noise=math.nan),
        lambda one: one.deepen(3),
        lambda one: one.deepen(0, residual=False),
        lambda one: one.prune(0),
        lambda one: one.prune(0, fraction=0.5, units=[0]),
        lambda one: one.prune(0, fraction=1.0),
        lambda one: one.prune(0, fraction=0.5, by="luck"),
        lambda one: one.prune(0, fraction=0.5, by="activation"),
        lambda one: one.prune(0, fraction=0.5, by="taylor", sample=torch.zeros(1, 1)),
        lambda one: one.prune(0, units=[0, 1]),
        lambda one: one.prune(0, units=[]),
        lambda one: one.prune(0, units=[2]),
        lambda one: one.prune(1, fraction=0.5),
        lambda one: one.remove(2),
    ],
)
def test_what_can_not_be_done_is_said_and_changes_nothing(change: Any) -> None:
    network = DynamicNetwork(Architecture.of_widths(1, (2, 1)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UsageError):
        change(network)
    assert network.architecture.widths == (2, 1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_what_residual_layers_forbid() -> None:
    network = DynamicNetwork(
        Architecture(2, 1, (Block(width=2, residual=True), Block(width=3), Block(width=3, residual=True)))
    )
    with pytest.raises(UsageError, match="adds to the inputs"):
        network.widen(0, 4)
    with pytest.raises(UsageError, match="adds to layer 1"):
        network.remove(1)
    network.widen(2, 5)
    assert network.architecture.widths == (2, 5, 5)
    network.remove(2)
    network.remove(1)
    assert network.architecture.widths == (2,)


def test_standardising_by_hand() -> None:
    network = DynamicNetwork(Architecture(2)).double()
    network.standardise(*mean_and_scale(torch.tensor([[1.0, 5.0], [3.0, 5.0]])))
    assert network.feature_mean.tolist() == [2.0, 5.0]
    assert network.feature_scale.tolist() == [math.sqrt(2), 1.0]  # ddof 1; a constant is left as it is
    # (1 - 2) / 1.414 and (7 - 5) / 1
    assert ((torch.tensor([1.0, 7.0]) - network.feature_mean) / network.feature_scale)[1] == 2
    with pytest.raises(UsageError):
        network.standardise(torch.zeros(3), torch.ones(3))
