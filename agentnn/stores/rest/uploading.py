"""Files on their way into the runs of a server: each to where the server keeps it, and read back."""

from __future__ import annotations

import hashlib
import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import CorruptDataError, NotFoundError, StoreUnavailable
from agentnn.stores.artifacts.folder import local_folder
from agentnn.stores.artifacts.places import check_place
from agentnn.stores.mlflow.artifacts import check_names, is_kept_by_server
from agentnn.stores.rest.artifact_folder import open_server_folder
from agentnn.stores.rest.experiments import find_experiment
from agentnn.stores.rest.run_records import run_of
from agentnn.stores.whole_files import digest_of, put_whole

if TYPE_CHECKING:
    from pathlib import Path

    from agentnn.settings import Settings
    from agentnn.stores.mlflow.artifacts import ServerFolder
    from agentnn.stores.rest.transport import Transport

_IN_PARTS = "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"
"""By this variable a user wants large files to go to the store behind the server, in parts."""


class _Place(NamedTuple):
    """Where the files of a run lie, and what reaches them where that is the server."""

    run_id: str
    uri: str
    folder: ServerFolder | None


class Uploads:
    """Puts files into runs.

    A server may be a forged one, and so may what it says of a run: a file goes nowhere that a file would not be read
    from, by the rule of :mod:`agentnn.stores.artifacts.places`.

    Args:
        transport: Asks the server.
        settings: Name it, and the places that were declared.
    """

    def __init__(self, transport: Transport, settings: Settings) -> None:
        self._transport = transport
        self._settings = settings
        self._last: _Place | None = None

    def put(self, run_id: str, source: Path, target: str) -> None:
        """See :meth:`agentnn.stores.run_writer.RunWriter.put_file`.

        Raises:
            UsageError: The server can't keep a file of this name.
            UnsafeError: The run's files are said to be where none may be.
            StoreUnavailable: The server does not take it, or there is no room for it.
            CorruptDataError: What arrived is something else.
        """
        place = self._place_of(run_id)
        root = local_folder(place.uri)
        if root is not None:
            put_whole(source, root / target, root.parent)
            return
        check_names([target], self._settings)
        if place.folder is not None:
            send_whole(place.folder, source, target)
            return
        from agentnn.stores.mlflow.writer import MlflowWriter  # a cloud store: its client is MLflow's matter

        MlflowWriter(self._settings).put_file(run_id, source, target)

    def _place_of(self, run_id: str) -> _Place:
        """Where the files of a run lie, looked up once for many of them: nothing can change it."""
        if self._last is None or self._last.run_id != run_id:
            run = run_of(self._transport.get("runs/get", {"run_id": run_id}).get("run") or {}, {})
            experiment = find_experiment(self._transport, name=None, experiment_id=run.experiment_id)
            location = experiment.artifact_location if experiment is not None else None
            check_place(run.artifact_uri, run.run_id, location, self._settings)
            uri = run.artifact_uri or ""
            by_server = is_kept_by_server(uri) and os.environ.get(_IN_PARTS, "").lower() not in ("true", "1")
            self._last = _Place(run_id, uri, open_server_folder(uri, self._settings) if by_server else None)
        return self._last


def send_whole(folder: ServerFolder, source: Path, target: str) -> None:
    """Send a file to a server's folder, and read back whether it arrived.

    Raises:
        StoreUnavailable: The server does not take it.
        CorruptDataError: What arrived is something else, or nothing.
    """
    inside = PurePosixPath(target)
    folder.write(inside, source)
    try:
        if _digest_of_kept(folder, inside) == digest_of(source):
            return
    except NotFoundError as error:
        raise CorruptDataError(f"{target} did not arrive", hint="it is sent again: agentnn run sync") from error
    except StoreUnavailable:
        if target.isascii() or not _is_listed(folder, inside, source.stat().st_size):
            raise
        return  # some servers of MLflow 3 keep a file of such a name, and fail when they should send it
    raise CorruptDataError(f"{target} did not arrive whole", hint="it is sent again: agentnn run sync")


def _digest_of_kept(folder: ServerFolder, inside: PurePosixPath) -> str:
    digest = hashlib.sha256()
    for chunk in folder.read(inside):
        digest.update(chunk)
    return digest.hexdigest()


def _is_listed(folder: ServerFolder, inside: PurePosixPath, size: int) -> bool:
    return any((one.path, one.size) == (str(inside), size) for one in folder.entries(inside.parent))
