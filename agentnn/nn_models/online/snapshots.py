"""The state of an online learner in one file, replaced at once, with a digest, and read without running code."""

from __future__ import annotations

import hashlib
import io
import pickle
from typing import TYPE_CHECKING, Any

import torch

from agentnn.errors import CorruptDataError, StoreUnavailable, UnsafeError
from agentnn.tracking.journal.state import make_private_folder
from agentnn.training.loop.checkpoints import FORMAT, read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KIND = "online_learner"


def to_bytes(state: Mapping[str, Any]) -> bytes:
    """A state of tensors and plain values as it is now."""
    file = io.BytesIO()
    torch.save(dict(state), file)
    return file.getvalue()


def write_snapshot(path: Path, payload: bytes) -> str:
    """Replace the file; gives the SHA-256 of the state.

    Raises:
        StoreUnavailable: The file can't be written; the one before is as it was.
    """
    digest = hashlib.sha256(payload).hexdigest()
    content = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
    try:
        make_private_folder(path.parent)
        write_state(path, {"format": FORMAT, "kind": _KIND, "sha256": digest, "payload": content})
    except (OSError, RuntimeError) as error:  # torch says RuntimeError when a disk is full
        raise StoreUnavailable(
            f"the snapshot {path} can't be written: {error}", hint="make room, or name another file"
        ) from error
    return digest


def read_snapshot(path: Path, device: torch.device) -> tuple[dict[str, Any], str]:
    """The state in the file, and its SHA-256.

    Raises:
        FileNotFoundError: There is none.
        CorruptDataError: It is damaged, or no snapshot.
        UnsafeError: It holds something other than tensors and plain values.
    """
    file = read_state(path, torch.device("cpu"))
    if file.get("kind") != _KIND:
        raise CorruptDataError(f"{path} does not hold the snapshot of an online learner")
    payload = file["payload"].numpy().tobytes()
    digest = hashlib.sha256(payload).hexdigest()
    if digest != file["sha256"]:
        raise CorruptDataError(f"{path} is damaged: its SHA-256 is {digest}, and should be {file['sha256']}")
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeError(f"{path} holds something other than a snapshot, and was not loaded") from error
    return state, digest
