"""Starting a run, resuming one, and joining one that another process started."""

from __future__ import annotations

import getpass
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable
from agentnn.settings import Settings
from agentnn.stores.destination import check_destination, check_experiment
from agentnn.tracking.active_run import ActiveRun
from agentnn.tracking.delivered import Cursor
from agentnn.tracking.journal import read_journal
from agentnn.tracking.keys import encode_key
from agentnn.tracking.process_identity import ProcessIdentity, this_process
from agentnn.tracking.run_context import current_run, remember
from agentnn.tracking.sender_control import ensure_sender, with_absolute_uris
from agentnn.tracking.state import RunFolder, StoreFolder, new_uuid, read_json
from agentnn.tracking.values import param_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_RESUME_VARIABLE = "MLFLOW_RUN_ID"


def start_run(
    name: str | None = None,
    *,
    experiment: str | None = None,
    run_id: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    tracking_uri: str | Path | None = None,
    settings: Settings | None = None,
    strict: bool = False,
) -> ActiveRun:
    """Start a run, and make it the current one.

    It returns at once: the run is made in the store by the sender, and ``run.run_id`` waits for that.

    Args:
        name: The run's name; made from the moment without one.
        experiment: The experiment's name or id, made when there is none; that of the environment, or ``Default``,
            without one.
        run_id: Resume this run instead of starting one. So does ``MLFLOW_RUN_ID``, once, as in MLflow.
        nested: Start a child of the current run.
        parent_run_id: Start a child of this run instead.
        tags: Tags to start with.
        description: Text that MLflow's UI shows as the run's description.
        tracking_uri: The store; as the settings say without one.
        settings: All of the settings, instead of ``tracking_uri``.
        strict: Raise at the end when something could not be delivered, instead of leaving it to the sender.

    Raises:
        ConflictError: A run is open here already and ``nested`` was not asked for, the experiment or the run to resume
            is deleted.
        NotFoundError: There is no run to resume.
        StoreUnavailable, CorruptDataError, NotAStoreError, UsageError: There can't be a store where the settings say.
    """
    settings = with_absolute_uris(settings or Settings.load(tracking_uri))
    check_destination(settings)
    is_child = nested or parent_run_id is not None
    current = current_run()
    if current is not None and current.is_owned and not is_child:
        raise ConflictError(
            f"the run {current.name!r} is open already",
            hint="end it first, or start a child of it: start_run(nested=True)",
        )
    if run_id is not None:
        run = _resume(run_id, settings, strict=strict)
    elif not is_child and _RESUME_VARIABLE in os.environ:
        run = _resume_as_told(os.environ.pop(_RESUME_VARIABLE), settings, strict=strict)
    else:
        parent: dict[str, str] = {}
        if parent_run_id is not None:
            parent = {"parent_run_id": parent_run_id}
        elif nested and current is not None:
            parent = {"parent": current.uuid}
        run = open_run(
            name, settings, experiment=experiment, tags=tags, description=description, strict=strict, facts=parent
        )
    remember(run)
    return run


def open_run(
    name: str | None,
    settings: Settings,
    *,
    experiment: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    strict: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> ActiveRun:
    """Start a run without making it the current one.

    Args:
        name: The run's name; made from the moment without one.
        settings: Name the store.
        experiment: The experiment's name or id; that of the environment, or ``Default``, without one.
        tags: Tags to start with.
        description: What MLflow's UI shows as the run's description.
        strict: See :func:`start_run`.
        facts: What else the record of the start holds: ``parent``, ``parent_run_id``, or another ``time``.

    Raises:
        ConflictError: The experiment is deleted.
    """
    settings = with_absolute_uris(settings)
    experiment = experiment or settings.experiment_name or settings.experiment_id or "Default"
    check_experiment(settings, experiment)
    given = {encode_key(key): param_text(value) for key, value in (tags or {}).items()}
    if description is not None:
        given["mlflow.note.content"] = description
    name = name or f"run_{datetime.now().astimezone():%Y%m%d_%H%M%S}"
    source = sys.argv[0] if sys.argv else ""
    start = {"name": name, "experiment": experiment, "tags": given, "user": _user(), "source": source}
    return _begin(_new_run(name, settings, strict=strict), "start", {**start, **(facts or {})})


def attach_run(path: str, name: str, settings: Settings, strict: bool) -> ActiveRun:
    """A run that another process started, written by this one too; its end stays the other's matter."""
    run = ActiveRun(RunFolder(Path(path)), name, settings, strict=strict)
    run.join()
    return run


def attach_inherited_run(path: str) -> ActiveRun | None:
    """The run that was open in the process that started this one; ``None`` when it has ended, or died."""
    folder = RunFolder(Path(path))
    try:
        records = [record.body for record in read_journal(folder.journal) if record.body]
    except StoreUnavailable:
        return None
    starts = [body for body in records if body["kind"] in ("start", "resume", "end")]
    if not starts or starts[-1]["kind"] == "end":
        return None
    owner = ProcessIdentity.from_json(starts[-1].get("process", ""))
    if owner is None or not owner.is_alive:
        return None
    settings = Settings.load(read_json(folder.store.description).get("tracking_uri"))
    return attach_run(path, str(starts[0].get("name", folder.uuid)), settings, strict=False)


def _new_run(name: str, settings: Settings, *, strict: bool) -> ActiveRun:
    store = StoreFolder.of(settings)
    store.make(settings)
    folder = store.run(new_uuid())
    folder.make()
    return ActiveRun(folder, name, settings, strict=strict)


def _resume_as_told(run_id: str, settings: Settings, *, strict: bool) -> ActiveRun:
    """Resume the run that the environment names, and name the variable when that is not possible."""
    try:
        return _resume(run_id, settings, strict=strict)
    except (NotFoundError, ConflictError) as error:
        raise type(error)(
            f"{_RESUME_VARIABLE}={run_id}: {error.message}", hint=f"unset {_RESUME_VARIABLE} to start a new run"
        ) from error


def _resume(run_id: str, settings: Settings, *, strict: bool) -> ActiveRun:
    """Open a run again: the journal that is still here, or a new one for a run of the store."""
    store = StoreFolder.of(settings)
    for folder in store.runs():
        if run_id in (folder.uuid, (cursor := Cursor.read(folder)).run_id):
            run = ActiveRun(folder, cursor.name or run_id, settings, strict=strict)
            run.know_params(_journaled_params(folder))
            return _begin(run, "resume", {})
    from agentnn.stores.base import open_store

    found = open_store(settings).find_runs([run_id])
    if not found:
        raise NotFoundError(f"there is no run {run_id} to resume", hint="agentnn run list")
    if found[0].lifecycle_stage != "active":
        raise ConflictError(f"the run {run_id} is deleted", hint=f"restore it: mlflow runs restore --run-id {run_id}")
    run = _new_run(found[0].name or run_id, settings, strict=strict)
    run.know_params(found[0].params)
    return _begin(run, "start", {"name": run.name, "run_id": run_id})


def _begin(run: ActiveRun, kind: str, facts: dict[str, Any]) -> ActiveRun:
    run.append(kind, {**facts, "process": this_process().to_json()})
    if run.journal.unwritten:
        raise StoreUnavailable(
            f"the journal {run.journal.path} can't be written: {run.journal.problem}", hint="make room on the disk"
        )
    run.open_here()
    ensure_sender(run.folder.store, run.settings)
    return run


def _journaled_params(folder: RunFolder) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in read_journal(folder.journal):
        if record.body and record.body["kind"] == "params":
            found |= record.body["values"]
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
