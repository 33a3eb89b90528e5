"""Writing into ``config.toml`` what a run is, given in MLflow's terms; what is read back by ``run_documents.facts_of``.

Each function changes a document in place, as :meth:`~agentnn.stores.toml.runs.run_directory.RunDirectory.change_config`
wants it. What stood in the way, being no table, is replaced.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from agentnn.stores.toml.layout import META, WANDB
from agentnn.stores.toml.runs.run_documents import FIELD_OF_TAG, WANDB_TAG, leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def meta_of(config: dict[str, Any]) -> dict[str, Any]:
    """The table ``_meta`` of a document, made where there is none."""
    return _table(config, META)


def moment(milliseconds: int | None) -> datetime | int | None:
    """Milliseconds since the epoch as a date-time of UTC; one outside the years 1 to 9999 stays a number."""
    if milliseconds is None:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return milliseconds


def is_deleted(config: Mapping[str, Any]) -> bool:
    """Whether a document is that of a deleted run."""
    meta = config.get(META)
    return isinstance(meta, dict) and meta.get("lifecycle_stage") == "deleted"


def mark_deleted(config: dict[str, Any], deleted: bool) -> None:
    """Make a run a deleted or an active one."""
    if deleted:
        meta_of(config)["lifecycle_stage"] = "deleted"
    else:
        meta_of(config).pop("lifecycle_stage", None)


def end(config: dict[str, Any], status: str, end_time: int | None) -> None:
    """Give a run its status, and its end in milliseconds since the epoch, where it has one."""
    meta = meta_of(config)
    meta["status"] = status
    if end_time is None:
        meta.pop("ended_at", None)
    else:
        meta["ended_at"] = moment(end_time)


def put_tags(config: dict[str, Any], tags: Mapping[str, str]) -> None:
    """Set tags of a run; some are fields of ``_meta``, and those of Weights & Biases the table ``_wandb``."""
    for key, text in tags.items():
        meta = meta_of(config)
        if text and key in FIELD_OF_TAG:
            _remove(meta, "tags", key)
            meta[FIELD_OF_TAG[key]] = text
        elif text and key.startswith(WANDB_TAG) and key != WANDB_TAG:
            drop_tag(config, key)
            _table(config, WANDB)[key.removeprefix(WANDB_TAG)] = text
        else:
            drop_tag(config, key)
            _table(meta, "tags")[key] = text


def drop_tag(config: dict[str, Any], key: str) -> bool:
    """Take a tag off a run; whether it had it."""
    meta = meta_of(config)
    was_field = key in FIELD_OF_TAG and meta.pop(FIELD_OF_TAG[key], None) is not None
    was_tag = _remove(meta, "tags", key)
    was_mirrored = key.startswith(WANDB_TAG) and _remove(config, WANDB, key.removeprefix(WANDB_TAG))
    return was_field or was_tag or was_mirrored


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(document.get(key), dict):
        document[key] = {}
    table: dict[str, Any] = document[key]
    return table


def _remove(document: dict[str, Any], table: str, name: str) -> bool:
    """Remove a leaf of a table by its dotted name, and the table once it is empty."""
    inside = document.get(table)
    if not isinstance(inside, dict) or name not in leaves(inside):
        return False
    _drop(inside, name)
    if not inside:
        del document[table]
    return True


def _drop(table: dict[str, Any], name: str) -> bool:
    if name in table:
        del table[name]
        return True
    for key, value in list(table.items()):
        if name.startswith(f"{key}.") and isinstance(value, dict) and _drop(value, name[len(key) + 1 :]):
            if not value:
                del table[key]
            return True
    return False
