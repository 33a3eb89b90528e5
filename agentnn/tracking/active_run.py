"""``ActiveRun``: the only thing that writes a run, from ``start_run`` to its end.

Nothing here waits for the store unless it was asked to: a run is a journal on this machine until the sender has
delivered it. See docs/adr for why.
"""

from __future__ import annotations

import logging
import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from agentnn.errors import AgentNNError, ConflictError, StoreUnavailable, UsageError
from agentnn.settings import redact, toml_folder
from agentnn.tracking.attachments import FileRecorder
from agentnn.tracking.endings import Ending, watch
from agentnn.tracking.mlflow_stack import MlflowStack
from agentnn.tracking.run_context import forget
from agentnn.tracking.sending.delivered import Delivered
from agentnn.tracking.sending.sender_control import ensure_sender, is_sender_running, sender_status, wake_sender

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from agentnn.settings import Settings
    from agentnn.tracking.journal.state import RunFolder

_log = logging.getLogger("agentnn")

_STATUSES = ("FINISHED", "FAILED", "KILLED")

RUN_ID_TIMEOUT_S = 60.0
"""How long ``run_id`` waits for the store to name the run."""

END_TIMEOUT_S = 60.0
"""How long the end of a run waits while the sender makes its way; then it leaves the rest to the sender."""

DOWN_TIMEOUT_S = 2.0
"""How long the ends of runs wait, all together, for a store that can't be used, or after an interruption."""


class _Patience:
    """What is left of the time that this process waits for a store while it can't be used.

    All runs of the store share it: that a hundred of them end while it is down must not take a hundred times as long.
    It is whole again once something was delivered.
    """

    def __init__(self) -> None:
        self.left = DOWN_TIMEOUT_S

    def spend(self, wait: Callable[[float], bool]) -> None:
        """Wait, with what is left as the limit, and note how long that took and whether it was worth it."""
        started = time.monotonic()
        if wait(self.left):
            self.left = DOWN_TIMEOUT_S
        else:
            self.left = max(0.0, self.left - (time.monotonic() - started))


@cache
def _patience_with(store: Path) -> _Patience:
    return _Patience()


@cache
def _tell_of_mlflow(uri: str) -> None:
    """Say, once a store, that autologging has nowhere to go: MLflow writes to its own stores alone."""
    _log.warning("what MLflow itself logs, autologging included, will not be in the runs: it can't write to %s", uri)


