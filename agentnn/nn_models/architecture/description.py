"""What a feed-forward network is, without its weights: ``Architecture``, immutable, and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from torch import nn

from agentnn.errors import ConfigError, UsageError
from agentnn.training.families import ACTIVATIONS as OF_FAMILIES

Normalisation = Literal["none", "batch", "layer"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"identity": nn.Identity, **OF_FAMILIES}
"""What a block's ``activation`` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A hidden layer: linear, normalisation, activation, dropout.

    Attributes:
        width: Its units.
        activation: One of :data:`ACTIVATIONS`; ``identity`` for none.
        normalisation: Between the linear map and the activation: ``none``, ``batch`` or ``layer``.
        dropout: Probability of dropping a unit while training, from 0 to below 1.
        residual: Whether the block adds to what it is given, ``x + gate * block(x)``, instead of replacing it. With the
            one trained number ``gate`` at 0 it changes nothing, whatever its activation (ReZero: Bachlechner et al.
            2020, https://arxiv.org/abs/2003.04887).

    Raises:
        ConfigError: A value is of the wrong type or out of range.
    """

    width: int
    activation: str = "relu"
    normalisation: Normalisation = "none"
    dropout: float = 0.0
    residual: bool = False

    def __post_init__(self) -> None:
        check_whole("width", self.width, 1)
        for name, choices in (("activation", ACTIVATIONS), ("normalisation", get_args(Normalisation))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"unknown {name} {getattr(self, name)!r}", hint=f"one of {', '.join(choices)}")
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be at least 0 and below 1, not {self.dropout!r}")
        if type(self.residual) is not bool:
            raise ConfigError(f"residual must be true or false, not {self.residual!r}")

    def n_parameters(self, n_inputs: int) -> int:
        """Trained numbers, with so many inputs."""
        normalising = 0 if self.normalisation == "none" else 2 * self.width
        return n_inputs * self.width + self.width + normalising + int(self.residual)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A feed-forward network of blocks and a linear layer after them.

    A residual block and the block before it have the same units: they are one *stream*, and change their width
    together. A residual block at the very beginning belongs to the inputs.

    Attributes:
        n_inputs: Values of a sample; a window of days counts with all of its days.
        n_outputs: Values that the network gives.
        blocks: The hidden layers, from the inputs on; without any the network is one linear map.

    Raises:
        ConfigError: A value is wrong, or a residual block has another width than what it adds to.
    """

    n_inputs: int
    n_outputs: int = 1
    blocks: tuple[Block, ...] = ()

    def __post_init__(self) -> None:
        check_whole("n_inputs", self.n_inputs, 1)
        check_whole("n_outputs", self.n_outputs, 1)
        object.__setattr__(self, "blocks", tuple(self.blocks))
        for place, block in enumerate(self.blocks):
            if block.residual and block.width != self.width_before(place):
                raise ConfigError(
                    f"the residual layer {place} has the width {block.width}, but is given {self.width_before(place)}"
                )

    @classmethod
    def of_widths(cls, n_inputs: int, widths: tuple[int, ...], n_outputs: int = 1, **options: Any) -> Architecture:
        """Plain blocks of these widths, with the same ``options`` (see :class:`Block`)."""
        return cls(n_inputs, n_outputs, tuple(Block(width=width, **options) for width in widths))

    @classmethod
    def from_dict(cls, values: object) -> Architecture:
        """The architecture that :meth:`to_dict` wrote.

        Raises:
            ConfigError: A value is missing, unknown or wrong.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or values.keys() != known or not isinstance(values["blocks"], list):
            raise ConfigError(f"an architecture holds {', '.join(sorted(known))} and nothing else")
        names = {field.name for field in fields(Block)}
        for block in values["blocks"]:
            if not isinstance(block, dict) or not {"width"} <= block.keys() <= names:
                raise ConfigError(f"a block holds {', '.join(sorted(names))} and nothing else")
        return cls(values["n_inputs"], values["n_outputs"], tuple(Block(**block) for block in values["blocks"]))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "n_inputs": self.n_inputs,
            "n_outputs": self.n_outputs,
            "blocks": [asdict(block) for block in self.blocks],
        }

    @property
    def depth(self) -> int:
        """Hidden layers."""
        return len(self.blocks)

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of each hidden layer."""
        return tuple(block.width for block in self.blocks)

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        hidden = sum(block.n_parameters(self.width_before(place)) for place, block in enumerate(self.blocks))
        return hidden + (self.width_before(self.depth) + 1) * self.n_outputs

    def width_before(self, place: int) -> int:
        """How many values a layer is given; the depth stands for the last, linear one."""
        return self.blocks[place - 1].width if place else self.n_inputs

    def stream_of(self, layer: int) -> range:
        """The layers that have their units in common with this one.

        Raises:
            UsageError: There is no such layer, or its units are the inputs.
        """
        self.check_layer(layer)
        first = layer
        while first >= 0 and self.blocks[first].residual:
            first -= 1
        if first < 0:
            raise UsageError(
                f"layer {layer} adds to the inputs, and has as many units as there are of these",
                hint="change the width of another layer",
            )
        last = layer
        while last + 1 < self.depth and self.blocks[last + 1].residual:
            last += 1
        return range(first, last + 1)

    def check_layer(self, layer: int) -> None:
        """Whether there is such a layer.

        Raises:
            UsageError: There is none.
        """
        if type(layer) is not int or not 0 <= layer < self.depth:
            raise UsageError(f"there is no layer {layer!r}", hint=f"hidden layers count from 0 to {self.depth - 1}")

    def with_width(self, stream: range, width: int) -> Architecture:
        """The same with another width of a stream."""
        changed = [replace(one, width=width) if place in stream else one for place, one in enumerate(self.blocks)]
        return replace(self, blocks=tuple(changed))

    def with_block(self, at: int, block: Block) -> Architecture:
        """The same with one more block, before the one at this place."""
        return replace(self, blocks=(*self.blocks[:at], block, *self.blocks[at:]))

    def without(self, layer: int) -> Architecture:
        """The same without a block."""
        return replace(self, blocks=(*self.blocks[:layer], *self.blocks[layer + 1 :]))

    def __str__(self) -> str:
        hidden = "".join(f"{'+' if block.residual else '-'}{block.width}" for block in self.blocks)
        return f"{self.n_inputs}{hidden}-{self.n_outputs}"


def check_whole(name: str, value: object, least: int) -> None:
    """Whether a value is a whole number of at least so much.

    Raises:
        ConfigError: It is not.
    """
    if type(value) is not int or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}")
