"""What became of the samples of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(slots=True)
class Counts:
    """What became of the samples.

    Attributes:
        observed: Samples that were taken from the queue.
        judged: Of these, those whose label came, so that the prediction could be judged.
        learned: Of these, those that were in a step; fewer than a batch are still to be.
        steps: Steps of the optimizer.
        drifts: Rises of the error that were seen.
        invalid: Samples and labels that were left out, since they held NaN or infinity.
        expired: Samples that were given up because too many waited for labels.
        unmatched: Labels of samples that do not wait: given twice, given up, or dropped.
    """

    observed: int = 0
    judged: int = 0
    learned: int = 0
    steps: int = 0
    drifts: int = 0
    invalid: int = 0
    expired: int = 0
    unmatched: int = 0

    def restore(self, counts: Mapping[str, int]) -> None:
        """Take other values, by their names."""
        for name, value in counts.items():
            setattr(self, name, value)
