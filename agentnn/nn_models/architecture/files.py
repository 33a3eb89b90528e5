"""A network with changing layers on disk: its architecture as JSON, its weights beside it, and no code.

::

    <folder>/
    ├── architecture.json                 the layers, and the name and the SHA-256 of the weights
    └── weights-<16 hexadecimal>.pt       a state dict

Weights are written under a name of their own before ``architecture.json`` is put in its place at once: whatever dies
meanwhile, what is read is the network before or the one after. They are read with ``weights_only=True``.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import uuid
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from agentnn.errors import ConfigError, CorruptDataError, NotFoundError, StoreUnavailable, UnsafeError
from agentnn.nn_models.architecture.description import Architecture
from agentnn.nn_models.architecture.network import DynamicNetwork
from agentnn.training.networks import Predicts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ARCHITECTURE_FILE = "architecture.json"
_FORMAT = "agentnn-architecture-1"
_WEIGHTS = "weights-*.pt"


def save_network(folder: str | Path, network: DynamicNetwork) -> None:
    """Write a network into a folder, which is made if it is not there, in the place of one that is there.

    Raises:
        StoreUnavailable: It can't be written; one that was there is there still.
    """
    folder = Path(folder)
    buffer = io.BytesIO()
    torch.save({name: value.detach().cpu() for name, value in network.state_dict().items()}, buffer)
    digest = sha256(buffer.getbuffer()).hexdigest()
    weights = f"weights-{digest[:16]}.pt"
    described = {
        "format": _FORMAT,
        "architecture": network.architecture.to_dict(),
        "predicts": network.predicts,
        "weights": {"file": weights, "sha256": digest},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / weights, buffer.getvalue())
        _write(folder / ARCHITECTURE_FILE, (json.dumps(described, indent=2) + "\n").encode())
        for left in folder.glob(_WEIGHTS):
            if left.name != weights:
                left.unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the network can't be saved in {folder}: {error.strerror or error}") from error


def load_network(folder: str | Path) -> DynamicNetwork:
    """Read the network that :func:`save_network` wrote, on the CPU and in evaluation mode; no code in it is ever run.

    Raises:
        NotFoundError: A file is missing.
        CorruptDataError: A file is damaged, or the two don't fit each other.
        UnsafeError: The weights file holds something other than weights.
    """
    folder = Path(folder)
    described = _described(folder)
    name, digest = described["weights"]["file"], described["weights"]["sha256"]
    path = folder / name
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"no network in {folder}: {name} is missing") from error
    if sha256(content).hexdigest() != digest:
        raise CorruptDataError(f"{path} is damaged: it has another SHA-256 than {ARCHITECTURE_FILE} says")
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        with torch.device("meta"):  # no memory, whatever the file says of sizes
            network = DynamicNetwork(Architecture.from_dict(described["architecture"]))
        network.load_state_dict(weights, assign=True)
        network.predicts = described.get("predicts", "value")
    except pickle.UnpicklingError as error:
        raise UnsafeError(f"{path} holds something other than weights, and was not loaded") from error
    except ConfigError as error:
        raise CorruptDataError(f"{folder / ARCHITECTURE_FILE}: {error}") from error
    except (AttributeError, EOFError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CorruptDataError(f"the weights in {folder} don't fit {ARCHITECTURE_FILE}: {reason}") from error
    return network.eval()


class NetworkModel:
    """What MLflow's pyfunc flavor loads; see :func:`_load_pyfunc`."""

    def __init__(self, network: DynamicNetwork) -> None:
        self.network = network

    def predict(self, inputs: Any, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """:meth:`DynamicNetwork.predict`; ``params`` is MLflow's and has no effect."""
        return self.network.predict(inputs)


def _load_pyfunc(data_path: str) -> NetworkModel:
    """The loader that MLflow calls by this name, with the folder that :func:`save_network` wrote."""
    return NetworkModel(load_network(data_path))


def _described(folder: Path) -> dict[str, Any]:
    path = folder / ARCHITECTURE_FILE
    try:
        described: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"no network in {folder}: {ARCHITECTURE_FILE} is missing") from error
    except ValueError as error:
        raise CorruptDataError(f"{path} is damaged: {error}") from error
    weights = described.get("weights") if isinstance(described, dict) else None
    if not isinstance(weights, dict) or described.get("format") != _FORMAT:
        raise CorruptDataError(f"{path} does not describe a network with changing layers")
    if described.get("predicts", "value") not in get_args(Predicts):
        raise CorruptDataError(f"{path} does not say what the network predicts")
    digest = weights.get("sha256")
    if not isinstance(digest, str) or weights.get("file") != f"weights-{digest[:16]}.pt" or "/" in digest[:16]:
        raise CorruptDataError(f"{path} does not name its weights")
    found: dict[str, Any] = described
    return found


def _write(path: Path, content: bytes) -> None:
    """Replace a file at once."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.writing")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        temporary.unlink(missing_ok=True)
