"""Starting a local-first run: its id, its mirror, its folder with all that is known of it at once."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, UsageError
from agentnn.stores.toml.layout import META, WANDB
from agentnn.stores.toml.runs.run_directory import RunDirectory
from agentnn.tracking.capture.git import read_commit
from agentnn.tracking.journal.process_identity import this_process, user_name
from agentnn.tracking.local_run import LocalRun, now
from agentnn.tracking.wandb_start import start_mirror
from agentnn.values.logged import param_text

if TYPE_CHECKING:
    from pathlib import Path

_LETTERS = string.ascii_lowercase + string.digits
_ID_LENGTH = 8
_TRIES = 3


def start_local_run(
    config: Any,
    base_dir: Path,
    project: str,
    entity: str | None = None,
    *,
    name: str | None = None,
    run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    parent_run_id: str | None = None,
    wandb_options: Mapping[str, Any] | None = None,
) -> LocalRun:
    """Start a run; see :meth:`agentnn.sdk.ml_manager.MLRun.create`."""
    own = plain_config(config)
    mirror = start_mirror(project, entity, own, run_id=run_id, name=name, options=wandb_options)
    meta = _facts(project, tags, parent_run_id)
    if name is not None:
        meta["name"] = name
    document = {**own, META: meta, WANDB: mirror.describe()} if mirror else {**own, META: meta}
    try:
        directory = _make(base_dir, project, mirror.run_id if mirror else run_id, document)
    except BaseException:
        if mirror is not None:
            mirror.finish(exit_code=1, in_a_hurry=True)
        raise
    run = LocalRun(directory, document, {}, mirror)
    run.open_here()
    return run


def plain_config(config: Any) -> dict[str, Any]:
    """A config as a dictionary of one's own; what it holds of an earlier run, ``_meta`` and ``_wandb``, is left out.

    Args:
        config: A mapping, a dataclass, an ``argparse.Namespace``, or what has ``to_dict()`` as our own configurations.

    Raises:
        UsageError: It is none of these.
    """
    from argparse import Namespace

    if isinstance(config, Namespace):
        config = vars(config)
    elif is_dataclass(config) and not isinstance(config, type):
        config = asdict(config)
    elif not isinstance(config, Mapping) and callable(getattr(config, "to_dict", None)):
        config = config.to_dict()
    if not isinstance(config, Mapping):
        raise UsageError(
            f"a config is a mapping, not {type(config).__name__}", hint="give a dictionary, a dataclass or a namespace"
        )
    return {key: _copy(value) for key, value in config.items() if key not in (META, WANDB)}


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(one) for key, one in value.items()}
    return [_copy(one) for one in value] if type(value) is list else value


def _facts(project: str, tags: Mapping[str, Any] | None, parent_run_id: str | None) -> dict[str, Any]:
    commit, _ = read_commit()
    facts = {
        "run_id": "",
        "project": project,
        "status": "RUNNING",
        "created_at": now(),
        "user": user_name(),
        "git_commit": commit,
        "parent_run_id": parent_run_id,
        "process": this_process().to_json(),
        "tags": {key: param_text(value) for key, value in (tags or {}).items()} or None,
    }
    return {key: value for key, value in facts.items() if value is not None}


def _make(base_dir: Path, project: str, run_id: str | None, document: dict[str, Any]) -> RunDirectory:
    """The folder of a new run; an id of our own that is taken, as one in 10^12 is, is drawn again."""
    for _ in range(0 if run_id else _TRIES):
        with suppress(ConflictError):
            return _create(base_dir, project, _new_id(), document)
    return _create(base_dir, project, run_id or _new_id(), document)


def _create(base_dir: Path, project: str, run_id: str, document: dict[str, Any]) -> RunDirectory:
    document[META] = {**document[META], "run_id": run_id}
    return RunDirectory.create(base_dir, project, run_id, document)


def _new_id() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH))
