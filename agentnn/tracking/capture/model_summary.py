"""The layers of a model and how many parameters each has.

Modules are known by what they can do, so that torch is never imported here: who has a module has torch loaded.
"""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.tracking.capture.predicting import at_rest

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_LAYERS = 2000


@dataclass(frozen=True, slots=True)
class Layer:
    """A module inside of a model.

    Attributes:
        name: Its path, such as ``encoder.0``; empty for the model itself.
        kind: Its class.
        depth: How many modules are around it.
        parameters: What it holds itself, without the modules inside of it; shared ones count where they come first.
        trainable: How many of these learn.
    """

    name: str
    kind: str
    depth: int
    parameters: int
    trainable: int


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model in numbers.

    Attributes:
        kind: Its class.
        layers: Every module, in its own order; at most 2000.
        parameters: All parameters, shared ones once.
        trainable: How many of these learn.
        bytes: What parameters and buffers take in memory.
        left_out: Modules beyond the 2000th.
    """

    kind: str
    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    bytes: int
    left_out: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "layers": [asdict(layer) for layer in self.layers]}

    def to_text(self) -> str:
        """The layers as a table, and the sums."""
        head = ("layer", "type", "parameters", "trainable")
        rows = [
            (
                f"{'  ' * one.depth}{one.name.rpartition('.')[2] or self.kind}",
                one.kind,
                f"{one.parameters:,}",
                f"{one.trainable:,}",
            )
            for one in self.layers
        ]
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(4)]
        lines = [
            f"{one[0]:<{widths[0]}}  {one[1]:<{widths[1]}}  {one[2]:>{widths[2]}}  {one[3]:>{widths[3]}}".rstrip()
            for one in (head, *rows)
        ]
        rule = "-" * max(map(len, lines))
        more = [f"… and {self.left_out:,} more"] if self.left_out else []
        sums = [
            f"parameters: {self.parameters:,}",
            f"trainable:  {self.trainable:,}",
            f"frozen:     {self.parameters - self.trainable:,}",
            f"memory:     {self.bytes / 1e6:,.3f} MB",
        ]
        return "\n".join([lines[0], rule, *lines[1:], *more, rule, *sums]) + "\n"


def summarise(model: Any) -> ModelSummary:
    """Count a module's parameters; it stays as it is.

    Raises:
        UsageError: It is no module of PyTorch.
    """
    if not (hasattr(model, "named_modules") and hasattr(model, "parameters")):
        raise UsageError(f"{type(model).__name__} is no torch.nn.Module", hint="log its description with log_artifact")
    seen: set[int] = set()
    layers = [_layer(name, module, seen) for name, module in model.named_modules()]
    held = {id(one): one for one in (*model.parameters(), *model.buffers())}
    return ModelSummary(
        kind=type(model).__name__,
        layers=tuple(layers[:_MOST_LAYERS]),
        parameters=sum(layer.parameters for layer in layers),
        trainable=sum(layer.trainable for layer in layers),
        bytes=sum(size * one.element_size() for one in held.values() if (size := _size(one))),
        left_out=max(0, len(layers) - _MOST_LAYERS),
    )


def torchinfo_text(model: Any, example: Any) -> str | None:
    """The table of ``torchinfo``, with the shapes that an example takes on; ``None`` where it is not installed.

    Neither the model's mode and statistics nor the state of the random numbers changes.

    Args:
        model: A module.
        example: A small batch, or a tuple of the arguments of its forward pass.
    """
    if importlib.util.find_spec("torchinfo") is None:
        return None
    from torchinfo import summary

    with at_rest(model):
        given: Sequence[Any] = example if isinstance(example, tuple) else (example,)
        columns = ("input_size", "output_size", "num_params", "trainable")
        return str(summary(model, input_data=list(given), col_names=columns, depth=8, verbose=0)) + "\n"


def _layer(name: str, module: Any, seen: set[int]) -> Layer:
    own = [one for one in module.parameters(recurse=False) if id(one) not in seen]
    seen.update(map(id, own))
    return Layer(
        name=name,
        kind=type(module).__name__,
        depth=name.count(".") + 1 if name else 0,
        parameters=sum(map(_size, own)),
        trainable=sum(_size(one) for one in own if one.requires_grad),
    )


def _size(parameter: Any) -> int:
    """Elements of a parameter; 0 for one whose shape is not known before the first batch."""
    return 0 if type(parameter).__name__.startswith("Uninitialized") else int(parameter.numel())
