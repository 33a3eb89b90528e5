"""One writer of ours at a time in a folder: two that change a file by turns would undo each other's change.

The lock is flock(2) on the folder itself, so that nothing is put into MLflow's tree; the kernel frees it when its
holder dies. MLflow knows nothing of it.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TIMEOUT_S = 10.0
_PAUSE_S = 0.002


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other writers of ours from a folder; a file system that knows no locks goes without.

    Raises:
        StoreUnavailable: Another one has held it for ten seconds.
        OSError: There is no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"another process has been writing to {folder} for {_TIMEOUT_S:g} s", hint="agentnn run sync"
                ) from None
        except OSError:
            return None
        time.sleep(_PAUSE_S)
