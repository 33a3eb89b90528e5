"""What goes through the queue of an online learner: samples, and labels that came later; and how they are saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


Event: TypeAlias = "Sample | Label"


class Sample:
    """One sample of the stream.

    Attributes:
        ticket: Its number in the order of arrival, from 0.
        x: Its inputs, without the axis of samples.
        y: Its target, once it is known.
        output: What the model said of it before that.
    """

    __slots__ = ("output", "ticket", "x", "y")

    def __init__(self, x: NDArray[Any], y: NDArray[Any] | None, output: Tensor | None = None, ticket: int = -1) -> None:
        self.x, self.y, self.output, self.ticket = x, y, output, ticket


class Label:
    """The target of a sample that came before."""

    __slots__ = ("ticket", "y")

    def __init__(self, ticket: int, y: NDArray[Any]) -> None:
        self.ticket, self.y = ticket, y


class Rows:
    """Makes equal rows of what callers give: the first one says what the others must be like.

    Floating-point values get the model's type, whole numbers stay whole, and both are copied.

    Args:
        name: What they are called in messages.
        dtype: The model's type.
    """

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        self.name = name
        self.shape: tuple[int, ...] | None = None
        self._floats: Any = np.float64 if dtype == torch.float64 else np.float32
        self._dtype: Any = None

    def row(self, value: Any) -> NDArray[Any]:
        """One row.

        Raises:
            UsageError: It is not numeric, or not like the first.
        """
        if isinstance(value, Tensor):
            value = value.detach().cpu().numpy()
        try:
            row = np.array(value, dtype=self._dtype if self._dtype is self._floats else None)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{self.name} is not an array of numbers: {error}") from error
        if self._dtype is None or row.dtype != self._dtype:  # a dtype equals None where it is float64
            row = self._converted(row)
        if row.shape != self.shape:
            if self.shape is not None:
                raise UsageError(f"{self.name} has the shape {row.shape}, and the first one had {self.shape}")
            self.shape = row.shape
        return row

    def state(self) -> dict[str, Any]:
        """What the rows are like."""
        return {"shape": self.shape, "dtype": None if self._dtype is None else np.dtype(self._dtype).name}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        self.shape = None if state["shape"] is None else tuple(state["shape"])
        self._dtype = None if state["dtype"] is None else np.dtype(state["dtype"]).type

    def _converted(self, row: NDArray[Any]) -> NDArray[Any]:
        if row.dtype.kind not in "fiub":
            raise UsageError(f"{self.name} is not an array of numbers: its type is {row.dtype}")
        dtype: Any = self._floats if row.dtype.kind in "fb" else np.int64
        if self._dtype is None:
            self._dtype = dtype
        elif dtype is not self._dtype:
            raise UsageError(f"{self.name} holds numbers with a fraction, and the first one held whole numbers")
        return row.astype(dtype)


def stacked(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Rows of one shape and type as one array; what ``np.stack`` gives, in a third of its time."""
    return np.array(rows)


def packed(events: Iterable[Event]) -> dict[str, Any]:
    """Events as a few tensors and lists, which load without running code."""
    listed = list(events)
    samples = [one for one in listed if isinstance(one, Sample)]
    return {
        "is_sample": [isinstance(one, Sample) for one in listed],
        "tickets": [one.ticket for one in listed],
        "has_y": [one.y is not None for one in listed],
        "has_output": [one.output is not None for one in samples],
        "x": _stacked([torch.from_numpy(one.x) for one in samples]),
        "y": _stacked([torch.from_numpy(np.asarray(one.y)) for one in listed if one.y is not None]),
        "output": _stacked([one.output for one in samples if one.output is not None]),
    }


def unpacked(state: Mapping[str, Any], device: torch.device) -> list[Any]:
    """What was packed."""
    inputs, targets, outputs = (iter(() if state[name] is None else state[name]) for name in ("x", "y", "output"))
    has_output = iter(state["has_output"])
    events: list[Any] = []
    for is_sample, ticket, has_y in zip(state["is_sample"], state["tickets"], state["has_y"], strict=True):
        y: Any = next(targets).cpu().numpy() if has_y else None
        if is_sample:
            x = next(inputs).cpu().numpy()
            events.append(Sample(x, y, next(outputs).to(device) if next(has_output) else None, ticket))
        else:
            events.append(Label(ticket, y))
    return events


def _stacked(rows: Sequence[Tensor]) -> Tensor | None:
    return torch.stack(list(rows)) if rows else None
