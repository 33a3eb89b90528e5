"""Looking for what is wrong with a store and with what waits for it, and repairing what can be repaired."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, StoreUnavailable, UsageError
from agentnn.query.runs import RunQuery
from agentnn.query.selectors import find_run
from agentnn.settings import redact, toml_folder
from agentnn.stores.mlflow.client import check_before_writing
from agentnn.stores.run_writer import open_writer
from agentnn.stores.sql.sqlite_file import schema_revision, sqlite_path
from agentnn.tracking.journal.state import StoreFolder
from agentnn.tracking.sending.delivered import Cursor
from agentnn.tracking.sending.sender_control import with_absolute_uris
from agentnn.tracking.upkeep.dead_runs import DeadRuns
from agentnn.tracking.upkeep.findings import Diagnosis, Finding
from agentnn.tracking.upkeep.journal_checks import journal_findings
from agentnn.tracking.upkeep.store_checks import Survey, version_findings
from agentnn.tracking.upkeep.store_measures import Measured, advice_findings, measured
from agentnn.tracking.upkeep.waiting import find_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from agentnn.settings import Settings
    from agentnn.stores.base import ModelRegistry, TrackingStore
    from agentnn.tracking.journal.state import RunFolder


def diagnose(
    settings: Settings,
    store: Callable[[], TrackingStore],
    registry: Callable[[], ModelRegistry],
    *,
    fix: bool = False,
    named: Sequence[str] = (),
) -> Diagnosis:
    """Look for what is wrong, and repair what can be repaired.

    Args:
        settings: Name the store.
        store: Opens it; called after what waits for it was delivered, since it may not be there before.
        registry: Opens the registry.
        fix: Repair; without it nothing is changed.
        named: Look at these runs and those nested in them only, and take them for agentnn's own.

    Raises:
        NotFoundError: One of these runs is neither on this machine nor in the store.
        StoreUnavailable: It is not on this machine, and the store can't be asked.
    """
    doctor = _Doctor(settings, store, registry, fix=fix, named=named)
    findings = [*doctor.look_at_journals(), *doctor.look_at_store()]
    return Diagnosis(
        store=redact(settings.tracking_uri, settings.secrets.values()),
        store_source=settings.tracking_uri_source,
        state_folder=doctor.folder.path,
        mlflow=version("mlflow"),
        schema=doctor.schema or (doctor.measured and doctor.measured.measures.schema) or "",
        findings=tuple(findings),
        error=doctor.error,
        measured=doctor.measured,
    )


class _Doctor:
    """Looks at one store.

    Attributes:
        folder: Where runs wait for the store on this machine.
        schema: The revision of the store's schema, once it was looked at.
        error: The first thing that stood in the way of a look or a repair.
        measured: How fast the store is and how large, once it was asked.
    """

    def __init__(
        self,
        settings: Settings,
        store: Callable[[], TrackingStore],
        registry: Callable[[], ModelRegistry],
        *,
        fix: bool,
        named: Sequence[str],
    ) -> None:
        self._settings = with_absolute_uris(settings)
        self._store = store
        self._registry = registry
        self._fix = fix
        self._named = named
        self.folder = StoreFolder.of(self._settings)
        self.schema = ""
        self.error: AgentNNError | None = None
        self.measured: Measured | None = None
        self._uuids = {folder.uuid for text in named for folder in find_folders(self.folder, text)}
        self._told = {self._find(text) for text in named if not find_folders(self.folder, text)}
        self._dead_here: set[str] = set()
        self._open_writer = cache(lambda: open_writer(self._settings))

    def look_at_journals(self) -> list[Finding]:
        """What is wrong with what waits on this machine, what was repaired of it first."""
        found = list(journal_findings(self._folders(), self._settings))
        if self._fix:
            fixed = [one for one in self._repaired(found) if one.fixed]
            found = [*fixed, *journal_findings(self._folders(), self._settings)]
        self._dead_here = {one.run_id for one in found if one.run_id and one.check == "dead-process"}
        return found

    def look_at_store(self) -> list[Finding]:
        """What is wrong with the store."""
        found: list[Finding] = []
        try:
            found += self._schema_findings()
            found += self._repaired(self._store_findings())
        except AgentNNError as error:
            if any(one.check == "schema" for one in found) and isinstance(error, UsageError):
                return found  # that is why
            self.error = self.error or error
            found.append(Finding("store", error.message, error.hint))
        return found

    def _schema_findings(self) -> Iterator[Finding]:
        """Whether MLflow could write to a SQLite database as it is."""
        if not self._settings.tracking_uri.lower().startswith("sqlite"):
            return
        path = sqlite_path(self._settings.tracking_uri)
        if not path.exists():
            return
        self.schema = schema_revision(path)
        try:
            check_before_writing(self._settings.tracking_uri)
        except UsageError as error:
            yield Finding("schema", error.message, error.hint)
        except StoreUnavailable as error:
            yield Finding("store", error.message, error.hint, "notice")

    def _store_findings(self) -> Iterator[Finding]:
        store = self._store()
        self.measured = measured(store)
        survey = Survey(store, self._settings)
        journaled = {Cursor.read(folder).run_id for folder in self.folder.runs()}
        if self._named:
            self._told |= {run_id for folder in self._folders() if (run_id := Cursor.read(folder).run_id)}
        told = survey.with_children(self._told)
        dead = DeadRuns(store, self._open_writer, told=told, dead_here=self._dead_here)
        found = [
            *dead.find(run for run in survey.running if run.run_id not in journaled),
            *survey.orphans(self._open_writer, told),
            *survey.findings,
        ]
        yield from (one for one in found if not self._named or one.run_id in told)
        if toml_folder(self._settings.registry_uri) is None:  # which keeps no models
            yield from version_findings(self._registry(), store, self._settings, told if self._named else None)
        if not self._named:
            yield from advice_findings(self.measured)

    def _repaired(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """The findings, after the repair of those that can be repaired, where that is wanted."""
        for one in findings:
            if not (self._fix and one.is_fixable):
                yield one
                continue
            try:
                yield one.repaired()
            except AgentNNError as error:
                self.error = self.error or error
                yield replace(one, problem=f"{one.problem}; not repaired: {error.message}")

    def _folders(self) -> list[RunFolder]:
        """The runs with a journal that are looked at."""
        return [
            folder
            for folder in self.folder.runs()
            if not self._named or folder.uuid in self._uuids or Cursor.read(folder).run_id in self._told
        ]

    def _find(self, text: str) -> str:
        return find_run(text, self._store(), self._registry, RunQuery()).run_id
