"""A capture is optional: one that fails is said, and training goes on."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, AgentNNWarning
from agentnn.settings import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 300


@contextmanager
def optional(what: str) -> Iterator[None]:
    """Turn whatever fails inside into a warning; Ctrl-C and the end of the process pass.

    Args:
        what: What is then not recorded, such as ``the model's summary``.

    Warns:
        AgentNNWarning: Something failed; it says what, and why.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the boundary: nothing that is only recorded may end a training
        why = error.message if isinstance(error, AgentNNError) else f"{type(error).__name__}: {error}"
        shown = redact(" ".join(why.split()))[:_LONGEST]
        warn(f"{what} could not be recorded: {shown}")


def warn(message: str) -> None:
    """Say something that the user should know of, at the line of his own that led to it."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, AgentNNWarning, stacklevel=level)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in ("agentnn", "contextlib")
