"""Training with the code of another work tree, in a process of its own.

The process gets a state folder of its own, so that no sender is left behind which runs code that is gone then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.config.yaml_text import to_yaml
from agentnn.errors import TrainingError
from agentnn.tracking.journal.state import STATE_VARIABLE, StoreFolder, read_json
from agentnn.tracking.sending.sender_control import is_sender_running, with_absolute_uris

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentnn.settings import Settings

_FAREWELL_S = 15.0
_SENDER_FAREWELL_S = 60.0
_SENDER = b"agentnn.tracking.sending.sender"


def train_with(
    tree: Path, root: Path, values: Mapping[str, Any], settings: Settings, *, name: str, tags: Mapping[str, str]
) -> str | None:
    """Run ``agentnn run train`` with the code of a work tree.

    Args:
        tree: The work tree, whose packages go before those that are installed.
        root: The repository that it is of; the working directory's place in it is kept.
        values: The configuration.
        settings: Name the store.
        name: Of the run.
        tags: Of the run.

    Returns:
        The run's id, as far as the store has given one.

    Raises:
        TrainingError: It failed; what it says has gone to standard error.
    """
    settings = with_absolute_uris(settings)
    with tempfile.TemporaryDirectory(prefix="agentnn-replay-") as scratch:
        config = Path(scratch, "config.yaml")
        config.write_text(to_yaml(_with_data_of(values, tree, root)), encoding="utf-8")
        given = [word for key, value in tags.items() for word in ("--tag", f"{key}={value}")]
        command = [sys.executable, "-P", "-m", "agentnn", *_store_option(settings), "run", "train", str(config)]
        state = Path(scratch, "state")
        try:
            printed = _run(
                [*command, "--name", name, *given, "-o", "json"],
                _place_in(tree, root),
                _environment(tree, state, settings),
            )
        finally:
            _see_senders_off(state)
    run_id = json.loads(printed).get("run_id")
    return None if run_id is None else str(run_id)


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    """What a command prints; it ends when this process is told to."""
    with (
        _signals_as_exits(),
        subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        ) as process,
    ):
        try:
            printed, _ = process.communicate()
        except BaseException:  # Ctrl-C has reached it too
            _end(process)
            raise
    if process.returncode == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if process.returncode:
        raise TrainingError(
            f"training with the code of the run's commit failed: exit code {process.returncode}",
            hint="the error is above; --here trains with the code that is here",
        )
    return printed


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(_FAREWELL_S)
    except subprocess.TimeoutExpired:
        process.kill()


@contextmanager
def _signals_as_exits() -> Iterator[None]:
    """SIGTERM and SIGHUP end this process in an orderly way, too."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.signal(one, leave) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _environment(tree: Path, state: Path, settings: Settings) -> dict[str, str]:
    sources = [str(one) for one in (tree, tree / "src") if one.is_dir()]
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in ("AGENTNN_RUN", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")
    }
    more = {
        "PYTHONPATH": os.pathsep.join(filter(None, (*sources, os.environ.get("PYTHONPATH", "")))),
        STATE_VARIABLE: str(state),
        "AGENTNN_SENDER_IDLE_S": "1",
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "MLFLOW_REGISTRY_URI": settings.registry_uri,
        **({"MLFLOW_EXPERIMENT_NAME": settings.experiment_name} if settings.experiment_name else {}),
        **({"MLFLOW_WORKSPACE": settings.workspace} if settings.workspace != "default" else {}),
    }
    return {**kept, **settings.credentials, **more}


def _store_option(settings: Settings) -> list[str]:
    """The store on the command line, unless that would show a password to every user of the machine."""
    return [] if settings.secrets.keys() & {"tracking_uri"} else ["--tracking-uri", settings.tracking_uri]


def _place_in(tree: Path, root: Path) -> Path:
    """The working directory, in the work tree as far as it is there."""
    here = Path.cwd()
    place = tree / here.relative_to(root) if here.is_relative_to(root) else tree
    return place if place.is_dir() else tree


def _with_data_of(values: Mapping[str, Any], tree: Path, root: Path) -> dict[str, Any]:
    """The configuration with the path of the data as seen from anywhere: that of the commit where it has them."""
    data = values.get("data")
    path = data.get("path") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not path or Path(path).is_absolute():
        return dict(values)
    today = Path(path).absolute()
    then = _place_in(tree, root) / path
    return {**values, "data": {**data, "path": str(then if then.is_file() else today)}}


def _see_senders_off(state: Path) -> None:
    """Wait for the senders of a state folder, and end those that do not leave by themselves."""
    stores = [StoreFolder(path) for path in state.glob("*") if path.is_dir()]
    deadline = time.monotonic() + _SENDER_FAREWELL_S
    while any(map(is_sender_running, stores)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for store in filter(is_sender_running, stores):
        pid = read_json(store.status).get("pid")
        if isinstance(pid, int) and _is_sender(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def _is_sender(pid: int) -> bool:
    try:
        return _SENDER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
