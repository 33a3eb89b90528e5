"""The bodies of the networks, against torch's own modules, by hand, and by their gradients."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agentnn.training.data.prices import Prices, Standardisation, load_prices, make_samples
from agentnn.training.families import (
    FAMILIES,
    AttentionBlock,
    CausalConvolution,
    RecurrentBody,
    TemporalConvolutions,
    Transformer,
    sinusoids,
)
from agentnn.training.networks import Network, NetworkConfig

WINDOW, N_FEATURES = 8, 3


def config(family: str, **changes: object) -> NetworkConfig:
    return dataclasses.replace(NetworkConfig(family, N_FEATURES, WINDOW, (8, 8)), **changes)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def days() -> Tensor:
    return torch.randn(5, WINDOW, N_FEATURES, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("hidden_layers", [(4,), (8, 8, 8)])
def test_from_a_window_to_a_width(family: str, hidden_layers: tuple[int, ...], days: Tensor) -> None:
    body = FAMILIES[family](config(family, hidden_layers=hidden_layers))
    assert body(days).shape == (5, body.width) == (5, hidden_layers[-1])


def test_the_widths_of_an_mlp_and_a_tcn_may_differ(days: Tensor) -> None:
    for family in ("mlp", "tcn"):
        body = FAMILIES[family](config(family, hidden_layers=(7, 5, 3)))
        assert body(days).shape == (5, 3)
    linear = [
        one for one in FAMILIES["mlp"](config("mlp", hidden_layers=(7, 5))).modules() if isinstance(one, nn.Linear)
    ]
    assert [(one.in_features, one.out_features) for one in linear] == [(WINDOW * N_FEATURES, 7), (7, 5)]


@pytest.mark.parametrize("family", ["mlp", "tcn", "transformer"])
def test_the_activation_is_the_one_that_is_named(family: str) -> None:
    found = {type(one) for one in FAMILIES[family](config(family, activation="mish")).modules()}
    assert nn.Mish in found
    assert nn.ReLU not in found


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_works_while_training_alone(family: str, days: Tensor) -> None:
    body = FAMILIES[family](config(family, dropout=0.5))
    assert not torch.equal(body(days), body(days))
    body.eval()
    assert torch.equal(body(days), body(days))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_is_learnt(family: str, days: Tensor) -> None:
    network = Network(config(family, activation="tanh"))
    network(days).square().mean().backward()
    assert all(weights.grad is not None and weights.grad.abs().sum() > 0 for weights in network.parameters())


@pytest.mark.parametrize(("family", "cell"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_body_is_torchs_own(family: str, cell: type[nn.RNNBase], bidirectional: bool, days: Tensor) -> None:
    body = FAMILIES[family](config(family, bidirectional=bidirectional))
    assert isinstance(body, RecurrentBody)
    reference = cell(N_FEATURES, 8, 2, batch_first=True, bidirectional=bidirectional)
    reference.load_state_dict(body.layers.state_dict())
    _, last = reference(days)
    hidden = last[0] if isinstance(last, tuple) else last
    directions = hidden.unflatten(0, (2, -1))[-1]  # of the last layer
    torch.testing.assert_close(body(days), torch.cat(list(directions), dim=-1), rtol=0, atol=0)
    assert body.width == (16 if bidirectional else 8)


def test_an_lstm_by_hand() -> None:
    """One cell, one feature, two days: the equations of Hochreiter and Schmidhuber with a forget gate."""
    body = RecurrentBody(NetworkConfig("lstm", 1, 2, (1,)), nn.LSTM)
    weights = {"weight_ih_l0": [0.5, -0.3, 0.8, 0.2], "weight_hh_l0": [0.1, 0.4, -0.6, 0.7]}
    with torch.no_grad():
        for name, values in weights.items():
            getattr(body.layers, name).copy_(torch.tensor(values).unsqueeze(1))
        body.layers.bias_ih_l0.copy_(torch.tensor([0.05, 0.1, -0.1, 0.2]))
        body.layers.bias_hh_l0.zero_()

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    h = c = 0.0
    for x in (1.5, -2.0):
        i, f = sigmoid(0.5 * x + 0.1 * h + 0.05), sigmoid(-0.3 * x + 0.4 * h + 0.1)
        g, o = math.tanh(0.8 * x - 0.6 * h - 0.1), sigmoid(0.2 * x + 0.7 * h + 0.2)
        c = f * c + i * g
        h = o * math.tanh(c)
    found = body(torch.tensor([[[1.5], [-2.0]]]))
    assert found.item() == pytest.approx(h, rel=1e-5)


def test_a_causal_convolution_by_hand() -> None:
    layer = CausalConvolution(1, 1, kernel_size=2, dilation=2)
    with torch.no_grad():
        layer.convolution.weight.copy_(torch.tensor([[[10.0, 1.0]]]))  # of two days ago, and of today
        layer.convolution.bias.zero_()
    found = layer(torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]]))
    assert found.tolist() == [[[1.0, 2.0, 13.0, 24.0, 35.0]]]


@pytest.mark.parametrize(("kernel_size", "n_layers", "field"), [(2, 1, 3), (3, 1, 5), (3, 2, 13), (2, 3, 15)])
def test_the_receptive_field_of_a_tcn_by_its_gradient(kernel_size: int, n_layers: int, field: int) -> None:
    """The latest output depends on exactly so many days, and on no other."""
    window = field + 4
    asked = config("tcn", window=window, hidden_layers=(4,) * n_layers, kernel_size=kernel_size, activation="tanh")
    body = TemporalConvolutions(asked)
    days = torch.randn(1, window, N_FEATURES, requires_grad=True)
    body(days).sum().backward()
    assert days.grad is not None
    depends = (days.grad[0].abs().sum(dim=1) > 0).tolist()
    assert depends == [False] * (window - field) + [True] * field
    assert body.receptive_field == field


def sequence_of(family: str) -> nn.Module:
    """What gives a state for every day of the window."""
    if family == "tcn":
        return nn.Sequential(*TemporalConvolutions(config("tcn")).blocks)
    return AttentionBlock(config("transformer"))


@pytest.mark.parametrize("family", ["tcn", "transformer"])
def test_no_day_sees_a_later_one(family: str) -> None:
    layers = sequence_of(family)
    day_axis = 2 if family == "tcn" else 1
    days = torch.randn((1, N_FEATURES, WINDOW) if family == "tcn" else (1, WINDOW, 8))
    other = days.clone()
    other.select(day_axis, 5).add_(1.0)
    moved = (layers(days) != layers(other)).any(dim=3 - day_axis)[0].tolist()
    assert moved[:5] == [False] * 5
    assert moved[5]


def test_attention_is_torchs_own() -> None:
    block = AttentionBlock(config("transformer")).eval()
    reference = nn.TransformerEncoderLayer(8, 4, 32, dropout=0.0, activation="relu", batch_first=True, norm_first=True)
    own = block.state_dict()
    pairs = {
        "self_attn.in_proj_weight": "queries_keys_values.weight",
        "self_attn.in_proj_bias": "queries_keys_values.bias",
        "self_attn.out_proj.weight": "attention_head.weight",
        "self_attn.out_proj.bias": "attention_head.bias",
        "norm1.weight": "attention_norm.weight",
        "norm1.bias": "attention_norm.bias",
        "norm2.weight": "perceptron.0.weight",
        "norm2.bias": "perceptron.0.bias",
        "linear1.weight": "perceptron.1.weight",
        "linear1.bias": "perceptron.1.bias",
        "linear2.weight": "perceptron.3.weight",
        "linear2.bias": "perceptron.3.bias",
    }
    reference.load_state_dict({theirs: own[ours] for theirs, ours in pairs.items()})
    days = torch.randn(3, WINDOW, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(WINDOW)
    torch.testing.assert_close(block(days), reference(days, src_mask=mask, is_causal=True), rtol=1e-5, atol=1e-6)


def test_the_positions_by_hand() -> None:
    found = sinusoids(3, 4).tolist()
    expected = [[math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)] for p in range(3)]
    assert found == [pytest.approx(row, abs=1e-6) for row in expected]
    assert sinusoids(3, 5).shape == (3, 5)


def test_a_transformer_knows_the_order_of_the_days(days: Tensor) -> None:
    body = Transformer(config("transformer"))
    swapped = days[:, [1, 0, *range(2, WINDOW)]]
    assert not torch.allclose(body(days), body(swapped), atol=1e-4)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load_prices()


@pytest.mark.parametrize(
    ("family", "bidirectional"), [*((family, False) for family in FAMILIES), ("lstm", True), ("gru", True)]
)
def test_what_is_predicted_today_depends_on_no_later_price(family: str, bidirectional: bool, prices: Prices) -> None:
    """From prices to a prediction: other prices after a day move no prediction up to it, and some after it."""
    today = 400
    later = np.where(np.arange(len(prices)) > today, 1.3, 1.0)
    names = ("open", "high", "low", "close", "adj_close")
    shifted = dataclasses.replace(prices, **{name: getattr(prices, name) * later for name in names})
    samples, others = make_samples(prices, WINDOW), make_samples(shifted, WINDOW)
    asked = NetworkConfig(family, samples.inputs.shape[2], WINDOW, (8, 8), bidirectional=bidirectional)
    network = Network(asked, Standardisation.fit(samples.part(slice(0, 300))))
    before, after = (network.predict(one.inputs) for one in (samples, others))
    known = samples.dates <= prices.dates[today]
    np.testing.assert_array_equal(before[known], after[known])
    assert (before[~known] != after[~known]).any()
