"""What the tests of the command line share: rows put straight into a store, and the real executable."""

from __future__ import annotations

import fcntl
import hashlib
import io
import math
import os
import pty
import select
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, closing, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from agentnn.cli.app import run_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

EXECUTABLE = Path(sys.executable).with_name("agentnn")
NEW_YEAR = 1_767_225_600_000
"""2026-01-01T00:00:00Z in milliseconds."""

LARGEST = sys.float_info.max
READS = (
    ("experiment", "list"),
    ("experiment", "show", "alpha"),
    ("run", "list"),
    ("run", "show", "ada"),
    ("run", "best", "--metric", "sharpe"),
    ("run", "compare", "ada", "bob"),
    ("run", "history", "ada", "--metric", "loss"),
    ("run", "artifacts", "ls", "ada"),
    ("model", "list"),
    ("model", "versions", "net"),
    ("model", "show", "net"),
    ("model", "show", "net@champion"),
)
"""Every read command, on a store that ``fill`` has filled."""

ADA, BOB, CYD, DEE, EVE = (f"{digit * 4}{'0' * 28}" for digit in "abcde")


class Rows:
    """Puts rows into a copy of an MLflow database of any schema; a column that it lacks is left out.

    Checks and foreign keys are off, so that a store can be made that MLflow itself would not write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA ignore_check_constraints = ON")
        self.connection.execute("BEGIN")
        self._columns: dict[str, set[str]] = {}

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.execute("COMMIT")
        self.connection.close()

    def insert(self, table: str, **values: Any) -> None:
        """One row of a table."""
        if table not in self._columns:
            self._columns[table] = {row[1] for row in self.connection.execute(f'PRAGMA table_info("{table}")')}
        kept = {key: value for key, value in values.items() if key in self._columns[table]}
        names = ", ".join(f'"{key}"' for key in kept)
        marks = ", ".join("?" * len(kept))
        self.connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(kept.values()))

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Any other statement."""
        return self.connection.execute(sql, values).fetchall()

    def experiment(self, experiment_id: int, name: str, **more: Any) -> None:
        """One experiment."""
        values = {
            "artifact_location": f"/data/mlruns/{experiment_id}",
            "lifecycle_stage": "active",
            "creation_time": NEW_YEAR + experiment_id * 1000,
            "last_update_time": NEW_YEAR + experiment_id * 1000,
        }
        self.insert("experiments", experiment_id=experiment_id, name=name, **{**values, **more})

    def run(
        self,
        run_id: str,
        name: str,
        *,
        experiment_id: int = 0,
        metrics: Mapping[str, Any] | None = None,
        history: Mapping[str, Sequence[float]] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """One run; ``history`` gives every value of a metric by step, ``metrics`` the only one."""
        values = {
            "status": "FINISHED",
            "lifecycle_stage": "active",
            "start_time": NEW_YEAR,
            "end_time": NEW_YEAR + 90_500,
            "user_id": "ada",
            "source_type": "LOCAL",
            "source_name": "train.py",
            "entry_point_name": "",
            "source_version": "",
            "artifact_uri": f"/data/mlruns/{experiment_id}/{run_id}/artifacts",
        }
        self.insert("runs", run_uuid=run_id, name=name, experiment_id=experiment_id, **{**values, **more})
        curves = {**{key: [value] for key, value in (metrics or {}).items()}, **(history or {})}
        for key, curve in curves.items():
            for step, value in enumerate(curve):
                self._metric("metrics", run_id, key, value, step)
            self._metric("latest_metrics", run_id, key, curve[-1], len(curve) - 1)
        for table, texts in (("params", params), ("tags", {"mlflow.runName": name, **(tags or {})})):
            for key, text in (texts or {}).items():
                self.insert(table, run_uuid=run_id, key=key, value=text)

    def _metric(self, table: str, run_id: str, key: str, value: Any, step: int) -> None:
        """One value as MLflow keeps it: NaN as 0 beside a flag, an infinity as the largest double."""
        is_nan = isinstance(value, float) and math.isnan(value)
        if isinstance(value, float):
            value = 0.0 if is_nan else max(-LARGEST, min(LARGEST, value))
        self.insert(
            table, run_uuid=run_id, key=key, value=value, timestamp=NEW_YEAR + step * 1000, step=step, is_nan=is_nan
        )

    def model(self, name: str, *, tags: Mapping[str, str] | None = None, **more: Any) -> None:
        """One registered model."""
        times = {"creation_time": NEW_YEAR, "last_updated_time": NEW_YEAR}
        self.insert("registered_models", name=name, **{**times, **more})
        for key, value in (tags or {}).items():
            self.insert("registered_model_tags", name=name, key=key, value=value)

    def version(self, name: str, version: int, run_id: str | None = None, *, alias: str | None = None, **more: Any):
        """One version of a registered model."""
        values = {
            "creation_time": NEW_YEAR + version,
            "last_updated_time": NEW_YEAR + version,
            "current_stage": "None",
            "status": "READY",
            "source": f"/data/models/{version}",
            "user_id": "ada",
            "run_id": run_id,
        }
        self.insert("model_versions", name=name, version=version, **{**values, **more})
        if alias is not None and self.execute("SELECT 1 FROM sqlite_master WHERE name = 'registered_model_aliases'"):
            self.insert("registered_model_aliases", name=name, alias=alias, version=version)


def fill(path: Path) -> None:
    """A small store whose every answer is known: two experiments, five runs, one model."""
    with Rows(path) as rows:
        rows.execute("DELETE FROM experiments")
        rows.experiment(0, "Default")
        rows.experiment(1, "alpha")
        rows.insert("experiment_tags", experiment_id=1, key="team", value="quant")
        curve = {"loss": [0.9, 0.5, 0.25]}
        common = {"optimizer": "adam", "layers": "2"}
        rows.run(ADA, "ada", experiment_id=1, history=curve, metrics={"sharpe": 1.25}, params={**common, "lr": "0.001"})
        rows.run(
            BOB,
            "bob",
            experiment_id=1,
            start_time=NEW_YEAR + 1000,
            end_time=NEW_YEAR + 2000,
            history={"loss": [0.8, 0.125]},
            metrics={"sharpe": 1.0},
            params={**common, "lr": "0.01"},
            tags={"note": "wide"},
        )
        rows.run(
            CYD,
            "cyd",
            experiment_id=1,
            start_time=NEW_YEAR + 2000,
            metrics={"sharpe": math.nan, "loss": math.inf},
            params={**common, "lr": "1e-3"},
            tags={"mlflow.parentRunId": ADA},
        )
        rows.run(DEE, "dee", start_time=NEW_YEAR + 3000, end_time=None, status="RUNNING", metrics={"sharpe": 9.0})
        rows.run(EVE, "eve", start_time=NEW_YEAR + 4000, lifecycle_stage="deleted", metrics={"sharpe": 99.0})
        rows.model("net", description="the net", tags={"team": "quant"})
        rows.version("net", 1, BOB, current_stage="Production")
        rows.version("net", 2, ADA, alias="champion")


def artifacts_of_ada(path: Path, folder: Path) -> Path:
    """Let a store that ``fill`` has filled keep its artifacts in a folder; where those of one run are to be put."""
    execute(
        path,
        f"UPDATE experiments SET artifact_location = '{folder}'",
        f"UPDATE runs SET artifact_uri = '{folder}/' || run_uuid || '/artifacts'",
    )
    return folder / ADA / "artifacts"


def agentnn(
    *arguments: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    **more: Any,
) -> subprocess.CompletedProcess[str]:
    """Run the executable with pipes, to its end."""
    return subprocess.run(
        [str(EXECUTABLE), *arguments],
        cwd=cwd,
        env=environment(env),
        timeout=timeout,
        check=False,
        encoding="utf-8",
        errors="surrogateescape",
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **more},
    )


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of this process without anything that MLflow or a terminal would read."""
    ours = ("MLFLOW_", "_AGENTNN", "_TYPER", "COMP_")
    dropped = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TERM", "COLORTERM")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours) and key not in dropped}
    return {**kept, "PYTHONUTF8": "1", **(more or {})}


def in_process(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command line in this process, which has imported MLflow already: seconds less a command."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape")
    err = io.StringIO()
    with chdir(cwd or Path.cwd()), redirect_stdout(out), redirect_stderr(err):
        code = run_command(arguments)
    out.seek(0)
    return subprocess.CompletedProcess(arguments, code, out.read(), err.getvalue())


@dataclass(frozen=True)
class OnTerminal:
    """What a command wrote to a terminal, both its streams together."""

    text: str
    code: int


def on_terminal(
    *arguments: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    width: int = 160,
    timeout: float = 120,
) -> OnTerminal:
    """Run the executable on a pseudo-terminal of a given width, to its end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    process = subprocess.Popen(
        [str(EXECUTABLE), *arguments],
        cwd=cwd,
        env=environment({"TERM": "xterm-256color", **(env or {})}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    read = bytearray()
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([ours], [], [], 0.5)
            if not ready:
                continue
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            read += chunk
        code = process.wait(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
    return OnTerminal(read.decode("utf-8", "surrogateescape").replace("\r\n", "\n"), code)


def in_terminal(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, width: int = 160
) -> OnTerminal:
    """The same in this process, whose standard streams are the pseudo-terminal meanwhile: far cheaper."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(_read_to_the_end, ours)
        with chdir(cwd or Path.cwd()), _streams(theirs), patch.dict(os.environ, clear=True):
            os.environ.update(environment({"TERM": "xterm-256color", **(env or {})}))
            code = run_command(arguments)
        os.close(theirs)
        text = read.result()
    os.close(ours)
    return OnTerminal(text.decode("utf-8", "surrogateescape").replace("\r\n", "\n"), code)


@contextmanager
def _streams(file: int) -> Iterator[None]:
    """Make a file the standard streams of this process, below and above Python."""
    saved = [os.dup(number) for number in range(3)]
    try:
        for number in range(3):
            os.dup2(file, number)
        with (
            open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False) as out,
            open(2, "w", encoding="utf-8", errors="surrogateescape", closefd=False) as err,
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            yield
    finally:
        for number, one in enumerate(saved):
            os.dup2(one, number)
            os.close(one)


def _read_to_the_end(terminal: int) -> bytes:
    read = bytearray()
    with suppress(OSError):  # the other side is closed
        while chunk := os.read(terminal, 65536):
            read += chunk
    return bytes(read)


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file and folder under a folder, and what is in it."""
    return {
        str(path.relative_to(folder)): "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
    }


def error_and_hint(stderr: str) -> tuple[str, str]:
    """The error and the hint of a message that must hold nothing else."""
    lines = stderr.splitlines()
    assert 1 <= len(lines) <= 2, stderr
    assert lines[0].startswith("error: "), stderr
    assert len(lines) == 1 or lines[1].startswith("hint: "), stderr
    return lines[0].removeprefix("error: "), lines[1].removeprefix("hint: ") if len(lines) == 2 else ""


def execute(path: Path, *statements: str) -> None:
    """Statements on a database, committed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
