"""The trainer's side of the sender: is there one, start one, wake it, ask what it is at."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agentnn.tracking.journal.state import STATE_VARIABLE, StoreFolder, open_private, read_json, state_directory
from agentnn.tracking.sending.problem import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from agentnn.settings import Settings

_SENDER_DEFAULTS = {
    "OMP_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # it would put the working directory's project into every model
}
_LOOKS, _LOOK_S = 10, 0.02
_started: list[subprocess.Popen[bytes]] = []
_NOT_FOR_THE_SENDER = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "AGENTNN_RUN")


@dataclass(frozen=True, slots=True)
class SenderStatus:
    """What the sender said last.

    Attributes:
        state: ``starting``, ``delivering``, ``unavailable`` or ``gone``.
        problem: Why the store can't be used, when it is unavailable.
        since: Milliseconds since the epoch, of the beginning of this state.
    """

    state: str = "gone"
    problem: Problem | None = None
    since: int = 0

    @property
    def is_unavailable(self) -> bool:
        """Whether the store could not be used when the sender tried last."""
        return self.state == "unavailable"


def sender_status(store: StoreFolder) -> SenderStatus:
    """What the sender of a store is at."""
    if not is_sender_running(store):
        return SenderStatus("starting" if any(one.poll() is None for one in _started) else "gone")
    said = read_json(store.status) or {"state": "starting"}
    return SenderStatus(str(said.get("state")), Problem.from_dict(said.get("problem")), int(said.get("since", 0)))


def is_sender_running(store: StoreFolder) -> bool:
    """Whether a process holds the sender's lock. Several may ask at once, and none takes another one for a sender."""
    try:
        descriptor = _try_lock(store.lock, fcntl.LOCK_SH, make=False)
    except FileNotFoundError:  # no sender ever ran here
        return False
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def take_lock(path: Path) -> int | None:
    """Take a lock that the kernel frees when this process ends; ``None`` while another holds it.

    Whoever only looks holds it for an instant; that is waited for.
    """
    for _ in range(_LOOKS):
        descriptor = _try_lock(path, fcntl.LOCK_EX)
        if descriptor is not None:
            return descriptor
        time.sleep(_LOOK_S)
    return None


def _try_lock(path: Path, kind: int, *, make: bool = True) -> int | None:
    descriptor = open_private(path, os.O_RDWR) if make else os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def ensure_sender(store: StoreFolder, settings: Settings, urgent: str = "") -> None:
    """Wake the sender of a store, or start one. It outlives this process, and leaves by itself when nothing waits.

    Args:
        store: The store's folder.
        settings: Name the store.
        urgent: The uuid of the run that is waited for; all of them without it.
    """
    if is_sender_running(store):
        wake_sender(store, urgent)
    elif sys.executable:
        _start(store, settings)


def wake_sender(store: StoreFolder, urgent: str = "") -> None:
    """End the sender's nap: somebody waits for this run, or for all of them."""
    try:
        pipe = os.open(store.wake, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.ENOENT):  # nobody listens, or not yet
            raise
        return
    with suppress(BlockingIOError):  # it was woken often enough
        os.write(pipe, f"{urgent}\n".encode("ascii"))
    os.close(pipe)


def _start(store: StoreFolder, settings: Settings) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_THE_SENDER}
    environment |= settings.credentials
    environment["MLFLOW_TRACKING_URI"] = settings.tracking_uri
    environment["MLFLOW_REGISTRY_URI"] = settings.registry_uri
    environment[STATE_VARIABLE] = str(state_directory())
    for name, value in _SENDER_DEFAULTS.items():
        environment.setdefault(name, value)
    if settings.workspace != "default":
        environment["MLFLOW_WORKSPACE"] = settings.workspace
    with os.fdopen(open_private(store.log, os.O_WRONLY | os.O_APPEND), "ab") as log:
        _started[:] = [one for one in _started if one.poll() is None]
        _started.append(
            subprocess.Popen(
                # -P: a file called mlflow.py in the working directory is not MLflow.
                [sys.executable, "-P", "-m", "agentnn.tracking.sending.sender"],
                cwd=_artifacts_beside(settings),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the trainer's terminal is not for the sender
            )
        )


def _artifacts_beside(settings: Settings) -> Path | None:
    """Where MLflow makes the folder of artifacts of a database: beside a SQLite file, else where training runs."""
    from agentnn.stores.sql.sqlite_file import sqlite_path

    return sqlite_path(settings.tracking_uri).parent if settings.tracking_uri.startswith("sqlite") else None


def with_absolute_uris(settings: Settings) -> Settings:
    """The same stores, named so that a process in another folder finds them too."""
    return replace(
        settings,
        tracking_uri=_absolute(settings.tracking_uri),
        registry_uri=_absolute(settings.registry_uri),
    )


def _absolute(uri: str) -> str:
    from pathlib import Path
    from urllib.parse import quote

    from agentnn.settings import toml_folder
    from agentnn.stores.artifacts.folder import local_folder
    from agentnn.stores.sql.sqlite_file import sqlite_path

    projects = toml_folder(uri)
    if projects is not None:
        return f"toml:{projects.resolve()}"
    scheme, separator, rest = uri.partition("://")
    if scheme.lower().startswith("sqlite"):
        _, question, options = rest.partition("?")
        return f"{scheme}:///{quote(str(sqlite_path(uri).resolve()))}{question}{options}"
    folder = local_folder(uri) if not separator or uri.startswith("file:") else None
    return uri if folder is None or ":" in str(folder) else str(Path(folder).resolve())