class ActiveRun(FileRecorder):
    """A run that is being written; made by :func:`~agentnn.tracking.starting.start_run`.

    As a context manager it ends with the truth: FINISHED, FAILED after an exception or an exit with an error, KILLED
    after Ctrl-C, SIGTERM or SIGHUP. Threads may share it; a forked or spawned process that was given it writes into
    the same run, and only the process that started it ends it.

    Attributes:
        name: The run's name.
        uuid: Our own id of it, known at once.
        folder: Where it waits for delivery.
        settings: Name the store.
        strict: Whether what can't be delivered is an error at the end, instead of a warning.
    """

    def __init__(self, folder: RunFolder, name: str, settings: Settings, *, strict: bool = False) -> None:
        super().__init__(folder, name)
        self.settings = settings
        self.strict = strict
        self._owner: int | None = None
        self._start_time = time.time_ns() // 1_000_000
        self._delivered = Delivered(folder)
        self._stack = MlflowStack()
        self._told = False

    @property
    def uuid(self) -> str:
        """Our own id of the run, which is there before MLflow's."""
        return self.folder.uuid

    @property
    def run_id(self) -> str:
        """MLflow's id of the run, which the store gives; the first time this waits for its answer.

        Raises:
            StoreUnavailable: The store has not answered.
            AgentNNError: It refused the run, or can't be written to for another reason; the class says which.
        """
        if not self._wait_for_run_id(DOWN_TIMEOUT_S):
            problem = self._delivered.problem()
            raise problem.error(
                f"the run {self.name!r} is not in the store yet: {problem.message}",
                hint="what was logged is kept on this machine; to deliver it: agentnn run sync",
            )
        return self._delivered.run_id

    def find_run_id(self) -> str | None:
        """MLflow's id of the run as far as it is known by now; this never waits."""
        return self._delivered.look() or None

    @property
    def is_owned(self) -> bool:
        """Whether this process opened the run, and so ends it."""
        return self._owner == os.getpid()

    @property
    def ended(self) -> bool:
        """Whether the run takes nothing more."""
        return self._ended

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that was logged so far is in the store.

        Args:
            timeout: Seconds; without one, as long as the store can be used.

        Returns:
            Whether it is.

        Raises:
            StoreUnavailable, ConflictError: With ``strict``, when it is not.
        """
        self.journal.retry()
        self._call_sender()
        done = self._delivered.wait(END_TIMEOUT_S * 60 if timeout is None else timeout, DOWN_TIMEOUT_S)
        if self.strict:
            self._raise_if_undelivered()
        return done and not self.journal.unwritten

    def end(
        self, status: str = "FINISHED", reason: str = "", *, end_time: int | None = None, wait: bool = True
    ) -> None:
        """End the run, and wait a little for its delivery; what still waits then is said.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.
            reason: Why, in one line; kept as the tag ``agentnn.end_reason``.
            end_time: Milliseconds since the epoch; now without one.
            wait: Without it the sender is only told, and nothing is said of what still waits: for one of many runs,
                by whoever looks after all of them.

        Raises:
            StoreUnavailable: The journal could not be written: what was logged last is lost. With ``strict`` also when
                the store can't be used.
            ConflictError: With ``strict``, when the store refused something.
        """
        if status not in _STATUSES:
            raise UsageError(f"a run can't end as {status!r}", hint=f"one of {', '.join(_STATUSES)}")
        if not self._close(Ending(status, reason), end_time):
            return
        if wait:
            self._deliver(in_a_hurry=status == "KILLED" or self.journal.unwritten > 0)
        else:
            self._tell_sender()
        if self.journal.unwritten:
            raise self._unwritten()
        with self._lock:  # a thread may still be logging what it was about to log
            self.journal.close()
        if self.strict and wait:
            self._raise_if_undelivered()

    def __enter__(self) -> Self:
        if self._ended:
            self._refuse()
        if MlflowStack.is_wanted():
            self._enter_mlflow()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        ending = Ending.of(error)
        try:
            self.end(ending.status, ending.reason)
        except (AgentNNError, OSError) as problem:
            if error is None:
                raise
            _log.error("%s", problem)  # the first error is the one to be seen

    def __reduce__(self) -> tuple[Any, ...]:
        from agentnn.tracking.starting import attach_run

        if self._ended:
            self._refuse()
        return attach_run, (str(self.folder.path), self.name, self.settings, self.strict)

    def open_here(self) -> None:
        """Make this process the one that ends the run."""
        self._owner = os.getpid()
        watch.add(self._close_at_exit)

    def _close(self, ending: Ending, end_time: int | None) -> bool:
        """Write the end into the journal; False when there is none to write."""
        self._stack.pop()
        forget(self)
        if self._ended or not self.is_owned:
            return False
        reason = redact(ending.reason, self.settings.secrets.values())
        moment = {} if end_time is None else {"time": end_time}
        with self._lock:  # a thread may be logging
            self._append("end", {"status": ending.status, "reason": reason, **moment})
            self._ended = True
            self.journal.retry()
        watch.remove(self._close_at_exit)
        return True

    def _close_at_exit(self, ending: Ending) -> None:
        try:
            self.end(ending.status, ending.reason)
        except (AgentNNError, OSError) as problem:
            _log.error("%s", problem)

    def _call_sender(self) -> None:
        """Wake the sender, or start one."""
        if "://***@" in self.settings.tracking_uri:  # the run is another process's, and so is the password
            wake_sender(self.folder.store, self.uuid)
        else:
            ensure_sender(self.folder.store, self.settings, self.uuid)

    def _tell_sender(self) -> None:
        """Call the sender, where that is possible."""
        try:
            self._call_sender()
        except OSError as error:  # no process, no memory, no descriptor: what was logged is on the disk all the same
            _log.warning("no sender could be reached: %s", error)

    def _deliver(self, *, in_a_hurry: bool) -> None:
        try:
            self._call_sender()
            _patience_with(self.folder.store.path).spend(
                lambda left: self._delivered.wait(left if in_a_hurry else END_TIMEOUT_S, left)
            )
            self._tell_what_waits()
        except OSError as error:  # no process, no memory, no descriptor: what was logged is on the disk all the same
            _log.warning("no sender could be reached: %s", error)

    def _enter_mlflow(self) -> None:
        if toml_folder(self.settings.tracking_uri) is not None:
            _tell_of_mlflow(self.settings.tracking_uri)
            return
        try:
            _patience_with(self.folder.store.path).spend(self._wait_for_run_id)
            why = self._delivered.problem().message
        except OSError as error:  # no process, no memory, no descriptor
            why = str(error)
        run_id, experiment_id = self._delivered.run_id, self._delivered.experiment_id
        if run_id:
            self._stack.push(self.settings, run_id, experiment_id, self.name, self._start_time)
        else:
            _log.warning("what MLflow itself logs will not be in the run %r: %s", self.name, why)

    def _wait_for_run_id(self, while_unavailable: float) -> bool:
        """Wait until the store has given the run an id; whether it has."""
        if not self._delivered.run_id:
            self._call_sender()
            self._delivered.wait_for_run_id(RUN_ID_TIMEOUT_S, while_unavailable)
        return bool(self._delivered.run_id)

    def _look_around(self) -> None:
        """Every few seconds of logging: is the sender there, and can it deliver?"""
        try:
            why = self._why_nothing_is_delivered()
        except OSError as error:  # no process, no memory, no descriptor
            why = str(error)
        if why and not self._told:
            self._told = True
            _log.warning("%s; training goes on, what it logs waits on this machine", why)

    def _why_nothing_is_delivered(self) -> str:
        store = self.folder.store
        if not is_sender_running(store):
            self._call_sender()
            return ""
        status = sender_status(store)
        if not status.is_unavailable:
            return ""
        return status.problem.message if status.problem else "the store can't be used"

    def _tell_what_waits(self) -> None:
        waiting = self._delivered.waiting()
        if waiting:
            _log.warning(
                "%d records of the run %r wait on this machine (%s); to deliver them: agentnn run sync",
                waiting,
                self.name,
                self._delivered.problem().message,
            )
        refused = self._delivered.refused()
        if refused:
            _log.error("the store refused %d records of the run %r: %s", refused, self.name, self.folder.dead_letters)

    def _raise_if_undelivered(self) -> None:
        if self._delivered.refused():
            raise ConflictError(
                f"the store refused {self._delivered.refused()} records of the run {self.name!r}",
                hint=f"see {self.folder.dead_letters}",
            )
        if self._delivered.waiting():
            problem = self._delivered.problem()
            raise problem.error(
                f"{self._delivered.waiting()} records of the run {self.name!r} wait on this machine: {problem.message}",
                hint="to deliver them: agentnn run sync",
            )

    def _unwritten(self) -> StoreUnavailable:
        why = self.journal.problem.strerror if self.journal.problem else "no room"
        return StoreUnavailable(
            f"{self.journal.unwritten} records of the run {self.name!r} could not be written to {self.journal.path}: "
            f"{why}",
            hint="make room; what was logged before is kept: agentnn run sync",
        )


class NullRun:
    """Takes every call of an :class:`ActiveRun` and does nothing: for the workers that don't log.

    >>> run = start_run("training") if rank == 0 else NullRun()  # doctest: +SKIP
    """

    name = ""
    uuid = ""
    run_id = ""
    ended = False
    is_owned = False
    strict = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not callable(getattr(ActiveRun, name, None)):
            raise AttributeError(f"a run has no {name!r}")
        return _nothing

    def flush(self, timeout: float | None = None) -> bool:
        """Nothing waits."""
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _nothing(*_: Any, **__: Any) -> None:
    return None
