"""Workers that are forked from one process which has imported torch already: hundreds of milliseconds cheaper each.

A script gets ``together(size, work)``, which runs ``work(rank)`` in so many processes as torchrun would, and gives what
each of them returned, its error, or the signal that ended it. What the script prints last, as JSON, is what
:func:`told_by` gives.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

DEADLINE_S = 300.0

_NURSERY = '''
import json, os, pickle, random, signal, socket, sys, time, warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
import torch._dynamo, torch.distributed.checkpoint.state_dict, torch.distributed.device_mesh, torch.distributed.fsdp

from agentnn.nn_models.training_infrastructure import DistributedOptions, DistributedTrainer, TrainingOptions

torch.set_num_threads(1)  # nothing but this process's own thread, which a child of a fork has too
FOLDER = Path(sys.argv[1])


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def begun(rank, size, port, work, environment):
    """Fork a worker; gives its pid, and where it will have written what it came to."""
    path = FOLDER / f"result-{port}-{rank}"
    pid = os.fork()
    if pid:
        return pid, path
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), **environment)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        result = ["gave", work(rank)]
    except BaseException as error:
        result = ["raised", type(error).__name__, str(error)]
    path.write_bytes(pickle.dumps(result))
    sys.stdout.flush()
    os._exit(0)


def ended(pid, deadline):
    """Wait for a worker, and don't leave it behind."""
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGALRM)
        time.sleep(0.01)


def together(size, work, **environment):
    port = free_port()
    workers = [begun(rank, size, port, work, environment) for rank in range(size)]
    found, started = [], time.monotonic()
    for pid, path in workers:
        status = ended(pid, started + 120)
        found.append(pickle.loads(path.read_bytes()) if path.exists() else ["ended", os.waitstatus_to_exitcode(status)])
    return found
'''


def told_by(script: str, *arguments: str) -> Any:
    """What a script prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", _NURSERY + script, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
