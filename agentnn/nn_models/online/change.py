"""What a drift detector answers."""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """The mean is no longer what it was.

    Attributes:
        before: The mean of the older values.
        after: The mean of the newer ones.
    """

    before: float
    after: float

    @property
    def is_rise(self) -> bool:
        """Whether it went up, which for an error is to the worse."""
        return self.after > self.before
