"""A worker ends once nobody is left to end it: torchrun was killed, or the process that launched torchrun."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress

from agentnn.tracking.journal.process_identity import ProcessIdentity

LAUNCHER = "AGENTNN_LAUNCHER"
"""Holds the identity of the process that launched torchrun."""

_UNDER_TORCHRUN = "TORCHELASTIC_RUN_ID"
_LOOK_EVERY_S = 0.5
_NAME = "agentnn-orphans"


def leave_when_orphaned() -> None:
    """From now on, look twice a second; under torchrun only, and once a process."""
    if _UNDER_TORCHRUN in os.environ and all(thread.name != _NAME for thread in threading.enumerate()):
        threading.Thread(target=_look, args=(os.getppid(),), name=_NAME, daemon=True).start()


def _look(torchrun: int) -> None:
    launcher = ProcessIdentity.from_json(os.environ.get(LAUNCHER, ""))
    while os.getppid() == torchrun and (launcher is None or launcher.is_alive):
        time.sleep(_LOOK_EVERY_S)
    if os.getppid() == torchrun:  # which would start this worker again
        with suppress(OSError):
            os.kill(torchrun, signal.SIGTERM)
    os._exit(1)
