"""The runs of one store, delivered in turns: what fails for one of them must not keep the others waiting."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, CorruptDataError, StoreUnavailable
from agentnn.tracking.sending.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from agentnn.settings import Settings
    from agentnn.stores.run_writer import RunWriter
    from agentnn.tracking.journal.state import StoreFolder
    from agentnn.tracking.sending.delivery import RunDelivery

TURN = 8
"""How many requests a turn is."""

_KEPT_S = 60.0

_log = logging.getLogger("agentnn.sender")


class Sender:
    """Delivers the runs of one store; whoever uses it holds the store's lock.

    Args:
        store: The store's folder on this machine.
        settings: Name the store.
    """

    def __init__(self, store: StoreFolder, settings: Settings) -> None:
        self.store = store
        self._settings = settings
        self._writer: RunWriter | None = None
        self._runs: dict[str, RunDelivery] = {}
        self._failed: dict[str, None] = {}
        self._sizes: dict[str, int] = {}

    @property
    def answered(self) -> int:
        """How many requests the store has answered, for the runs that are here."""
        return sum(run.answered for run in self._runs.values())

    def deliver(self, only: Collection[str] | None = None, most: int = TURN) -> bool:
        """Give every run that has something to deliver a turn, and close those whose processes are dead.

        Args:
            only: The uuids of the runs that are meant; all without it.
            most: How many requests a turn is, at most.

        Returns:
            Whether anything was delivered.

        Raises:
            StoreUnavailable: The store can't be used.
        """
        meant = [run for run in self._in_turn() if only is None or run.folder.uuid in only]
        return any([self._turn(run, most) for run in meant if not run.cursor.problem])

    def sync_files(self) -> None:
        """Have the kernel write what grew since the last time to the disk; a crash of the machine loses no more."""
        for folder in self.store.runs():
            with suppress(FileNotFoundError):
                size = folder.journal.stat().st_size
                if size != self._sizes.get(folder.uuid):
                    with folder.journal.open("rb") as file:
                        os.fdatasync(file.fileno())
                    self._sizes[folder.uuid] = size

    def is_training(self) -> bool:
        """Whether a process trains, and the sender should leave it the machine."""
        return any(run.is_open and run.has_living_writers() for run in self._look())

    def is_unattended(self) -> bool:
        """Whether no process has a journal open, so that nothing new comes. It takes no answer of the store."""
        from agentnn.tracking.journal.journal import nobody_writes

        for folder in self.store.runs():
            with suppress(FileNotFoundError), nobody_writes(folder.journal) as unused:
                if not unused:
                    return False
        return True

    def backlog(self) -> int:
        """How much waits, in bytes."""
        return sum(run.folder.journal.stat().st_size - run.cursor.offset for run in self._look())

    def is_idle(self) -> bool:
        """Whether every run has ended and is delivered, can't be, or has yet to begin."""
        return not any(self._goes_on(run) for run in self._look())

    def waiting(self) -> set[str]:
        """The uuids of the runs of which something could be delivered."""
        return {run.folder.uuid for run in self._look() if run.waits and not run.cursor.problem}

    def sweep(self) -> None:
        """Remove what is delivered and can't grow any more."""
        from agentnn.tracking.journal.journal import nobody_writes

        shutil.rmtree(self.store.trash, ignore_errors=True)  # a sender that was killed may have left it
        for run in self._look():
            if not run.is_over(_KEPT_S):
                continue
            with nobody_writes(run.folder.journal) as unused:
                if unused and not run.waits:  # a process may have resumed it just now
                    run.folder.path.rename(self.store.trash)  # at once: nobody finds a part of it
                    shutil.rmtree(self.store.trash, ignore_errors=True)
                    self._runs.pop(run.folder.uuid, None)

    def _in_turn(self) -> list[RunDelivery]:
        """Every run; what failed comes after what did not, and the last failure last: it may be this run's alone."""
        places = {uuid: place for place, uuid in enumerate(self._failed, start=1)}
        return sorted(self._look(), key=lambda run: places.get(run.folder.uuid, 0))

    def _turn(self, run: RunDelivery, most: int) -> bool:
        from agentnn.tracking.sending.delivery import ParentNotReady

        self._failed.pop(run.folder.uuid, None)
        try:
            return self._deliver_run(run, most)
        except ParentNotReady:
            return False  # its turn comes
        except (StoreUnavailable, CorruptDataError):
            self._failed[run.folder.uuid] = None
            raise
        except Exception as error:  # noqa: BLE001 - one run's trouble must not keep the others waiting
            if not isinstance(error, AgentNNError):
                _log.exception("the run %s can't be delivered", run.folder.uuid)
            run.cursor.problem = Problem.of(error).to_dict()
            run.cursor.write(run.folder)
        return False

    def _deliver_run(self, run: RunDelivery, most: int) -> bool:
        living = run.has_living_writers()  # before the last look at the journal: who dies after it has another turn
        progress = run.waits and run.deliver(most) > 0
        if living:
            if run.is_open:
                run.beat()
        elif (run.is_open or run.waits) and not self._has_whole_records(run):
            run.close_abandoned() if run.is_open else run.cut_tail()
            return True
        return progress

    def _goes_on(self, run: RunDelivery) -> bool:
        if run.cursor.problem or not (run.is_open or run.waits):
            return False
        return bool(run.cursor.writers) or self._has_whole_records(run)

    def _has_whole_records(self, run: RunDelivery) -> bool:
        from agentnn.tracking.journal.journal import read_journal

        return next(read_journal(run.folder.journal, run.cursor.offset), None) is not None

    def _look(self) -> list[RunDelivery]:
        """Every run that is here, the oldest first: their names begin with the time."""
        from agentnn.tracking.sending.delivery import RunDelivery

        if self._writer is None:
            from agentnn.stores.run_writer import open_writer

            self._writer = open_writer(self._settings)
        found = {folder.uuid: folder for folder in self.store.runs()}
        for uuid in [uuid for uuid in self._runs if uuid not in found]:
            del self._runs[uuid]
        for uuid, folder in found.items():
            if uuid not in self._runs:
                self._runs[uuid] = RunDelivery(folder, self._writer)
        return [self._runs[uuid] for uuid in found]
