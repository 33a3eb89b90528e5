"""Which change is tried next: chosen by the seed, the number of the change, and what was refused before."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, NamedTuple

from agentnn.nn_models.architecture.deepening import block_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from agentnn.nn_models.architecture.changes import Kind
    from agentnn.nn_models.architecture.description import Architecture
    from agentnn.nn_models.architecture.options import ArchitectureOptions


class Proposal(NamedTuple):
    """A change to try."""

    kind: Kind
    layer: int


def propose(
    architecture: Architecture, options: ArchitectureOptions, number: int, refused: Collection[Proposal]
) -> Proposal | None:
    """The next change: the kinds take turns, the seed chooses the layer.

    Args:
        architecture: What is to be changed.
        options: The kinds, the seed and the greatest number of parameters.
        number: Of the change, from 1.
        refused: What was tried on this network and not kept.

    Returns:
        The change; ``None`` where nothing is left to try.
    """
    possible = [one for one in possible_changes(architecture, options) if one not in refused]
    kinds = [kind for kind in options.moves if any(one.kind == kind for one in possible)]
    if not kinds:
        return None
    kind = kinds[(number - 1) % len(kinds)]
    return random.Random(f"{options.seed}/{number}").choice([one for one in possible if one.kind == kind])


def possible_changes(architecture: Architecture, options: ArchitectureOptions) -> Iterator[Proposal]:
    """What can be done to an architecture within its limit of parameters."""
    depth = architecture.depth
    for layer, block in enumerate(architecture.blocks):
        if not block.residual:
            stream = architecture.stream_of(layer)
            if _fits(architecture.with_width(stream, wider(block.width, options)), options):
                yield Proposal("widen", layer)
            if block.width > 1:
                yield Proposal("prune", layer)
        is_built_on = layer + 1 < depth and architecture.blocks[layer + 1].residual and not block.residual
        if depth > 1 and not is_built_on:
            yield Proposal("remove", layer)
    for at in range(1, depth + 1) if depth else (0,):
        if _fits(architecture.with_block(at, block_for(architecture, at)), options):
            yield Proposal("deepen", at)


def wider(width: int, options: ArchitectureOptions) -> int:
    """The width of a layer once it is widened."""
    return max(width + 1, math.ceil(width * options.widen_by - 1e-9))


def _fits(architecture: Architecture, options: ArchitectureOptions) -> bool:
    return options.max_parameters is None or architecture.n_parameters <= options.max_parameters
