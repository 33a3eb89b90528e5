"""A local-first run: what is logged goes into its folder first, then to its mirror; its end is recorded."""

from __future__ import annotations

import logging
import os
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from agentnn.errors import AgentNNError, ConflictError, UsageError
from agentnn.settings import redact
from agentnn.stores.toml.layout import META, WANDB
from agentnn.tracking.endings import REASON_TAG, Ending, watch
from agentnn.tracking.wandb_links import dashboard_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.stores.toml.runs.run_directory import RunDirectory
    from agentnn.tracking.wandb_mirror import WandbMirror

_log = logging.getLogger("agentnn")
_all: WeakSet[LocalRun] = WeakSet()
_ENDINGS = ("FINISHED", "FAILED", "KILLED")
_EXIT_CODES = {"FINISHED": 0, "FAILED": 1, "KILLED": 255}


class LocalRun:
    """One run of a folder of projects; threads may share it, and a forked process writes into the same files.

    Args:
        directory: Its folder.
        document: The whole of its ``config.toml``.
        metrics: The whole of its ``metrics.toml``.
        mirror: wandb's run beside it.

    Attributes:
        directory: Its folder.
        config: The user's config.
        meta: What the run is: ``run_id``, ``status``, ``git_commit``, …
        shown: Where wandb shows it.
        metrics: The latest value of every metric.
        mirror: wandb's run beside it; ``None`` without one.
    """

    def __init__(
        self,
        directory: RunDirectory,
        document: Mapping[str, Any],
        metrics: dict[str, Any],
        mirror: WandbMirror | None = None,
    ) -> None:
        self.directory = directory
        self.config = {key: value for key, value in document.items() if key not in (META, WANDB)}
        self.meta = _table(document, META)
        self.shown = _table(document, WANDB)
        self.metrics = metrics
        self.mirror = mirror
        self._owner: int | None = None
        self._ended = False
        self._lock = threading.Lock()
        _all.add(self)

    @property
    def project(self) -> str:
        """The project, as it was named."""
        return str(self.meta.get("project") or self.directory.project)

    @property
    def url(self) -> str:
        """Where wandb shows the run, or will once it was synced; empty when that is not known."""
        said = {key: value for key, value in self.shown.items() if isinstance(value, str)}
        return said.get("url") or dashboard_url(said.get("entity"), said.get("project"), said.get("run_id"))

    @property
    def status(self) -> str:
        """``RUNNING``, ``FINISHED``, ``FAILED``, ``KILLED`` or ``SCHEDULED``, as last read or written here."""
        status = self.meta.get("status")
        return status if isinstance(status, str) else "FINISHED"

    def open_here(self) -> None:
        """Make this process the one that ends the run."""
        self._owner = os.getpid()
        watch.add(self._close_at_exit)

    def add_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write metrics to the run's files, then give them to the mirror.

        Raises:
            ConflictError: The run has been ended here, or is deleted.
            UsageError: A value can't be written; nothing was.
            CorruptDataError, StoreUnavailable: The files can't be read or written.
        """
        with self._lock:
            if self._ended or self.meta.get("lifecycle_stage") == "deleted":
                raise self._refusal()
            self.metrics = self.directory.add_metrics(metrics, step=step)
        if self.mirror is not None:
            self.mirror.log(metrics, step)

    def end(self, ending: Ending) -> None:
        """Record the end, then end the mirror; only the process that started the run ends it, and only once.

        Raises:
            UsageError: No run can end so.
            AgentNNError: The end could not be written; it can be tried again.
        """
        if ending.status not in _ENDINGS:
            raise UsageError(f"a run can't end as {ending.status!r}", hint=f"one of {', '.join(_ENDINGS)}")
        with self._lock:
            if self._ended or self._owner != os.getpid():
                return
            self._ended = True
        watch.remove(self._close_at_exit)
        try:
            self.meta = _table(self.directory.change_config(lambda document: _end(document, ending)), META)
        except BaseException:
            self._ended = False
            raise
        finally:
            if self.mirror is not None:
                self.mirror.finish(_EXIT_CODES[ending.status], in_a_hurry=ending.status == "KILLED")

    def end_after(self, error: BaseException | None) -> None:
        """Record the end of code that raised this, or nothing; that error is the one to be seen, not one of ours."""
        try:
            self.end(Ending.of(error))
        except (AgentNNError, OSError) as problem:
            if error is None:
                raise
            _log.error("%s", problem)

    def renew_after_fork(self) -> None:
        """A thread that held the lock is not there any more."""
        self._lock = threading.Lock()

    def _close_at_exit(self, ending: Ending) -> None:
        try:
            self.end(ending)
        except (AgentNNError, OSError) as problem:
            _log.error("%s", problem)

    def _refusal(self) -> ConflictError:
        name = f"the run {self.directory.run_id!r}"
        if not self._ended:
            return ConflictError(f"{name} is deleted", hint=f"agentnn run restore {self.directory.run_id}")
        return ConflictError(f"{name} has ended", hint="to add to it all the same: MLRun.load(…).add_metrics(…)")


def _end(document: dict[str, Any], ending: Ending) -> None:
    meta = document[META] = {**_table(document, META), "status": ending.status, "ended_at": now()}
    meta.pop("process", None)  # it says who has to be alive while the run is RUNNING
    if ending.reason:
        meta["tags"] = {**_table(meta, "tags"), REASON_TAG: redact(ending.reason)}


def now() -> datetime:
    """This moment in UTC, to the millisecond."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = document.get(name)
    return dict(table) if isinstance(table, dict) else {}


def _after_fork() -> None:
    for run in list(_all):
        run.renew_after_fork()


os.register_at_fork(after_in_child=_after_fork)
