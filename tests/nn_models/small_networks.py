"""Small networks with layers of every kind, and Hypothesis' strategies for them and for changes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from hypothesis import strategies as st
from torch import Tensor

from agentnn.nn_models.architecture.description import ACTIVATIONS, Architecture, Block
from agentnn.nn_models.architecture.network import DynamicNetwork

if TYPE_CHECKING:
    from agentnn.nn_models.architecture.changes import Change


@st.composite
def architectures(
    draw: st.DrawFn,
    most: int = 4,
    normalisations: tuple[str, ...] = ("none", "batch", "layer"),
    *,
    ends_plain: bool = False,
) -> Architecture:
    """Up to a few blocks, residual ones among them, and none at the end where ``ends_plain`` says so.

    None normalises one or two units by layer: they differ by little, or by nothing, and that multiplies what is rounded
    by up to 300.
    """
    n_inputs = draw(st.integers(1, 4))
    blocks: list[Block] = []
    for _ in range(draw(st.integers(0, most))):
        before = blocks[-1].width if blocks else n_inputs
        residual = draw(st.booleans())
        width = before if residual else draw(st.integers(1, 5))
        blocks.append(
            Block(
                width=width,
                activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
                normalisation=draw(st.sampled_from([one for one in normalisations if one != "layer" or width > 2])),
                dropout=draw(st.sampled_from([0.0, 0.4])),
                residual=residual,
            )
        )
    if ends_plain:
        activation, normalisation = draw(st.sampled_from(sorted(ACTIVATIONS))), draw(st.sampled_from(["none", "batch"]))
        blocks.append(Block(width=draw(st.integers(2, 5)), activation=activation, normalisation=normalisation))
    return Architecture(n_inputs, draw(st.integers(1, 3)), tuple(blocks))


def network_of(architecture: Architecture, seed: int, dtype: torch.dtype = torch.float64) -> DynamicNetwork:
    """A network in which nothing is as it was made: gates, statistics and standardisation neither."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = DynamicNetwork(architecture).to(dtype)
        for parameter in network.parameters():
            parameter.data.copy_(0.7 * torch.randn_like(parameter))
        for name, buffer in network.named_buffers():
            if name.endswith(("var", "scale")):
                buffer.copy_(torch.rand_like(buffer) + 0.5)
            elif name.endswith("mean"):
                buffer.copy_(torch.randn_like(buffer))
    return network.eval()


def inputs_for(network: DynamicNetwork, seed: int, count: int = 16) -> Tensor:
    """Random inputs."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, network.architecture.n_inputs)
    return torch.randn(shape, generator=generator, dtype=network.feature_mean.dtype)


def outputs_of(network: DynamicNetwork, inputs: Tensor) -> Tensor:
    """In evaluation mode."""
    network.eval()
    with torch.no_grad():
        found: Tensor = network(inputs)
    return found


def has_units(architecture: Architecture, layer: int) -> bool:
    """Whether a layer has units of its own, and not those of the inputs."""
    return any(not one.residual for one in architecture.blocks[: layer + 1])


def grow(data: st.DataObject, network: DynamicNetwork) -> Change | None:
    """One change that keeps the function, if there is one."""
    architecture = network.architecture
    layer = data.draw(st.integers(0, architecture.depth))
    if data.draw(st.booleans()):
        return network.deepen(layer, activation=data.draw(st.sampled_from([None, *sorted(ACTIVATIONS)])))
    if layer == architecture.depth or not has_units(architecture, layer):
        return None
    return network.widen(layer, architecture.blocks[layer].width + data.draw(st.integers(1, 4)))
