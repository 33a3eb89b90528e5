"""A run that records which model was loaded; nothing about it can keep the model from being loaded."""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.settings import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agentnn.settings import Settings
    from agentnn.tracking.active_run import ActiveRun, NullRun

_DELIVERY_S = 0.5
"""How long the end waits for the delivery; the sender goes on with the rest."""

_AT_ONCE = 2**20


class ModelPlace(NamedTuple):
    """Where a model comes from.

    Attributes:
        source: ``local``, ``registry`` or ``run``.
        uri: How it was asked for.
        location: Where its files lie, as :func:`agentnn.stores.mlflow.models.model_folder` reads it.
        facts: What the name came to: model and version, or the run.
        folder: The folder itself, where the caller has named it and no store.
    """

    source: str
    uri: str
    location: str
    facts: Mapping[str, Any] = {}
    folder: Path | None = None


class LoadingRecord:
    """Notes, step by step, what is being loaded.

    Args:
        run: Takes it.
    """

    def __init__(self, run: ActiveRun | NullRun) -> None:
        self._run = run
        self._began = time.monotonic()

    def begins(self, place: ModelPlace) -> None:
        """Note what was asked for, and what that means."""
        from agentnn.tracking.capture.guard import optional

        with optional("what is loaded"):
            known = {name: value for name, value in place.facts.items() if value is not None}
            places = {"source": place.source, "uri": redact(place.uri), "location": redact(place.location)}
            self._run.log_params({**places, **known})

    def found(self, folder: Path) -> None:
        """Note what lies in the model's folder, with a digest of all of it."""
        from agentnn.registry.files import files_in
        from agentnn.stores.mlflow.models import flavors_of
        from agentnn.tracking.active_run import NullRun
        from agentnn.tracking.capture.guard import optional

        if isinstance(self._run, NullRun):
            return
        with optional("the digest of the model"):
            paths = list(files_in(folder))
            size = sum((folder / path).stat().st_size for path in paths)
            facts = {"digest": _digest(folder, paths), "files": len(paths), "size": size}
            self._run.log_params({**facts, "flavors": ", ".join(flavors_of(folder))})

    def ends(self, status: str, reason: str) -> None:
        """End the run."""
        from agentnn.tracking.capture.guard import optional

        with optional("the loading of the model"):
            self._run.log_metrics({"load_seconds": time.monotonic() - self._began})
            self._run.end(status, reason, wait=False)
            self._run.flush(_DELIVERY_S)


@contextmanager
def recorded(settings: Settings, experiment: str | None) -> Iterator[LoadingRecord]:
    """A record of what is loaded inside: a run of its own, below the current one; FAILED where that raises.

    Args:
        settings: Name the store.
        experiment: The run's experiment; without one nothing is recorded.
    """
    record = LoadingRecord(_started(settings, experiment))
    try:
        yield record
    except BaseException as error:
        from agentnn.tracking.endings import Ending

        ending = Ending.of(error)
        record.ends(ending.status, ending.reason)
        raise
    record.ends("FINISHED", "")


def _started(settings: Settings, experiment: str | None) -> ActiveRun | NullRun:
    from agentnn.tracking.active_run import NullRun

    if experiment is None:
        return NullRun()
    from agentnn.tracking.capture.guard import optional
    from agentnn.tracking.run_context import current_run
    from agentnn.tracking.starting import start_run

    with optional("the loading of the model"):
        return start_run(experiment=experiment, nested=current_run() is not None, settings=settings)
    return NullRun()


def _digest(folder: Path, paths: list[Path]) -> str:
    """SHA-256 of the names and the contents of the files, in order."""
    whole = hashlib.sha256()
    for path in paths:
        one = hashlib.sha256()
        with (folder / path).open("rb") as file:
            while chunk := file.read(_AT_ONCE):
                one.update(chunk)
        whole.update(f"{path.as_posix()}\0{one.hexdigest()}\n".encode())
    return whole.hexdigest()
