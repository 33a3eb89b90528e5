"""Names of params, tags and metrics as an MLflow store takes them, and back.

A store of TOML files takes any text as a name. One of a run's names that MLflow would refuse makes that all of them are
encoded, which the import notes; so an export knows to decode them.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNWarning
from agentnn.values.keys import LONGEST, can_be_encoded, encode_key, is_common

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class StoredKeys:
    """How the names of one run are stored.

    Args:
        keys: All of them.

    Attributes:
        are_encoded: Whether at least one can't be stored as it is.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.are_encoded = not all(map(is_common, keys))
        self._told: set[str] = set()

    def key(self, key: str) -> str:
        """The name that a name is stored under; empty for one that no store of MLflow can keep, which is said."""
        if not self.are_encoded:
            return key
        if can_be_encoded(key):
            return encode_key(key)
        if key not in self._told:
            self._told.add(key)
            warnings.warn(
                f"the name {key[:40]!r} is empty or longer than the {LONGEST} characters that the store keeps, "
                "and is left out",
                AgentNNWarning,
                stacklevel=2,
            )
        return ""

    def of(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Texts by their stored names."""
        return {kept: text for key, text in texts.items() if (kept := self.key(key))}
