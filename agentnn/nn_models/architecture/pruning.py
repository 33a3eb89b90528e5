"""Structured pruning: units leave a layer with all of their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from agentnn.errors import UsageError
from agentnn.nn_models.architecture.changes import Change
from agentnn.nn_models.architecture.importance import By, check_sample, magnitudes, means_and_spreads, taylor
from agentnn.nn_models.architecture.surgery import Surgery
from agentnn.nn_models.architecture.unit_maps import UnitMap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.optim import Optimizer

    from agentnn.nn_models.architecture.network import DynamicNetwork


def prune(
    network: DynamicNetwork,
    layer: int,
    *,
    fraction: float | None = None,
    units: Sequence[int] | None = None,
    by: By = "magnitude",
    sample: Tensor | None = None,
    targets: Tensor | None = None,
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    optimizer: Optimizer | None = None,
) -> Change:
    """Take units out of a layer, with their weights in and out; layers that add to this one lose the same units.

    With a ``sample`` what a unit gives on average goes into the biases behind it, so that a unit that gives the same
    for every sample, such as a dead one, leaves without a trace. Choosing by ``activation``, those leave whose giving
    varies least, weighted by the norm of their weights out: what the network then loses of a unit is its variation.

    Args:
        network: What is pruned, in place.
        layer: A hidden layer, from 0.
        fraction: Which share of the units goes, above 0 and below 1: rounded down, but at least one goes, and at least
            one stays.
        units: Which ones go, in the place of ``fraction``.
        by: How ``fraction`` chooses: the least ``magnitude`` (the norm of the weights in times that of the weights
            out), the least ``activation`` (see above; needs ``sample``), or the least ``taylor`` (what the loss would
            rise by; needs ``sample``, ``targets`` and ``criterion``). See
            :mod:`~agentnn.nn_models.architecture.importance`.
        sample: Inputs of the training part, samples first.
        targets: What belongs to them.
        criterion: (outputs, targets) to the mean loss.
        optimizer: Trains the network, and has to be told.

    Raises:
        UsageError: There is no such layer or unit, none would stay, or the optimizer can't be carried over.
    """
    before = network.architecture
    stream = before.stream_of(layer)
    width = before.blocks[layer].width
    if (fraction is None) == (units is None):
        raise UsageError("prune takes either a fraction, or the units that go")
    if by not in get_args(By):
        raise UsageError(f"units can't be chosen by {by!r}", hint=f"one of {', '.join(get_args(By))}")
    surgery = Surgery(network, optimizer)
    given = [surgery.block(place).linear for place in stream[1:]] + [surgery.linear_after(stream[-1])]
    known = means_and_spreads(network, given, sample) if sample is not None and len(sample) else None
    if units is None:
        count = _count(fraction, width)
        if by == "magnitude":
            scores = magnitudes(surgery, stream)
        elif by == "taylor":
            if targets is None or criterion is None:
                raise UsageError("units are judged by taylor on a loss", hint="targets= and criterion=")
            scores = taylor(network, given[-1], check_sample(sample, by), targets, criterion)
        else:
            check_sample(sample, by)
            assert known is not None
            scores = known[-1][1] * given[-1].weight.detach().norm(dim=0)
        gone = torch.argsort(scores, stable=True)[:count].tolist()
    else:
        gone = _checked(units, width)
    if known is not None:
        with torch.no_grad():
            for linear, (mean, _) in zip(given, known, strict=True):
                linear.bias.add_((linear.weight[:, gone].double() @ mean[gone]).to(linear.bias.dtype))
    kept = sorted(set(range(width)) - set(gone))
    surgery.resize(stream, UnitMap.of(kept, width, network.head.weight.device))
    surgery.finish(before.with_width(stream, len(kept)))
    return Change("prune", layer, False, before, network.architecture)


def _count(fraction: float | None, width: int) -> int:
    if not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        raise UsageError(f"a fraction lies above 0 and below 1, not {fraction!r}")
    if width == 1:
        raise UsageError("a layer keeps at least one unit", hint="remove(layer) takes the layer out")
    return min(max(1, int(fraction * width + 1e-9)), width - 1)


def _checked(units: Sequence[int], width: int) -> list[int]:
    gone = sorted(set(units))
    if not gone or not all(type(one) is int and 0 <= one < width for one in gone):
        raise UsageError(f"units must be some of 0 to {width - 1}, not {list(units)}")
    if len(gone) == width:
        raise UsageError("a layer keeps at least one unit", hint="remove(layer) takes the layer out")
    return gone
