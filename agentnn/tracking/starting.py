"""Starting a run, resuming one, and joining one that another process started."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable
from agentnn.settings import Settings
from agentnn.stores.destination import check_destination, check_experiment
from agentnn.tracking.active_run import ActiveRun
from agentnn.tracking.journal.journal import read_journal
from agentnn.tracking.journal.process_identity import ProcessIdentity, this_process, user_name
from agentnn.tracking.journal.state import RunFolder, StoreFolder, new_uuid, read_json
from agentnn.tracking.run_context import current_run, own_run, remember, remember_attached, run_in
from agentnn.tracking.sending.delivered import Cursor
from agentnn.tracking.sending.sender_control import ensure_sender, with_absolute_uris
from agentnn.values.keys import encode_key
from agentnn.values.logged import param_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.records import Run

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
    uuid: str | None = None,
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
        uuid: What :func:`~agentnn.tracking.journal.state.new_uuid` gave, where our own id of a new run has to be known
            before there is one.

    Raises:
        ConflictError: A run is open here already and ``nested`` was not asked for, the experiment or the run to resume
            is deleted.
        NotFoundError: There is no run to resume.
        StoreUnavailable, CorruptDataError, NotAStoreError, UsageError: There can't be a store where the settings say.
    """
    is_child = nested or parent_run_id is not None
    if not is_child:
        _refuse_a_second_run()
    parent = current_run() if nested and parent_run_id is None else None
    is_checked = False
    if parent is not None and settings is None and tracking_uri is None:
        settings, beside = parent.settings, _experiment_of(parent)
        experiment = experiment or beside
        is_checked = experiment == beside  # when the parent started; a study starts a trial every few milliseconds
    settings = with_absolute_uris(settings or Settings.load(tracking_uri))
    if not is_checked:
        check_destination(settings)
    to_resume = None if is_child else os.environ.get(_RESUME_VARIABLE)
    if run_id is not None:
        run = _resume(run_id, settings, strict=strict)
    elif to_resume:
        run = _resume_as_told(to_resume, settings, strict=strict)
    else:
        facts = {"parent": parent.uuid} if parent is not None else {}
        if parent_run_id is not None:
            facts = {"parent_run_id": parent_run_id}
        run = open_run(
            name,
            settings,
            experiment=experiment,
            tags=tags,
            description=description,
            strict=strict,
            facts=facts,
            uuid=uuid,
            is_checked=is_checked,
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
    uuid: str | None = None,
    is_checked: bool = False,
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
        uuid: See :func:`start_run`.
        is_checked: Whether another run was started in this experiment of this store before, and still goes on.

    Raises:
        ConflictError: The experiment is deleted.
    """
    settings = with_absolute_uris(settings)
    experiment = experiment or settings.experiment_name or settings.experiment_id or "Default"
    if not is_checked:
        check_experiment(settings, experiment)
    given = {encode_key(key): param_text(value) for key, value in (tags or {}).items()}
    if description is not None:
        given["mlflow.note.content"] = description
    name = name or f"run_{datetime.now().astimezone():%Y%m%d_%H%M%S}"
    source = sys.argv[0] if sys.argv else ""
    start = {"name": name, "experiment": experiment, "tags": given, "user": user_name(), "source": source}
    return _begin(_new_run(name, settings, strict=strict, uuid=uuid), "start", {**start, **(facts or {})})


def attach_run(path: str, name: str, settings: Settings, strict: bool) -> ActiveRun:
    """A run that another process started, written by this one too; its end stays the other's matter."""
    known = run_in(path)
    if known is not None:
        return known
    run = ActiveRun(RunFolder(Path(path)), name, settings, strict=strict)
    run.join()
    remember_attached(run)
    finalize(run, run.journal.close).atexit = False
    return run


def attach_inherited_run(path: str) -> ActiveRun | None:
    """The run that was open in the process that started this one; ``None`` when it has ended, or died."""
    folder = RunFolder(Path(path))
    name, owner = folder.uuid, None
    try:
        for record in read_journal(folder.journal):
            if record.body and record.body["kind"] in ("start", "resume", "end"):
                name = record.body.get("name", name)
                owner = ProcessIdentity.from_json(record.body.get("process", ""))
    except StoreUnavailable:
        return None
    if owner is None or not owner.is_alive:
        return None
    return attach_run(path, name, _settings_of(folder.store), strict=False)


def _refuse_a_second_run() -> None:
    own = own_run()
    if own is not None and own.is_owned:
        raise ConflictError(
            f"the run {own.name!r} is open already",
            hint="end it first, or start a child of it: start_run(nested=True)",
        )


def _experiment_of(run: ActiveRun) -> str | None:
    """The experiment of an open run, as its start says; by its id when the run was resumed."""
    first = next(read_journal(run.folder.journal), None)
    named = first.body.get("experiment") if first is not None and first.body else None
    return named or Cursor.read(run.folder).experiment_id or None


def _settings_of(store: StoreFolder) -> Settings:
    """What leads to a store that another process uses; its folder does not hold the secrets, the environment may."""
    settings = with_absolute_uris(Settings.load())
    if StoreFolder.of(settings).path == store.path:
        return settings
    return Settings.load(read_json(store.description).get("tracking_uri"))


def _new_run(name: str, settings: Settings, *, strict: bool, uuid: str | None = None) -> ActiveRun:
    store = StoreFolder.of(settings)
    store.make(settings)
    folder = store.run(uuid or new_uuid())
    folder.make()
    return ActiveRun(folder, name, settings, strict=strict)


def _resume_as_told(run_id: str, settings: Settings, *, strict: bool) -> ActiveRun:
    """Resume the run that the environment names, once, and name the variable when that is not possible."""
    try:
        run = _resume(run_id, settings, strict=strict)
    except (NotFoundError, ConflictError, StoreUnavailable) as error:
        raise type(error)(
            f"{_RESUME_VARIABLE}={run_id}: {error.message}", hint=f"unset {_RESUME_VARIABLE} to start a new run"
        ) from error
    os.environ.pop(_RESUME_VARIABLE, None)
    return run


def _resume(run_id: str, settings: Settings, *, strict: bool) -> ActiveRun:
    """Open a run again: the journal that is still here, or a new one for a run of the store."""
    for folder in StoreFolder.of(settings).runs():
        if run_id and run_id in (folder.uuid, Cursor.read(folder).run_id):
            run = _resume_journal(folder, settings, strict=strict)
            if run is not None:
                return run
    found = _find_in_store(run_id, settings)
    run = _new_run(found.name or run_id, settings, strict=strict)
    run.know_params(found.params)
    return _begin(run, "start", {"name": run.name, "run_id": run_id})


def _resume_journal(folder: RunFolder, settings: Settings, *, strict: bool) -> ActiveRun | None:
    """Go on with a journal that is here; ``None`` when the sender has removed it just now, since all is delivered."""
    cursor = Cursor.read(folder)
    if cursor.run_id and settings.tracking_uri.lower().startswith(("sqlite", "toml:")):  # where looking costs nothing
        with suppress(StoreUnavailable):
            _find_in_store(cursor.run_id, settings)
    try:
        run = ActiveRun(folder, cursor.name or folder.uuid, settings, strict=strict)
        run.know_params(_journaled_params(folder))
    except StoreUnavailable:
        if folder.path.exists():
            raise
        return None
    return _begin(run, "resume", {})


def _find_in_store(run_id: str, settings: Settings) -> Run:
    """The run that is to be resumed.

    Raises:
        NotFoundError: There is none.
        ConflictError: It is deleted.
    """
    from agentnn.stores.opening import open_store

    store = open_store(settings)
    try:
        found = store.find_runs([run_id])
    finally:
        if hasattr(store, "close"):
            store.close()
    if not found:
        raise NotFoundError(f"there is no run {run_id!r} to resume", hint="agentnn run list")
    if found[0].lifecycle_stage != "active":
        raise ConflictError(f"the run {run_id} is deleted", hint=f"restore it: agentnn run restore {run_id}")
    return found[0]


def _begin(run: ActiveRun, kind: str, facts: dict[str, Any]) -> ActiveRun:
    run.append(kind, {**facts, "process": this_process().to_json()})
    if run.journal.unwritten:
        raise StoreUnavailable(
            f"the journal {run.journal.path} can't be written: {run.journal.problem}", hint="make room on the disk"
        )
    run.open_here()
    ensure_sender(run.folder.store, run.settings, run.uuid)
    return run


def _journaled_params(folder: RunFolder) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in read_journal(folder.journal):
        if record.body and record.body["kind"] == "params":
            found |= record.body["values"]
    return found
