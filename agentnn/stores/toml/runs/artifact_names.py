"""Which files of a run's folder are its artifacts, and under which names.

A run that was made here shows its own ``config.toml`` and ``metrics.toml`` among its artifacts: so a copy elsewhere has
them, comments and all. A file that somebody logged under the name of one of ours, or under one that begins with a dot,
lies beside ours: the first character of its name is percent-encoded, ``%63onfig.toml``. Only names at the top of the
folder are told apart; what lies in folders is always the user's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentnn.stores.toml.layout import CONFIG, HISTORY, METRICS, ORIGIN

if TYPE_CHECKING:
    from collections.abc import Iterable

_OURS = frozenset((CONFIG, METRICS, HISTORY, ORIGIN))
_SHOWN = frozenset((CONFIG, METRICS))
_ENCODED = re.compile(r"%([2-7][0-9A-F])(.*)", re.DOTALL)


def stored_name(path: str) -> str:
    """Where an artifact lies in the run's folder; for most artifacts, at its own path.

    Args:
        path: Its path in the run, with slashes.
    """
    top, slash, rest = path.partition("/")
    return f"{_encoded(top)}{slash}{rest}" if _needs_encoding(top) else path


def artifact_names(entries: Iterable[str], *, is_foreign: bool) -> dict[str, str]:
    """The artifacts among the entries of a run's folder: the name of each, and that of the file or folder that it is.

    Args:
        entries: The names of what lies directly in the folder.
        is_foreign: Whether the run was made in another store: its ``config.toml`` and ``metrics.toml`` are then ours
            alone, and what it brought along under these names lies beside them.
    """
    stored = set(entries)
    found = {}
    for entry in sorted(stored):
        decoded = _decoded(entry)
        if decoded is not None:
            found[decoded] = entry
        elif not _is_ours(entry) or (entry in _SHOWN and not is_foreign and _encoded(entry) not in stored):
            found[entry] = entry
    return found


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith(".")


def _needs_encoding(name: str) -> bool:
    return _is_ours(name) or _decoded(name) is not None


def _encoded(name: str) -> str:
    return f"%{ord(name[0]):02X}{name[1:]}"


def _decoded(stored: str) -> str | None:
    """The name that was encoded; ``None`` for a name that stands for itself."""
    found = _ENCODED.fullmatch(stored)
    name = chr(int(found[1], 16)) + found[2] if found else ""
    return name if name and _needs_encoding(name) else None
