"""What is said when a process of several fails, or is gone."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import torch.distributed as dist

from agentnn.errors import AgentNNError, TrainingError

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

_KEY = "failure"
_OF_PEERS = re.compile(
    r"gloo|nccl|by peer|connect\w* (?:closed|reset|refused|failed)|broken pipe|timed out|socket", re.IGNORECASE
)


class WorkerLost(TrainingError):
    """Another process is gone, or does not answer, and has not said why; trying again may help."""


class WorkerFailed(TrainingError):
    """Another process failed, and said why.

    Args:
        failure: What it said.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"worker {failure.rank} failed: {failure.text}", hint=failure.hint)
        self.failure = failure


class Failure(NamedTuple):
    """Why a process failed.

    Attributes:
        rank: Which.
        kind: The class of the error.
        text: What it says.
        hint: What it advises.
        is_lasting: Whether it would fail again: the error is one of ours, such as a loss that is not finite.
    """

    rank: int
    kind: str
    text: str
    hint: str
    is_lasting: bool

    @classmethod
    def of(cls, error: BaseException, rank: int) -> Failure:
        """What there is to say of an error of this process, or of one of another that it has heard of."""
        if isinstance(error, WorkerFailed):
            return error.failure
        kind = type(error).__name__
        if isinstance(error, AgentNNError):
            return cls(rank, kind, str(error), error.hint, not isinstance(error, WorkerLost))
        first = str(error).strip().partition("\n")[0][:500]
        return cls(rank, kind, f"{kind}: {first}" if first else kind, "", is_lasting=False)

    @classmethod
    def from_json(cls, text: str) -> Failure:
        """What ``json.dumps`` made of one."""
        values: list[Any] = json.loads(text)
        return cls(*values)


def is_of_peers(error: BaseException) -> bool:
    """Whether an error says that another process is gone, rather than that something is wrong here."""
    if isinstance(error, dist.DistError):
        return True
    return (
        isinstance(error, RuntimeError) and not isinstance(error, AgentNNError) and bool(_OF_PEERS.search(str(error)))
    )


def tell(store: Store | None, failure: Failure) -> None:
    """Leave word of a failure for the other processes; the first one stays."""
    if store is None:
        return
    try:
        store.compare_set(_KEY, "", json.dumps(failure))
    except (RuntimeError, ValueError):  # whoever holds the store is gone as well
        return


def heard(store: Store | None) -> Failure | None:
    """What another process said before it was gone."""
    if store is None:
        return None
    try:
        return Failure.from_json(store.get(_KEY).decode()) if store.check([_KEY]) else None
    except (RuntimeError, ValueError):
        return None
