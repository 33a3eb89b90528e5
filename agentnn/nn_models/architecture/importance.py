"""How much a network relies on each unit of a layer, and what a unit gives on average."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from agentnn.errors import UsageError
from agentnn.nn_models.architecture.normalisation import SharedLayerNorm
from agentnn.training.loop.tensors import matched
from agentnn.training.networks import VALUES_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agentnn.nn_models.architecture.network import DynamicNetwork
    from agentnn.nn_models.architecture.surgery import Surgery

By = Literal["magnitude", "activation", "taylor"]


@torch.no_grad()
def magnitudes(surgery: Surgery, stream: range) -> Tensor:
    """The norm of a unit's weights in, with its bias, times that of its weights out, shape (units,).

    The product stays as it is when a layer of ``relu`` is scaled up and the next one down. Behind a normalisation the
    weight of that counts: in the place of the weights in where it is one of batches, which undoes their scale (Liu et
    al. 2017, https://arxiv.org/abs/1708.06519), and beside them where it is one of layers.
    """
    first = surgery.block(stream.start)
    linear, layer = first.linear, first.normalisation
    inward = torch.cat([linear.weight, linear.bias.unsqueeze(1)], dim=1).norm(dim=1)
    if isinstance(layer, nn.BatchNorm1d):
        inward = layer.weight.abs()
    elif isinstance(layer, SharedLayerNorm):
        inward = inward * layer.weight.abs()
    outward: Tensor = surgery.linear_after(stream[-1]).weight.norm(dim=0)
    product: Tensor = inward * outward
    return product


def taylor(
    network: DynamicNetwork,
    after: nn.Linear,
    sample: Tensor,
    targets: Tensor,
    criterion: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """How much the loss would change without a unit, to the first order: the mean of ``|a dL/da|`` over the samples.

    ``a`` is what the unit gives (Molchanov et al. 2017, https://arxiv.org/abs/1611.06440, eq. 8).

    Args:
        network: The network.
        after: The linear map that is given the units.
        sample: Inputs, samples first.
        targets: What belongs to them.
        criterion: (outputs, targets) to the mean loss.

    Returns:
        Shape (units,).
    """
    device = after.weight.device
    total = torch.zeros(after.in_features, dtype=torch.float64, device=device)
    with _evaluated(network), _inputs_of([after]) as seen, torch.enable_grad():
        for inputs, wanted in zip(*(torch.split(one, _at_once(sample)) for one in (sample, targets)), strict=True):
            outputs = network(inputs.to(device))
            loss = criterion(outputs, matched(wanted.to(device), outputs, criterion))
            values = seen[0]
            (slope,) = torch.autograd.grad(loss, values)
            total += (values.detach() * slope).double().abs().sum(dim=0) * len(inputs)  # the loss is a mean
    return total / len(sample)


@torch.no_grad()
def means_and_spreads(
    network: DynamicNetwork, linears: Sequence[nn.Linear], sample: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Mean and standard deviation of what some linear maps are given, both of shape (units,)."""
    device = network.head.weight.device
    sums = [torch.zeros(2, one.in_features, dtype=torch.float64, device=device) for one in linears]
    firsts: list[Tensor] = []
    with _evaluated(network), _inputs_of(linears) as seen:
        for inputs in torch.split(sample, _at_once(sample)):
            network(inputs.to(device))
            firsts = firsts or [values[0].double() for values in seen]
            for total, values, first in zip(sums, seen, firsts, strict=True):
                beyond = values.double() - first  # so that what does not vary has no spread, to the last bit
                total += torch.stack([beyond.sum(dim=0), beyond.square().sum(dim=0)])
    found = []
    for total, first in zip(sums, firsts, strict=True):
        mean, square = total / len(sample)
        found.append((first + mean, (square - mean.square()).clamp(min=0).sqrt()))
    return found


def check_sample(sample: Tensor | None, by: str) -> Tensor:
    """The sample, where one is needed.

    Raises:
        UsageError: There is none.
    """
    if sample is None or not len(sample):
        raise UsageError(f"units are judged by {by} on a sample", hint="sample=, inputs of the training part")
    return sample


def _at_once(sample: Tensor) -> int:
    return max(1, VALUES_AT_ONCE // max(1, sample[0].numel()))


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


@contextmanager
def _inputs_of(linears: Sequence[nn.Linear]) -> Iterator[list[Any]]:
    """What each of these is given, whenever the network is run."""
    seen: list[Any] = [None] * len(linears)

    def keep(place: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[place] = inputs[0]

        return hook

    handles = [one.register_forward_pre_hook(keep(place)) for place, one in enumerate(linears)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
