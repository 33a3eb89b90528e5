"""Which run a run is, whichever stores it has been through: what an import notes in tags, an export reads back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import ConflictError
from agentnn.records import PARENT_TAG, RUN_NAME_TAG
from agentnn.settings import redact, toml_folder
from agentnn.stores.run_writer import FIRST_ID_TAG, UNFINISHED_TAG, UUID_TAG
from agentnn.values.keys import decode_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentnn.records import Run
    from agentnn.settings import Settings
    from agentnn.transfer.layout import RunRecord
    from agentnn.transfer.stored_keys import StoredKeys

EXPERIMENT_ID_TAG = "agentnn.imported_experiment_id"
STORE_TAG = "agentnn.imported_from"
CHANGED_TAG = "agentnn.imported_changes"
"""What the store would not take as it was: JSON, field to [what it was, what the store made of it]."""

PUT_ASIDE = {
    UUID_TAG: "agentnn.imported_run_uuid",
    "agentnn.process": "agentnn.imported_process",
    "agentnn.heartbeat": "agentnn.imported_heartbeat",
}
"""Tags by which a sender finds the run that it delivers to, and ``run doctor`` those that died; a copy is neither."""

USER_TAG = "mlflow.user"
_OURS = (FIRST_ID_TAG, EXPERIMENT_ID_TAG, STORE_TAG, CHANGED_TAG, UNFINISHED_TAG)
_SAID_ELSEWHERE = (PARENT_TAG, RUN_NAME_TAG)
_CHANGEABLE = ("name", "start_time")

KEYS, ENCODED = "keys", ["", "encoded"]
"""Among the changes: the names of the run's params, tags and metrics are encoded."""


class Origin(NamedTuple):
    """Where a run was made."""

    run_id: str
    experiment_id: str
    store: str


def store_words(settings: Settings) -> str:
    """What an export calls a store: its tracking URI, without passwords, and a folder of TOML files from the root."""
    folder = toml_folder(settings.tracking_uri)
    return redact(settings.tracking_uri, settings.secrets.values()) if folder is None else f"toml:{folder.resolve()}"


def original_id(run: Run) -> str:
    """The first id of a run; one that a store tells apart by its place, ``PROJECT/RUN``, without the slash."""
    return run.tags.get(FIRST_ID_TAG) or run.run_id.replace("/", "%2F")


def origin_of(run: Run, store: str) -> Origin:
    """Where a run was made; in this store, unless it was imported.

    Raises:
        ConflictError: Its import was interrupted, and a part of it is missing.
    """
    if UNFINISHED_TAG in run.tags:
        raise ConflictError(
            f"the run {run.run_id} is imported only in part",
            hint="go on with it first: the same agentnn run import again",
        )
    if FIRST_ID_TAG not in run.tags:
        return Origin(original_id(run), run.experiment_id, store)
    return Origin(run.tags[FIRST_ID_TAG], run.tags.get(EXPERIMENT_ID_TAG, ""), run.tags.get(STORE_TAG, ""))


def original_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that a run had where it was made, by name; without those that are said elsewhere."""
    kept = {key: value for key, value in tags.items() if key not in (*_OURS, *_SAID_ELSEWHERE)}
    taken_back = {aside: key for key, aside in PUT_ASIDE.items()}
    named = original_names(tags)
    return dict(sorted((taken_back.get(key) or named(key), text) for key, text in kept.items()))


def original_names(tags: Mapping[str, str]) -> Callable[[str], str]:
    """How the params, tags and metrics of a run with these tags were called where it was made."""
    return decode_key if _changes(tags).get(KEYS) == ENCODED else str


def original_fields(run: Run) -> dict[str, Any]:
    """What a run's fields were where it was made, as far as its import could not keep them and nobody has since."""
    try:
        known = {name: pair for name, pair in _changes(run.tags).items() if name in _CHANGEABLE}
        return {name: was for name, (was, made) in known.items() if getattr(run, name) == made}
    except (ValueError, TypeError):  # somebody wrote into the tag
        return {}


def imported_tags(record: RunRecord, changes: Mapping[str, Any], keys: StoredKeys) -> dict[str, str]:
    """The tags of an imported run, but for its parent and the mark of being unfinished."""
    aside = {PUT_ASIDE.get(key, ""): text for key, text in record.tags.items() if key in PUT_ASIDE}
    tags = keys.of({key: text for key, text in original_tags(record.tags).items() if key not in PUT_ASIDE})
    noted = {
        FIRST_ID_TAG: record.run_id,
        EXPERIMENT_ID_TAG: record.origin.get("experiment_id", ""),
        STORE_TAG: record.origin.get("store", ""),
    }
    if changes:
        noted[CHANGED_TAG] = json.dumps(changes, ensure_ascii=False)
    return {**tags, **aside, **noted}


def _changes(tags: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        found = json.loads(tags.get(CHANGED_TAG, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
