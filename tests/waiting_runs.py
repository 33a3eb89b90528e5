"""Runs that wait on this machine, as trainers leave them there that died or whose store was down."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

from agentnn.settings import Settings
from agentnn.tracking.attachments import FileRecorder
from agentnn.tracking.journal.process_identity import this_process
from agentnn.tracking.journal.state import StoreFolder, new_uuid
from agentnn.tracking.sending.sender_control import with_absolute_uris

if TYPE_CHECKING:
    from agentnn.tracking.journal.state import RunFolder


def dead_process() -> str:
    """The identity of a process that has ended."""
    code = "from agentnn.tracking.journal.process_identity import this_process; print(this_process().to_json())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def living_process() -> str:
    """The identity of a process that goes on for as long as the test."""
    return this_process().to_json()


class WaitingRun(FileRecorder):
    """A run that a process has logged, and that nobody has delivered.

    Args:
        uri: The store.
        name: The run's name.
        process: The identity of the process.
        start: What else the record of the start holds.
    """

    def __init__(self, uri: str, name: str = "waiting", *, process: str, **start: Any) -> None:
        settings = with_absolute_uris(Settings.load(uri))
        store = StoreFolder.of(settings)
        store.make(settings)
        folder: RunFolder = store.run(new_uuid())
        folder.make()
        super().__init__(folder, name)
        first = {"name": name, "experiment": "Default", "tags": {}, "user": "ada", "source": "", "process": process}
        self.append("start", {**first, **start})

    def end(self, status: str = "FINISHED") -> None:
        """Log the end."""
        self.append("end", {"status": status, "reason": ""})
        self.journal.close()
