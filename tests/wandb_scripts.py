"""Scripts that use wandb, each in a process of its own, far from the wandb of the person who runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DEADLINE_S = 240.0

FIND_CORE = """
import os, signal, subprocess, sys, time

def wandb_core():
    listed = subprocess.run(['ps', '--ppid', str(os.getpid()), '-o', 'pid=,args='], capture_output=True, text=True)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if 'wandb-core' in line][-1]
"""
"""The beginning of a script that does something to wandb's own process."""


class Ended(NamedTuple):
    """What became of a script."""

    code: int
    stdout: str
    stderr: str
    seconds: float


class Script:
    """A script that runs.

    Args:
        code: The script.
        cwd: Its working directory, and its home.
        env: What else its environment holds.
        arguments: Of Python itself, before the script.
    """

    def __init__(self, code: str, cwd: Path, env: Mapping[str, str] | None = None, *arguments: str) -> None:
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-u", *arguments, "-c", code],
            cwd=cwd,
            env=environment(cwd, env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def wait(self) -> Ended:
        """Wait for its end."""
        try:
            stdout, stderr = self.process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return Ended(self.process.returncode, stdout, stderr, time.monotonic() - self._started)


def environment(home: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without an account at wandb, offline unless said otherwise."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    return {**inherited, "HOME": str(home), "WANDB_MODE": "offline", **(env or {})}


def records_of(folder: Path, run_id: str) -> list[Any]:
    """All records of an offline run of wandb in a folder, in wandb's own form (LevelDB's log, protobuf)."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob(f"wandb/offline-run-*/run-{run_id}.wandb")
    return [Record.FromString(data) for data in _log_records(file.read_bytes())]


def _log_records(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """https://github.com/google/leveldb/blob/main/doc/log_format.md, after a header of 7 bytes."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""
