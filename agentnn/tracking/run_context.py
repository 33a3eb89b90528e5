"""Which run is the current one: of this task or thread first, then of the process, then of the one that started it."""

from __future__ import annotations

import logging
import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from agentnn.tracking.sending.delivered import Cursor

if TYPE_CHECKING:
    from agentnn.tracking.active_run import ActiveRun

RUN_VARIABLE = "AGENTNN_RUN"
"""Holds the folder of the run that the processes see which this one starts."""

_log = logging.getLogger("agentnn")
_of_context: ContextVar[tuple[ActiveRun, ...]] = ContextVar("agentnn_runs", default=())
_of_process: list[tuple[ActiveRun, threading.Thread]] = []
_lock = threading.Lock()
_from_parent: str | None = None
_inherited: dict[str, ActiveRun] = {}
_attached: WeakValueDictionary[str, ActiveRun] = WeakValueDictionary()


def remember(run: ActiveRun) -> None:
    """Make a run the current one."""
    global _from_parent
    _of_context.set((*_of_context.get(), run))
    with _lock:
        if not _of_process:
            _from_parent = os.environ.get(RUN_VARIABLE)
        _of_process.append((run, threading.current_thread()))
        _tell_children()


def forget(run: ActiveRun) -> None:
    """Make the run before it the current one again."""
    _of_context.set(tuple(one for one in _of_context.get() if one is not run))
    with _lock:
        if any(one is run for one, _ in _of_process):
            _of_process[:] = [entry for entry in _of_process if entry[0] is not run]
            _tell_children()


def remember_attached(run: ActiveRun) -> None:
    """Keep a run of another process in mind, for as long as somebody uses it, so that it is attached only once."""
    _attached[str(run.folder.path)] = run


def run_in(folder: str) -> ActiveRun | None:
    """The run of this folder that this process writes already."""
    with _lock:
        of_process = [run for run, _ in _of_process if str(run.folder.path) == folder]
    return of_process[-1] if of_process else _attached.get(folder)


def current_run() -> ActiveRun | None:
    """The run that is open here, or ``None``.

    A thread without a run of its own sees the main thread's, or that of the only thread that has one; a process sees
    the run that was open in the process that started it.
    """
    for run in reversed(_of_context.get()):
        if not run.ended:
            return run
    own = own_run()
    if own is not None:
        return own
    with _lock:
        open_runs = _open_runs()
        shared = _shared(open_runs)
    if open_runs and shared is None:
        _log.warning("several threads have a run open and this one has none: it is unclear which to log to")
    return shared if open_runs else _run_of_parent_process()


def own_run() -> ActiveRun | None:
    """The innermost run that this thread has opened."""
    with _lock:
        own = [run for run, thread in _open_runs() if thread is threading.current_thread()]
    return own[-1] if own else None


def runs_of_process() -> list[ActiveRun]:
    """Every run that this process has open, and those that it writes for another."""
    with _lock:
        return [run for run, _ in _of_process] + list(_attached.values())


def _open_runs() -> list[tuple[ActiveRun, threading.Thread]]:
    return [entry for entry in _of_process if not entry[0].ended]


def _shared(open_runs: list[tuple[ActiveRun, threading.Thread]]) -> ActiveRun | None:
    """The run for those that have none of their own; ``None`` when several threads, but not the main one, have some."""
    of_main = [run for run, thread in open_runs if thread is threading.main_thread()]
    if of_main:
        return of_main[-1]
    return open_runs[-1][0] if len({id(thread) for _, thread in open_runs}) == 1 else None


def _tell_children() -> None:
    open_runs = _open_runs()
    shared = _shared(open_runs)
    path = str(shared.folder.path) if shared else None if open_runs else _from_parent
    if path:
        os.environ[RUN_VARIABLE] = path
    else:
        os.environ.pop(RUN_VARIABLE, None)


def _run_of_parent_process() -> ActiveRun | None:
    path = os.environ.get(RUN_VARIABLE)
    if not path:
        return None
    run = _inherited.get(path)
    if run is None:
        from agentnn.tracking.starting import attach_inherited_run

        run = attach_inherited_run(path)
        if run is None:
            return None
        _inherited[path] = run
    return run if Cursor.read(run.folder).status in ("", "RUNNING") else None


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for run in runs_of_process():
        run.renew_after_fork()


os.register_at_fork(after_in_child=_after_fork)
