"""Where the index of a folder of projects lies: beside them, or where that can't be, in this machine's own folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentnn.stores.index_file import place_in_state
from agentnn.stores.toml.layout import INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def places_of(base_dir: Path) -> Iterator[Path]:
    """The places where the index may lie, the best first."""
    if _may_write_beside(base_dir):
        yield base_dir / INDEX
    yield place_in_state(base_dir, ".sqlite")


def _may_write_beside(base_dir: Path) -> bool:
    """Whether an index may be made or changed beside the projects: SQLite needs a journal next to it."""
    place = base_dir / INDEX
    return os.access(base_dir, os.W_OK | os.X_OK) and (not place.exists() or os.access(place, os.R_OK | os.W_OK))
