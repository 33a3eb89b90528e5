"""The leaves of a run's documents under dotted names, and what the columns of a frame of many runs are called."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import UsageError
from agentnn.stores.toml.layout import META, WANDB

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentnn.stores.toml.index.reading import RunDocuments

SPACES = ("config", "metrics", "about")
"""Where a leaf comes from, in the order of a frame's columns; ``about`` is ``_meta`` and ``_wandb``."""

ROW_COLUMNS = ("run_id", "project_name")
"""The columns that every frame begins with."""

Shape = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""The dotted names of a run's leaves, of each space in the order of its file. Most runs share theirs with many."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class ColumnKey(NamedTuple):
    """Which leaves a column holds."""

    space: str
    key: str


class RunLeaves(NamedTuple):
    """The leaves of a run, and when it was created (ms since the epoch).

    Attributes:
        created: When.
        shape: What leaves it has.
        values: Their values, in the order of the shape.
    """

    created: int
    shape: Shape
    values: tuple[Any, ...]


def leaves_of(run: RunDocuments) -> RunLeaves:
    """The leaves of a run's documents; an empty table has none.

    Raises:
        UsageError: Two leaves of a file have the same dotted name.
    """
    own: dict[str, Any] = {}
    about: dict[str, Any] = {}
    for key, value in run.config.items():
        (about if key in (META, WANDB) else own)[key] = value
    config, metrics, about = _flat(own), _flat(run.metrics), _flat(about)
    shape = (tuple(config), tuple(metrics), tuple(about))
    return RunLeaves(_created(run), shape, (*config.values(), *metrics.values(), *about.values()))


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    _collect(table, "", leaves)
    return leaves


def _collect(table: Mapping[str, Any], prefix: str, leaves: dict[str, Any]) -> None:
    for key, value in table.items():
        name = prefix + key
        if isinstance(value, dict):
            _collect(value, f"{name}.", leaves)
        elif name in leaves:
            raise UsageError(f"two values are called {name!r} once nested keys are joined", hint="rename one of them")
        else:
            leaves[name] = value


def _created(run: RunDocuments) -> int:
    """When a run was created, or else when its config was written."""
    meta = run.config.get(META)
    moment = meta.get("created_at") if isinstance(meta, dict) else None
    if not isinstance(moment, datetime):
        return run.config_written
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MILLISECOND


def keys_of(shape: Shape) -> list[ColumnKey]:
    """The columns that a run's leaves belong to."""
    return [ColumnKey(space, key) for space, keys in zip(SPACES, shape, strict=True) for key in keys]


def ordered(shapes: Iterable[Shape]) -> list[ColumnKey]:
    """The columns of a frame: by space, and within one in the order in which its leaves are first seen.

    Args:
        shapes: What leaves each run has, in the order of the runs; a shape that repeats may be left out.
    """
    seen = dict.fromkeys(key for shape in shapes for key in keys_of(shape))
    return sorted(seen, key=lambda key: SPACES.index(key.space))


def column_names(keys: Sequence[ColumnKey]) -> dict[ColumnKey, str]:
    """What each column is called: its key, and where two columns would get the same name, where it comes from too.

    ``_meta`` and ``_wandb``, and the columns that every frame begins with, keep their names; what else has them gives
    way.
    """
    names = {key: key.key for key in keys}
    while True:
        counts = Counter((*ROW_COLUMNS, *names.values()))
        apart = [key for key in keys if counts[names[key]] > 1 and names[key] == key.key and key.space != "about"]
        if not apart:
            return names
        names.update((key, f"{key.space}.{key.key}") for key in apart)
