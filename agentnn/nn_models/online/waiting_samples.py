"""Samples that were predicted, and whose labels have yet to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.nn_models.online.stream_events import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from agentnn.nn_models.online.stream_counts import Counts
    from agentnn.nn_models.online.stream_events import Label, Sample


class WaitingSamples:
    """Holds samples until their labels come; of too many the oldest are given up.

    Args:
        most: How many may wait.
        counts: Where those that are given up, and labels that nobody waits for, are counted.
    """

    def __init__(self, most: int, counts: Counts) -> None:
        self._most, self._counts = most, counts
        self._samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, sample: Sample) -> None:
        """Let one wait."""
        self._samples[sample.ticket] = sample
        if len(self._samples) > self._most:
            del self._samples[next(iter(self._samples))]
            self._counts.expired += 1

    def labelled(self, label: Label) -> Sample | None:
        """The sample that the label is of, which waits no more; ``None`` if it did not."""
        sample = self._samples.pop(label.ticket, None)
        if sample is None:
            self._counts.unmatched += 1
        else:
            sample.y = label.y
        return sample

    def state(self) -> dict[str, Any]:
        """All of them."""
        return packed(self._samples.values())

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go back to what :meth:`state` gave."""
        self._samples = {one.ticket: one for one in unpacked(state, device)}
