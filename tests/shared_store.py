"""One store and one sender for all tests of a module, since a sender takes seconds to start::

@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from faults.trainers import wait_until
from mlflow import MlflowClient
from mlflow.entities import ViewType
from real_stores import copy_sqlite_store, end_senders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow.entities import Run


@contextmanager
def shared_state(folders: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder in the environment; its senders end with it."""
    path = folders.mktemp("states") / "shared"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTNN_STATE_DIR", str(path))
        yield path
        end_senders(path)


def copy_of(template: Path, folders: pytest.TempPathFactory) -> str:
    """The tracking URI of a copy of a migrated database, which keeps its artifacts beside it."""
    folder = folders.mktemp("store")
    return copy_sqlite_store(template, folder / "mlflow.db", str(folder / "mlruns" / "0"))


def runs_called(uri: str, name: str, experiment: str = "Default") -> list[Run]:
    """The runs of an experiment with this name, as MLflow's own client says."""
    client = MlflowClient(uri)
    where = client.get_experiment_by_name(experiment)
    assert where is not None
    return list(client.search_runs([where.experiment_id], f"run_name = '{name}'", run_view_type=ViewType.ALL))


def ended_run(uri: str, name: str, experiment: str = "Default") -> Run:
    """The one run with this name, as soon as it has ended in the store."""

    def is_over() -> bool:
        return any(one.info.status != "RUNNING" for one in runs_called(uri, name, experiment))

    wait_until(is_over, f"the end of {name}")
    [run] = runs_called(uri, name, experiment)
    return run
