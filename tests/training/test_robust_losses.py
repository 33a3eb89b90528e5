"""Robust losses: by hand, at their limits, and beside torch's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from agentnn.errors import ConfigError, UsageError
from agentnn.training.loop.optimisation import build_loss
from agentnn.training.loop.robust_losses import Barron, GeneralizedCrossEntropy, LogCosh
from agentnn.training.loop.tensors import matched

torch.set_num_threads(1)
ERRORS = st.floats(-50, 50)


def at(loss: nn.Module, error: float) -> float:
    return float(loss(torch.tensor([[error]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)))


@given(ERRORS, st.floats(0.01, 100))
def test_log_cosh_is_what_its_name_says(error: float, scale: float) -> None:
    ratio = error / scale
    expected = math.log(math.cosh(ratio)) if abs(ratio) < 300 else abs(ratio) - math.log(2)
    assert at(LogCosh(scale), error) == pytest.approx(scale**2 * expected, rel=1e-6, abs=1e-12)


def test_log_cosh_of_a_wild_error_is_finite() -> None:
    assert at(LogCosh(), 1e30) == pytest.approx(1e30)


@given(ERRORS, st.floats(0.1, 10))
def test_barrons_family_by_its_members(error: float, scale: float) -> None:
    square = (error / scale) ** 2
    members = {
        2.0: square / 2,
        1.0: math.sqrt(square + 1) - 1,
        0.0: math.log1p(square / 2),
        -2.0: 2 * square / (square + 4),
        -math.inf: -math.expm1(-square / 2),
    }
    for alpha, expected in members.items():
        assert at(Barron(alpha, scale), error) == pytest.approx(scale**2 * expected, rel=1e-9, abs=1e-12)


@given(st.floats(-3, 1.99), ERRORS)
def test_barrons_formula(alpha: float, error: float) -> None:
    if abs(alpha) < 1e-2:
        return
    distance = abs(alpha - 2)
    expected = distance / alpha * ((error**2 / distance + 1) ** (alpha / 2) - 1)
    assert at(Barron(alpha), error) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("alpha", [2.0, 1.0, 0.0, -2.0, -math.inf])
def test_a_small_error_counts_as_half_its_square(alpha: float) -> None:
    assert at(Barron(alpha, 0.5), 1e-4) == pytest.approx(0.5e-8, rel=1e-6)


@given(st.floats(-30, 30), st.sampled_from([0.0, 1.0]), st.floats(0.05, 1))
def test_generalised_cross_entropy_by_its_formula(logit: float, target: float, q: float) -> None:
    likely = 1 / (1 + math.exp(-logit if target else logit))
    found = GeneralizedCrossEntropy(q)(
        torch.tensor([logit], dtype=torch.float64), torch.tensor([target], dtype=torch.float64)
    )
    assert float(found) == pytest.approx((1 - likely**q) / q, rel=1e-6, abs=1e-9)


def test_generalised_cross_entropy_at_its_ends() -> None:
    logits = torch.linspace(-4, 4, 9, dtype=torch.float64)
    targets = torch.tensor([0, 1, 1, 0, 0, 1, 1, 0, 1], dtype=torch.float64)
    near = GeneralizedCrossEntropy(1e-6)(logits, targets)
    torch.testing.assert_close(near, functional.binary_cross_entropy_with_logits(logits, targets), rtol=1e-4, atol=0)
    torch.testing.assert_close(GeneralizedCrossEntropy(1.0)(logits, targets), (logits.sigmoid() - targets).abs().mean())


def test_an_unlikely_label_moves_it_less_than_the_cross_entropy() -> None:
    def pull(loss: nn.Module) -> float:
        logit = torch.tensor([[-6.0]], requires_grad=True)
        loss(logit, torch.ones(1, 1)).backward()
        return abs(float(logit.grad))  # type: ignore[arg-type]

    assert pull(GeneralizedCrossEntropy(0.7)) < 0.02 < 0.9 < pull(nn.BCEWithLogitsLoss())


@pytest.mark.parametrize("loss", [LogCosh(0.5), Barron(-2.0, 0.1), Barron(0.0), GeneralizedCrossEntropy()])
def test_gradients_are_finite_where_values_are_wild(loss: nn.Module) -> None:
    outputs = torch.tensor([[0.0], [1e4], [-1e4], [1e-8]], requires_grad=True)
    loss(outputs, torch.tensor([[0.0], [0.0], [1.0], [1.0]])).backward()
    assert torch.isfinite(outputs.grad).all()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("log_cosh", {"scale": 0.0}),
        ("log_cosh", {"scale": True}),
        ("barron", {"alpha": 2.5}),
        ("barron", {"alpha": math.nan}),
        ("barron", {"scale": math.inf}),
        ("gce", {"q": 0.0}),
        ("gce", {"q": 1.1}),
        ("gce", {"quantile": 1}),
    ],
)
def test_wrong_arguments(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"training\.params\.loss_params"):
        build_loss(name, params)


def test_they_are_built_by_name_and_broadcast_nothing() -> None:
    assert repr(build_loss("barron", {"alpha": 0, "scale": 0.1})) == "Barron(alpha=0, scale=0.1)"
    for name in ("log_cosh", "barron", "gce"):
        with pytest.raises(UsageError, match="don't fit"):
            matched(torch.zeros(3, 2), torch.zeros(3, 1), build_loss(name, {}))
