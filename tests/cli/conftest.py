"""A filled store for the tests of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli.support import fill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def filled(database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with known rows, in the working directory and under its default name."""
    fill(database)
    monkeypatch.chdir(database.parent)
    return database
