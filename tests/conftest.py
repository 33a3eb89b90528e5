"""What all tests share: an empty MLflow store, made and migrated once a session by MLflow itself."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def _no_environment_of_the_developer() -> Iterator[None]:
    """No test may look into the store of the person who runs it."""
    names = [name for name in os.environ if name.startswith("MLFLOW_")]
    saved = {name: os.environ.pop(name) for name in names}
    yield
    os.environ.update(saved)


@pytest.fixture(scope="session")
def template_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database of the installed version; copy it, it takes seconds to make."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def database(tmp_path: Path, template_database: Path) -> Path:
    """An empty MLflow database of this test's own."""
    path = tmp_path / "mlflow.db"
    shutil.copyfile(template_database, path)
    return path


@pytest.fixture
def uri(database: Path) -> str:
    """The tracking URI of an empty MLflow database of this test's own."""
    return f"sqlite:///{database}"
