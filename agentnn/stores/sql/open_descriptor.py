"""A file that this process has open already, looked into without opening it once more.

To close a second descriptor of a file drops all locks that the process holds on it: those of a statement that is
running in another thread, and those of whoever is writing.
https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def descriptor_of(path: Path) -> int | None:
    """A descriptor of a file, to read by position and never to close; ``None`` where there is none, or none is told."""
    with suppress(OSError):
        status = path.stat()
        for opened in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                descriptor = int(opened.name)
                if os.path.samestat(os.fstat(descriptor), status):
                    os.pread(descriptor, 1, 0)  # it may be open for writing only
                    return descriptor
    return None
