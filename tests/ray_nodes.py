"""A Ray cluster of several nodes on this machine, each of which can be killed like a machine.

``ray stop`` is never used: it ends whatever of Ray it finds on the machine. Each node is a process group, ended by id.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from real_stores import end_senders, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

_STORE_BYTES = str(80 * 1024 * 1024)
DEADLINE_S = 120.0


class RayNode:
    """One node: the processes that ``ray start --block`` starts, and where its journals are.

    Args:
        folder: Where it keeps its log and its journals.
        arguments: Of ``ray start``.
        environment: What its workers see beside the environment of the tests.
    """

    def __init__(self, folder: Path, arguments: list[str], environment: Mapping[str, str]) -> None:
        self.state = folder / "state"
        self._log = folder / "log"
        folder.mkdir()
        shared = ["--block", "--disable-usage-stats", "--node-ip-address=127.0.0.1"]
        shared.append(f"--object-store-memory={_STORE_BYTES}")
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("ray")), "start", *shared, *arguments],
                env={**os.environ, **environment, "AGENTNN_STATE_DIR": str(self.state)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                process_group=0,
            )

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it as a power cut would: all that it has started at once, workers of trials too."""
        for pid in (self._process.pid, *_descendants(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def said(self) -> str:
        """What it wrote."""
        return self._log.read_text(errors="replace")


class RayCluster:
    """A head and further nodes.

    Args:
        cpus: Of the head.

    Attributes:
        address: Of the head.
        environment: What a driver needs to be let in.
    """

    def __init__(self, cpus: int = 1) -> None:
        # A short path: those of Ray's sockets can't be longer than 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="rayt-", dir="/tmp"))
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._nodes: list[RayNode] = []
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        own = ["--head", f"--port={self.port}", f"--temp-dir={self.folder / 'ray'}", "--include-dashboard=false"]
        self.head = self._start([*own, f"--num-cpus={cpus}"], {})

    def wait_for_head(self) -> None:
        """Wait until the head answers."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            assert self.head.is_alive, self.head.said()
            assert time.monotonic() < deadline, self.head.said()
            time.sleep(0.05)

    def add_node(self, cpus: int = 1, environment: Mapping[str, str] | None = None) -> RayNode:
        """Start another node; it takes some seconds until trials run there."""
        self.wait_for_head()
        return self._start([f"--address={self.address}", f"--num-cpus={cpus}"], environment or {})

    def end(self) -> None:
        """End all nodes, and what was started on them."""
        for node in self._nodes:
            node.kill()
            end_senders(node.state)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, arguments: list[str], environment: Mapping[str, str]) -> RayNode:
        environment = {**self.environment, **environment}
        node = RayNode(self.folder / f"node-{len(self._nodes)}", arguments, environment)
        self._nodes.append(node)
        return node


def _descendants(pid: int) -> list[int]:
    """The processes that one has started, and those that they have."""
    said = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, said.splitlines())}
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]
