"""A trained network as MLflow's model folder is made of it: weights and configuration, and no code."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from agentnn.tracking.models.torch_modules import DESCRIPTION_FILE, INPUT_FILE, OUTPUT_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from agentnn.tracking.active_run import ActiveRun

_FOLDER = "network"


@runtime_checkable
class KeptNetwork(Protocol):
    """A network that knows how it is kept: in files that load without running code.

    Attributes:
        LOADER: The module whose ``_load_pyfunc(path)`` reads the files and gives an object with ``predict``; it has to
            be among those that :mod:`agentnn.stores.mlflow.models` knows.
    """

    LOADER: str

    def save(self, directory: Path) -> None:
        """Write the files into a directory, which is made if it is not there."""

    def predict(self, inputs: Any) -> NDArray[np.float32]:
        """What it says of samples, as the loaded one will."""


def log_network(run: ActiveRun, network: nn.Module, example: NDArray[np.float32]) -> None:
    """Log a trained network as the run's model.

    Args:
        run: The run.
        network: One that knows how it is kept, or any other, which is kept as ``ActiveRun.log_model`` does.
        example: A few raw samples, for the signature.
    """
    if isinstance(network, KeptNetwork):
        kept: KeptNetwork = network
        run.log_saved_model(lambda folder: save_for_mlflow(folder, kept, example))
    else:
        run.log_model(network, input_example=example)


def save_for_mlflow(directory: Path, network: KeptNetwork, example: NDArray[np.float32]) -> None:
    """Write what :func:`~agentnn.tracking.models.model_files.build_model_folder` makes MLflow's model folder of.

    Args:
        directory: Where to write; it is made.
        network: What was trained.
        example: A few raw samples, for the signature.
    """
    network.save(directory / _FOLDER)
    description = {"loader_module": network.LOADER, "data": _FOLDER, "pip_requirements": requirements()}
    (directory / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    np.save(directory / INPUT_FILE, example, allow_pickle=False)
    np.save(directory / OUTPUT_FILE, network.predict(example), allow_pickle=False)


def requirements() -> list[str]:
    """This environment's versions of what a network needs; a local label such as ``+cpu`` is on no package index."""
    found = []
    for name in ("agentnn", "numpy", "torch"):
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            found.append(name)
    return found
