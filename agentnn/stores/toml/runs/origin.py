"""``origin.toml``: where a run was made that was brought here from another store.

It holds what other stores keep as tags, so that ``config.toml`` can be the very file that it was where it was made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentnn.stores.run_writer import UNFINISHED_TAG
from agentnn.stores.toml.layout import CONFIG, ORIGIN
from agentnn.stores.toml.runs.replacing import locked, replace_file
from agentnn.stores.toml.text.documents import parse, render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_IMPORTED = "agentnn.imported_"
_RENAMED = {"agentnn.imported_from": "store", UNFINISHED_TAG: "unfinished"}
_BACK = {key: tag for tag, key in _RENAMED.items()}


def is_of_origin(tag: str) -> bool:
    """Whether a tag says where a run was made, and so stands in ``origin.toml``."""
    return tag.startswith(_IMPORTED) or tag == UNFINISHED_TAG


def origin_tags(folder: Path) -> dict[str, str]:
    """What ``origin.toml`` says, as the tags that it stands for; none when the run was made here.

    Whoever reads a run adds these to its tags. The file changes only together with ``config.toml``, and before it.

    Raises:
        CorruptDataError: It is no TOML.
    """
    path = folder / ORIGIN
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    return {_BACK.get(key, _IMPORTED + key): str(value) for key, value in parse(data, path).items()}


def origin_document(tags: Mapping[str, str]) -> dict[str, str]:
    """The document that says these tags."""
    return {_RENAMED.get(tag, tag.removeprefix(_IMPORTED)): text for tag, text in tags.items()}


def split_tags(tags: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The tags that say where a run was made, and all others."""
    origin = {key: text for key, text in tags.items() if is_of_origin(key)}
    return origin, {key: text for key, text in tags.items() if key not in origin}


def change_origin(folder: Path, change: Callable[[dict[str, str]], object]) -> None:
    """Change ``origin.toml``, and give ``config.toml`` a new time, by which a reader sees that something changed.

    Args:
        folder: The run's folder.
        change: Is given the tags that it stands for, and changes them.

    Raises:
        CorruptDataError: It is no TOML.
        StoreUnavailable: It can't be written.
    """
    with locked(folder):
        tags = origin_tags(folder)
        change(tags)
        replace_file(folder / ORIGIN, render(origin_document(tags)))
        os.utime(folder / CONFIG)
