"""The latest samples that were learnt from, to be learnt from again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from agentnn.training.loop.steps import Samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class SampleMemory:
    """A window of the latest samples, from which older ones are drawn beside the new ones.

    Learning from each sample only once forgets what is rare; a few old samples in every step are the simplest remedy:
    A. Chaudhry et al., *On tiny episodic memories in continual learning*, 2019, https://arxiv.org/abs/1902.10486.

    Args:
        size: Samples that are kept; 0 for none.
        drawn: Samples that are drawn each time, with replacement, all equally likely.
        seed: Of the draws; without one it is drawn from the random numbers of the process.
    """

    def __init__(self, size: int, drawn: int, seed: int | None) -> None:
        self._size, self._drawn = size, drawn
        self._generator = torch.Generator()
        if drawn:
            self._generator.manual_seed(int(torch.randint(2**62, ())) if seed is None else seed)
        self._kept: Samples | None = None
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, self._size)

    def with_older(self, new: Samples) -> Samples:
        """The new samples, and after them those that were drawn; all are on the new ones' device."""
        if not self._drawn or self._kept is None:
            return new
        rows = torch.randint(len(self), (self._drawn,), generator=self._generator)
        old = self._kept.rows(rows.to(self._kept.inputs.device))
        return Samples(torch.cat([new.inputs, old.inputs]), torch.cat([new.targets, old.targets]))

    def add(self, samples: Samples) -> None:
        """Keep samples in the place of the oldest."""
        if not self._size:
            return
        if self._kept is None:
            self._kept = Samples(*(one.new_zeros(self._size, *one.shape[1:]) for one in samples))
        latest = Samples(*(one[-self._size :] for one in samples))
        first = self._count + len(samples.inputs) - len(latest.inputs)
        rows = torch.arange(first, first + len(latest.inputs), device=samples.inputs.device) % self._size
        for kept, new in zip(self._kept, latest, strict=True):
            kept.index_copy_(0, rows, new)
        self._count += len(samples.inputs)

    def state(self) -> dict[str, Any]:
        """All that it remembers."""
        kept: list[Tensor] = [] if self._kept is None else [one[: len(self)].clone() for one in self._kept]
        return {"count": self._count, "kept": kept, "generator": self._generator.get_state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        self._kept = None
        if state["kept"]:
            kept = Samples(*state["kept"])
            self._kept = Samples(*(one.new_zeros(self._size, *one.shape[1:]) for one in kept))
            for place, one in zip(self._kept, kept, strict=True):
                place[: len(one)] = one
        self._count = state["count"]
        self._generator.set_state(state["generator"].cpu())
