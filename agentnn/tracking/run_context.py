"""Which run is the current one: of this task or thread first, then of the process, then of the one that started it."""

from __future__ import annotations

import logging
import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentnn.tracking.active_run import ActiveRun

RUN_VARIABLE = "AGENTNN_RUN"
"""Holds the folder of the innermost open run, for the processes that it starts."""

_log = logging.getLogger("agentnn")
_of_context: ContextVar[tuple[ActiveRun, ...]] = ContextVar("agentnn_runs", default=())
_of_process: list[tuple[ActiveRun, bool]] = []
_lock = threading.Lock()
_inherited: dict[str, ActiveRun] = {}


def remember(run: ActiveRun) -> None:
    """Make a run the current one."""
    _of_context.set((*_of_context.get(), run))
    with _lock:
        _of_process.append((run, threading.current_thread() is threading.main_thread()))
        os.environ[RUN_VARIABLE] = str(run.folder.path)


def forget(run: ActiveRun) -> None:
    """Make the run before it the current one again."""
    _of_context.set(tuple(one for one in _of_context.get() if one is not run))
    with _lock:
        _of_process[:] = [entry for entry in _of_process if entry[0] is not run]
        if os.environ.get(RUN_VARIABLE) == str(run.folder.path):
            os.environ.pop(RUN_VARIABLE)
            if _of_process:
                os.environ[RUN_VARIABLE] = str(_of_process[-1][0].folder.path)


def current_run() -> ActiveRun | None:
    """The run that is open here, or ``None``.

    A thread without a run of its own sees the main thread's, or the only one there is; a process sees the run that was
    open in the process that started it.
    """
    for run in reversed(_of_context.get()):
        if not run.ended:
            return run
    with _lock:
        open_runs = [entry for entry in _of_process if not entry[0].ended]
    of_main = [run for run, in_main in open_runs if in_main]
    if of_main:
        return of_main[-1]
    if len(open_runs) == 1:
        return open_runs[0][0]
    if open_runs:
        _log.warning("several threads have a run open and this one has none: it is unclear which to log to")
        return None
    return _run_of_parent_process()


def _run_of_parent_process() -> ActiveRun | None:
    path = os.environ.get(RUN_VARIABLE)
    if not path:
        return None
    if path not in _inherited:
        from agentnn.tracking.starting import attach_inherited_run

        run = attach_inherited_run(path)
        if run is None:
            return None
        _inherited[path] = run
    return _inherited[path]


def runs_of_process() -> list[ActiveRun]:
    """Every run that this process has open, and those that it writes for another."""
    with _lock:
        return [entry[0] for entry in _of_process] + list(_inherited.values())


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for run in runs_of_process():
        run.renew_after_fork()


os.register_at_fork(after_in_child=_after_fork)
