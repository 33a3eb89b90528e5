"""Layers and parameters, beside torchinfo and counts by hand."""

from __future__ import annotations

import pytest
import torch
import torchinfo
from torch import nn

from agentnn.errors import UsageError
from agentnn.tracking.capture.model_summary import summarise, torchinfo_text


class Tied(nn.Module):
    """An autoencoder whose two halves share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 3, bias=False)
        self.decoder = nn.Linear(3, 4)
        self.other = nn.Linear(4, 3, bias=False)
        self.other.weight = self.encoder.weight
        self.register_buffer("scale", torch.ones(5))


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1)), torch.zeros(2, 10)),
        (nn.Sequential(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.Flatten(), nn.LazyLinear(2)), torch.zeros(2, 3, 9)),
        (nn.LSTM(5, 7, num_layers=2, bidirectional=True), torch.zeros(2, 4, 5)),
        (nn.TransformerEncoderLayer(16, 4, batch_first=True), torch.zeros(2, 4, 16)),
    ],
    ids=["mlp", "cnn", "lstm", "transformer"],
)
def test_the_parameters_are_those_of_torchinfo(model: nn.Module, example: torch.Tensor):
    with torch.no_grad():
        model(example)  # a lazy layer has its shape then
    next(iter(model.parameters())).requires_grad_(False)
    expected = torchinfo.summary(model, input_data=example, verbose=0)
    found = summarise(model)
    assert (found.parameters, found.trainable) == (expected.total_params, expected.trainable_params)
    assert sum(layer.parameters for layer in found.layers) == found.parameters


def test_shared_parameters_count_once_and_buffers_take_memory():
    found = summarise(Tied())
    assert found.parameters == 4 * 3 + 3 * 4 + 4
    assert [(one.name, one.parameters) for one in found.layers] == [
        ("", 0),
        ("encoder", 12),
        ("decoder", 16),
        ("other", 0),
    ]
    assert found.bytes == (28 + 5) * 4


def test_a_layer_without_a_shape_yet_counts_nothing():
    assert summarise(nn.Sequential(nn.LazyLinear(3))).parameters == 0


def test_the_text_names_every_layer():
    text = summarise(nn.Sequential(nn.Sequential(nn.Linear(1000, 100)), nn.ReLU())).to_text()
    assert text == (
        "layer       type        parameters  trainable\n"
        "---------------------------------------------\n"
        "Sequential  Sequential           0          0\n"
        "  0         Sequential           0          0\n"
        "    0       Linear         100,100    100,100\n"
        "  1         ReLU                 0          0\n"
        "---------------------------------------------\n"
        "parameters: 100,100\n"
        "trainable:  100,100\n"
        "frozen:     0\n"
        "memory:     0.400 MB\n"
    )


def test_the_shapes_leave_no_trace_in_the_model_or_the_random_numbers():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    text = torchinfo_text(model, torch.rand(2, 4, generator=torch.Generator().manual_seed(1)))
    assert text is not None
    assert "[2, 8]" in text
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [one.training for one in model] == [True, True, False, True]
    assert model.training
    assert all(one.grad is None for one in model.parameters())


def test_what_is_no_module_is_refused():
    with pytest.raises(UsageError, match=r"dict is no torch\.nn\.Module"):
        summarise({})
