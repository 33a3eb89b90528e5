"""What a drift detector is: it is told one error after another and says when they are no longer what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agentnn.nn_models.online.adwin import Adwin
from agentnn.nn_models.online.page_hinkley import PageHinkley

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.nn_models.online.change import Change
    from agentnn.nn_models.online.options import OnlineOptions


class DriftDetector(Protocol):
    """Anything with these three methods can watch the errors of an online learner."""

    def update(self, value: float) -> Change | None:
        """Take the next value; the change, where it shows one."""

    def state(self) -> dict[str, Any]:
        """All that it remembers, as plain values."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""


class Drift(NamedTuple):
    """A detected rise of the error, and what was done about it.

    Attributes:
        sample: Samples that were judged when it was seen.
        before: The mean error before.
        after: The mean error since.
        reactions: What the learner does about it, before its next step.
    """

    sample: int
    before: float
    after: float
    reactions: tuple[str, ...]

    def __str__(self) -> str:
        done = ", ".join(self.reactions) or "nothing done"
        return f"sample {self.sample}: error {self.before:.6g} to {self.after:.6g}; {done}"


def make_detector(options: OnlineOptions) -> DriftDetector | None:
    """The detector that the options name; ``None`` for ``none``."""
    if options.detector == "adwin":
        return Adwin(options.adwin_delta, value_range=options.adwin_range)
    if options.detector == "page_hinkley":
        return PageHinkley(options.page_hinkley_threshold, tolerance=options.page_hinkley_tolerance)
    return None
