"""Which unit of a layer becomes which, and what that means for every tensor that has an axis of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class UnitMap:
    """The units of a layer after a change.

    Attributes:
        source: For each unit the one before the change that it stems from, shape (units now,).
        n_before: How many there were.
    """

    source: Tensor
    n_before: int

    @classmethod
    def of(cls, source: list[int], n_before: int, device: torch.device) -> UnitMap:
        """From a list of units."""
        return cls(torch.tensor(source, dtype=torch.int64, device=device), n_before)

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def copies(self) -> Tensor:
        """How many units stem from the same one as each does, itself included; shape (units now,)."""
        return torch.bincount(self.source, minlength=self.n_before)[self.source]


@dataclass(frozen=True, eq=False)
class TensorMap:
    """What becomes of a tensor of weights when the units of its rows, its columns, or both change.

    Rows belong to the units that it makes: they are replicated as they are. Columns belong to units that it is given:
    those of a unit with ``c`` copies are divided by ``c``, so that together they do what the one did
    (Net2WiderNet: Chen, Goodfellow, Shlens 2016, https://arxiv.org/abs/1511.05641, eq. 4).

    Attributes:
        rows: Of the first axis, if they change.
        columns: Of the second axis, if they change.
    """

    rows: UnitMap | None = None
    columns: UnitMap | None = None

    def placed(self, tensor: Tensor) -> Tensor:
        """The entries of a tensor of that shape at their new places, as they are."""
        if self.rows is not None:
            tensor = tensor.index_select(0, self.rows.source)
        if self.columns is not None:
            tensor = tensor.index_select(1, self.columns.source)
        return tensor

    def value(self, tensor: Tensor) -> Tensor:
        """The weights."""
        placed = self.placed(tensor)
        return placed if self.columns is None else placed / self.columns.copies.to(placed.dtype)

    def moment(self, tensor: Tensor, power: int) -> Tensor:
        """A running mean of the gradients' ``power``: what it would be had the units always been as they are now.

        The loss falls through each of ``c`` copies of a unit in the c-th part: the gradient of its row is the old one
        divided by ``c``. The gradient of a column is the old one, since the unit gives what it gave.
        """
        placed = self.placed(tensor)
        if self.rows is None or power == 0:
            return placed
        copies = self.rows.copies.to(placed.dtype) ** power
        return placed / (copies.unsqueeze(1) if placed.ndim == 2 else copies)
