"""Optional packages: the one place that says how to install what is missing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from agentnn.errors import MissingDependencyError

if TYPE_CHECKING:
    from types import ModuleType


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: The module's import name, such as ``"torch"``.
        extra: The extra of agentnn that brings it, such as ``"train"``.

    Raises:
        MissingDependencyError: The module is not installed; the hint is the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingDependencyError(
            f"{module} is not installed; this needs the extra {extra!r}",
            hint=f"pip install 'agentnn[{extra}]'",
        ) from error
