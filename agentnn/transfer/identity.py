"""Which run a run is, whichever stores it has been through: what an import notes in tags, an export reads back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import ConflictError
from agentnn.records import PARENT_TAG, RUN_NAME_TAG
from agentnn.stores.mlflow_writer import UUID_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.records import Run
    from agentnn.transfer.layout import RunRecord

RUN_ID_TAG = "agentnn.imported_run_id"
"""The run's first id."""

EXPERIMENT_ID_TAG = "agentnn.imported_experiment_id"
STORE_TAG = "agentnn.imported_from"
CHANGED_TAG = "agentnn.imported_changes"
"""What the store would not take as it was: JSON, field to [what it was, what the store made of it]."""

UNFINISHED_TAG = "agentnn.import_unfinished"
"""On a run as long as something of it is missing."""

PUT_ASIDE = {
    UUID_TAG: "agentnn.imported_run_uuid",
    "agentnn.process": "agentnn.imported_process",
    "agentnn.heartbeat": "agentnn.imported_heartbeat",
}
"""Tags by which a sender finds the run that it delivers to, and ``run doctor`` those that died; a copy is neither."""

USER_TAG = "mlflow.user"
_OURS = (RUN_ID_TAG, EXPERIMENT_ID_TAG, STORE_TAG, CHANGED_TAG, UNFINISHED_TAG)
_SAID_ELSEWHERE = (PARENT_TAG, RUN_NAME_TAG)
_CHANGEABLE = ("name", "start_time")


class Origin(NamedTuple):
    """Where a run was made."""

    run_id: str
    experiment_id: str
    store: str


def original_id(run: Run) -> str:
    """The first id of a run."""
    return run.tags.get(RUN_ID_TAG) or run.run_id


def origin_of(run: Run, store: str) -> Origin:
    """Where a run was made; in this store, unless it was imported.

    Raises:
        ConflictError: Its import was interrupted, and a part of it is missing.
    """
    if UNFINISHED_TAG in run.tags:
        raise ConflictError(
            f"the run {run.run_id} is imported only in part", hint="go on with it first: agentnn run import DIR|FILE"
        )
    if RUN_ID_TAG not in run.tags:
        return Origin(run.run_id, run.experiment_id, store)
    return Origin(run.tags[RUN_ID_TAG], run.tags.get(EXPERIMENT_ID_TAG, ""), run.tags.get(STORE_TAG, ""))


def original_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that a run had where it was made, by name; without those that are said elsewhere."""
    kept = {key: value for key, value in tags.items() if key not in (*_OURS, *_SAID_ELSEWHERE)}
    taken_back = {aside: key for key, aside in PUT_ASIDE.items()}
    return dict(sorted((taken_back.get(key, key), text) for key, text in kept.items()))


def original_fields(run: Run) -> dict[str, Any]:
    """What a run's fields were where it was made, as far as its import could not keep them and nobody has since."""
    try:
        changes = json.loads(run.tags.get(CHANGED_TAG, "{}"))
        known = {name: pair for name, pair in changes.items() if name in _CHANGEABLE}
        return {name: was for name, (was, made) in known.items() if getattr(run, name) == made}
    except (ValueError, TypeError, AttributeError):  # somebody wrote into the tag
        return {}


def imported_tags(record: RunRecord, changes: Mapping[str, Any]) -> dict[str, str]:
    """The tags of an imported run, but for its parent and the mark of being unfinished."""
    tags = {PUT_ASIDE.get(key, key): text for key, text in original_tags(record.tags).items()}
    noted = {
        RUN_ID_TAG: record.run_id,
        EXPERIMENT_ID_TAG: record.origin.get("experiment_id", ""),
        STORE_TAG: record.origin.get("store", ""),
    }
    if changes:
        noted[CHANGED_TAG] = json.dumps(changes, ensure_ascii=False)
    return {**tags, **noted}
