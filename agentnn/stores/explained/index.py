"""The index of TOML files: how many files were looked at, and how many had changed and were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.stores.explained.between import Seen

if TYPE_CHECKING:
    from agentnn.stores.toml.index.scanning import Unreadable


class SeenIndex(Seen):
    """See :class:`~agentnn.stores.toml.index.index.Index`."""

    def refresh(self, *, histories: bool = False) -> tuple[Unreadable, ...]:
        """Bring MLflow's tables up to date with the files."""
        with self._explanation.step("look for files that have changed") as taking:
            self.inner.counts = taking.read
            try:
                found: tuple[Unreadable, ...] = self.inner.refresh(histories=histories)
                return found
            finally:
                self.inner.counts = None
