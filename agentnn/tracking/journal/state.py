"""Where journals wait on this machine: one folder a store, one in it a run.

::

    $AGENTNN_STATE_DIR, $XDG_STATE_HOME/agentnn or ~/.local/state/agentnn
    └── 4be1f0c2a9d3e871/            a store, as this machine sees it
        ├── store.json               which one: its URI without secrets
        ├── sender.lock              held by the sender while it lives
        ├── sender.json              what the sender is at
        ├── sender.log               what it had to say
        ├── wake                     a pipe: a byte in it ends the sender's nap
        ├── checkpoints/<uuid>/      the states of a training, until its run has ended well
        ├── studies/NAME.journal     a study, as Optuna keeps it
        └── runs/<uuid>/             a run, until everything is delivered
            ├── journal              what was logged
            ├── files/               what was logged as a file, copied
            ├── cursor.json          how far delivery is
            ├── dead_letters.jsonl   what the store refused for good
            └── damaged              what can't be read any more

Everything is private to the user: folders 0700, files 0600, whatever the umask. A store's folder is this machine's own,
even where homes are shared, since only this machine can tell whether a process lives.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentnn.settings import redact
from agentnn.stores.state_folder import STATE_VARIABLE as STATE_VARIABLE
from agentnn.stores.state_folder import make_private_folder as make_private_folder
from agentnn.stores.state_folder import open_private as open_private
from agentnn.stores.state_folder import state_directory as state_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agentnn.settings import Settings


class RunFolder:
    """The folder of one run; what the files in it hold is their own modules' matter."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uuid = path.name
        self.journal = path / "journal"
        self.files = path / "files"
        self.cursor = path / "cursor.json"
        self.dead_letters = path / "dead_letters.jsonl"
        self.damaged = path / "damaged"

    @property
    def store(self) -> StoreFolder:
        """The folder of the store that the run is for."""
        return StoreFolder(self.path.parent.parent)

    def make(self) -> None:
        """Make the folder, and its store's, private to the user.

        Raises:
            StoreUnavailable: There is no place for it.
        """
        make_private_folder(self.path)


class StoreFolder:
    """The folder of a store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.description = path / "store.json"
        self.lock = path / "sender.lock"
        self.status = path / "sender.json"
        self.log = path / "sender.log"
        self.wake = path / "wake"
        self.trash = path / "trash"
        self.checkpoints = path / "checkpoints"

    @classmethod
    def of(cls, settings: Settings) -> StoreFolder:
        """The folder of the store that the settings name; it may not be there yet."""
        uri = redact(settings.tracking_uri, settings.secrets.values()).rstrip("/")
        named = "\0".join((uri, settings.workspace, socket.gethostname()))
        return cls(state_directory() / hashlib.sha256(named.encode()).hexdigest()[:16])

    def make(self, settings: Settings) -> None:
        """Make the folder and say in it which store it is for.

        Raises:
            StoreUnavailable: There is no place for it.
        """
        make_private_folder(self.path / "runs")
        if not self.description.exists():
            uri = redact(settings.tracking_uri, settings.secrets.values())
            write_json(self.description, {"tracking_uri": uri, "workspace": settings.workspace})

    def run(self, uuid: str) -> RunFolder:
        """The folder of a run; it may not be there."""
        return RunFolder(self.path / "runs" / uuid)

    def runs(self) -> Iterator[RunFolder]:
        """The folders of all runs that have a journal, by name."""
        with suppress(FileNotFoundError):
            for path in sorted((self.path / "runs").iterdir()):
                folder = RunFolder(path)
                if folder.journal.exists():
                    yield folder


def new_uuid() -> str:
    """An id that sorts by the time it was made at: a UUID of version 7 (RFC 9562), in hexadecimal."""
    milliseconds = time.time_ns() // 1_000_000
    tail = int.from_bytes(os.urandom(10)) & ~(0xF << 76) & ~(0x3 << 62)
    return f"{milliseconds << 80 | 0x7 << 76 | 0x2 << 62 | tail:032x}"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a small file at once: whoever reads it sees the old or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = open_private(temporary, os.O_WRONLY | os.O_TRUNC)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file)
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """What :func:`write_json` wrote; empty when there is nothing that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
