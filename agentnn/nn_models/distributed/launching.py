"""Starting torchrun from a program that is not one of the processes itself, and leaving nothing of it behind.

torchrun is a process of its own. Its rendezvous, its restarts and its handlers of signals then stay out of the program
that owns the run: whatever becomes of torchrun or of torch's threads, that program is there to say so. A program that
is killed takes no one along, so that the workers look themselves whether it still lives
(:mod:`~agentnn.nn_models.distributed.orphans`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from agentnn.errors import TrainingError, UsageError
from agentnn.nn_models.distributed.orphans import LAUNCHER
from agentnn.tracking.journal.process_identity import this_process
from agentnn.tracking.run_context import RUN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

_LOOK_EVERY_S = 0.05
_STOP_S = 3
_GRACE_S = 3.0
_LONGEST_SAID = 300
_FAILED = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+)")
_ERROR = re.compile(r"^(?:\[rank\d+\]: ?)?([A-Za-z_][\w.]*(?:Error|Exception): .+)$", re.MULTILINE)


def launch(
    command: Sequence[str],
    *,
    processes: int,
    max_restarts: int = 0,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[], None] | None = None,
) -> None:
    """Run a script in several processes of this machine, under torchrun, and wait for its end.

    The processes share the processors: each gets its part of the threads, unless ``OMP_NUM_THREADS`` says otherwise.
    What they write is only shown where they fail. On Ctrl-C, an exit by a signal, or an error in ``watch`` they are
    ended, at the latest after some seconds.

    Args:
        command: A script and its arguments; or ``-m``, a module and its arguments.
        processes: How many.
        max_restarts: How often all are started again after one has failed or is gone.
        environment: More variables for them.
        watch: Called some times a second; what it raises goes through.

    Raises:
        UsageError: ``processes`` or ``max_restarts`` is no such number.
        TrainingError: A process failed once too often, or torchrun was killed.
    """
    for name, value, least in (("processes", processes, 1), ("max_restarts", max_restarts, 0)):
        if type(value) is not int or value < least:
            raise UsageError(f"{name} must be a whole number of at least {least}, not {value!r}")
    with tempfile.TemporaryFile() as said:
        torchrun = subprocess.Popen(
            _torchrun(command, processes, max_restarts),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=_environment(processes, environment),
            start_new_session=True,  # Ctrl-C is for this program, which then ends torchrun
        )
        try:
            while torchrun.poll() is None:
                if watch is not None:
                    watch()
                time.sleep(_LOOK_EVERY_S)
        finally:
            _end(torchrun)
        if watch is not None:
            watch()
        if torchrun.returncode:
            raise _failed(torchrun.returncode, said)


def _torchrun(command: Sequence[str], processes: int, max_restarts: int) -> list[str]:
    """The rendezvous and all addresses are this machine's own, on ports that were free."""
    options = {
        "--nnodes": "1",
        "--nproc-per-node": str(processes),
        "--max-restarts": str(max_restarts),
        "--rdzv-backend": "c10d",
        "--rdzv-endpoint": "127.0.0.1:0",
        "--rdzv-id": f"agentnn-{os.getpid()}-{time.monotonic_ns()}",
        "--local-addr": "127.0.0.1",
        "--shutdown-timeout": str(_STOP_S),
    }
    given = [f"{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "torch.distributed.run", *given, *command]


def _environment(processes: int, more: Mapping[str, str] | None) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != RUN_VARIABLE}
    threads = max(1, len(os.sched_getaffinity(0)) // processes) if hasattr(os, "sched_getaffinity") else 1
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    return {**environment, LAUNCHER: this_process().to_json(), **(more or {})}


def _end(torchrun: subprocess.Popen[bytes]) -> None:
    """End torchrun, which ends its workers; a second interruption does not keep them alive."""
    if torchrun.poll() is not None:
        return
    torchrun.terminate()
    try:
        torchrun.wait(_STOP_S + _GRACE_S)
    finally:
        if torchrun.poll() is None:
            torchrun.kill()  # the workers see it, and leave
            torchrun.wait()


def _failed(code: int, said: IO[bytes]) -> TrainingError:
    said.seek(max(0, said.seek(0, os.SEEK_END) - 2**20))
    text = said.read().decode(errors="replace")
    found = list(_FAILED.finditer(text))
    if not found:
        last = " ".join(text.split())[-_LONGEST_SAID:]
        return TrainingError(f"torchrun {_ended(code)}: {last}")
    exit_code, rank = (int(one) for one in found[-1].groups())
    of_last_attempt = text[found[-2].end() if len(found) > 1 else 0 : found[-1].start()]
    errors = _ERROR.findall(of_last_attempt)
    why = f": {errors[0][:_LONGEST_SAID]}" if errors and exit_code > 0 else ""
    return TrainingError(
        f"worker {rank} {_ended(exit_code)}{why}",
        hint="with a greater max_restarts it goes on from the last checkpoint",
    )


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
