"""A trained network as MLflow's model folder is made of it: weights and configuration, and no code."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np

from agentnn.tracking.models.torch_modules import DESCRIPTION_FILE, INPUT_FILE, OUTPUT_FILE
from agentnn.training.networks import save_network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from agentnn.training.networks import Network

LOADER = "agentnn.training.networks"
_FOLDER = "network"


def save_for_mlflow(directory: Path, network: Network, example: NDArray[np.float32]) -> None:
    """Write what :func:`~agentnn.tracking.models.model_files.build_model_folder` makes MLflow's model folder of.

    Args:
        directory: Where to write; it is made.
        network: What was trained.
        example: A few raw samples, for the signature.
    """
    save_network(directory / _FOLDER, network)
    description = {"loader_module": LOADER, "data": _FOLDER, "pip_requirements": requirements()}
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
