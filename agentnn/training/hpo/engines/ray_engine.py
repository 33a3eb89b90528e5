"""Trials on the nodes of a Ray cluster, which may come, go and die while the study runs.

Nodes need the same versions of Python, Ray and agentnn, and a tracking store that can be reached from them: a server,
or a database with an address. Their runs are journals there, which a sender of the node delivers; see
:mod:`agentnn.training.hpo.engines.ray_tasks`.
"""

from __future__ import annotations

import logging
import os
import pickle
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentnn.errors import StoreUnavailable, UsageError
from agentnn.extras import require
from agentnn.settings import redact
from agentnn.tracking.run_context import RUN_VARIABLE
from agentnn.training.hpo.engines.ray_bridge import ANSWER, BROKEN, CLOSE, END, LOST, REFUSED, REPORT, ROOM, TASK, WAITS
from agentnn.training.hpo.engines.ray_cluster import ClusterOptions
from agentnn.training.hpo.engines.ray_tasks import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentnn.training.hpo.engines.engine import OnReport, TrialEnd, TrialTask, Work

_log = logging.getLogger("agentnn")

_START_S = 180.0
"""How long Ray may take to start on this machine, or to connect."""

_LEAVE_S = 20.0
_INTERRUPTED_S = 4.0
_NOT_FOR_NODES = (RUN_VARIABLE, "MLFLOW_RUN_ID")
_RAY_ADDRESS = "RAY_ADDRESS"
_GONE = "gone"


class RayEngine:
    """Runs trials as Ray tasks, each of which needs a processor.

    Args:
        work: Runs a trial.
        on_report: Answers its reports.
        address: Of the cluster's head, ``HOST:PORT``, or ``auto`` for one that runs on this machine, which has to be a
            node of it; ``RAY_ADDRESS`` of the environment without it, and otherwise a cluster of this machine alone is
            started, and ended with the engine.
        workers: How many trials run at once, at most; as many as there is room for without it.
        cpus: Processors that a trial needs.
        gpus: GPUs that a trial needs; without any it sees none.
        tracking_uri: The store that the trials write to: one of this machine's own is refused where the cluster has
            other machines.
        head_timeout_s: How long the cluster's head may be away before the study ends.

    Raises:
        MissingDependencyError: Ray is not installed.
        StoreUnavailable: No cluster answers at the address.
        UsageError: The work can't be sent to a node, the address is none, or the cluster is of another version.
    """

    def __init__(
        self,
        work: Work,
        on_report: OnReport,
        *,
        address: str | None = None,
        workers: int | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
        tracking_uri: str = "",
        head_timeout_s: float = 30.0,
    ) -> None:
        require("ray", extra="ray")
        self._on_report = on_report
        self._address = address or os.environ.get(_RAY_ADDRESS) or None
        self._store = tracking_uri
        self._capacity = 0
        self._warned: set[str] = set()
        self._failure: StoreUnavailable | UsageError | None = None
        # Not where TMPDIR says: the paths of Ray's sockets can't be longer than 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="agentnn-ray-", dir="/tmp"))
        self._bridge: _BridgeProcess | None = None
        try:
            options = ClusterOptions(self._address, workers, cpus, gpus, str(self._folder), head_timeout_s)
            self._bridge = _BridgeProcess(options, _packed(work), _environment(options), self._folder / "bridge.log")
            self._wait_for_room()
        except BaseException:
            self.close(interrupted=True)
            raise

    @property
    def capacity(self) -> int:
        """How many trials the nodes have room for now."""
        return self._capacity

    def submit(self, task: TrialTask) -> None:
        """Send a trial to a node."""
        if self._bridge is not None:
            self._bridge.send(TASK, task)

    def wait(self, timeout_s: float) -> list[TrialEnd]:
        """Wait for the end of a trial, and answer reports.

        Raises:
            StoreUnavailable: The cluster is lost, and no trial had ended before.
            UsageError: A node can't load the work, or can't reach the store.
        """
        deadline = time.monotonic() + timeout_s
        ended: list[TrialEnd] = []
        while self._bridge is not None:
            if self._failure is not None and not ended:
                raise self._failure
            said = self._bridge.hear(0.0 if ended else deadline - time.monotonic())
            if said is None or self._failure is not None:
                break
            ended += self._act(*said)
        return ended

    def close(self, *, interrupted: bool = False) -> None:
        """Cancel what still runs, leave the cluster, and end it where it was started here."""
        bridge, self._bridge = self._bridge, None
        try:
            if bridge is not None:
                bridge.send(CLOSE, interrupted)
                bridge.end(_INTERRUPTED_S if interrupted else _LEAVE_S)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_for_room(self) -> None:
        """Wait until the bridge has reached the cluster.

        Raises:
            StoreUnavailable, UsageError: It has not.
        """
        assert self._bridge is not None
        deadline = time.monotonic() + _START_S
        while not self._capacity:
            said = self._bridge.hear(deadline - time.monotonic())
            if said is None:
                self._failure = StoreUnavailable(
                    f"Ray has not started within {_START_S:.0f} s", hint="look at the load of this machine"
                )
            else:
                self._act(*said)
            if self._failure is not None:
                raise self._failure

    def _act(self, kind: str, *said: Any) -> list[TrialEnd]:
        """Take note of what the bridge says; the trials that have ended."""
        assert self._bridge is not None
        if kind == END:
            return [said[0]]
        if kind == REPORT:
            ticket, *report = said
            self._bridge.send(ANSWER, (ticket, self._on_report(*report)))
        elif kind == ROOM:
            self._capacity = said[0]
            self._look_at(said[1])
        elif kind == WAITS:
            self._warn_of(said[0])
        else:
            self._failure = said[0] if kind == REFUSED else self._failed(kind, *said)
        return []

    def _failed(self, kind: str, *said: Any) -> StoreUnavailable | UsageError:
        if kind == BROKEN:
            [where] = said
            return UsageError(
                f"the objective can't be loaded on {where.host}: {where.reason}",
                hint="each node needs agentnn and the objective's modules: install them there",
            )
        last = "" if kind == LOST or self._bridge is None else self._bridge.last_words()
        which = f"the Ray cluster at {self._address}" if self._address else "the Ray cluster of this machine"
        return StoreUnavailable(
            f"{which} is lost{f': {last}' if last else ''}", hint="the study is kept: --resume goes on with it"
        )

    def _look_at(self, hosts: tuple[str, ...]) -> None:
        """Refuse nodes that would write their runs somewhere else."""
        others = machines_without(self._store, hosts)
        if others:
            self._failure = UsageError(
                f"the store {redact(self._store)} can't be reached from {', '.join(others)}",
                hint="nodes on other machines need a tracking server: --tracking-uri http://HOST:5000",
            )

    def _warn_of(self, host: str) -> None:
        if host not in self._warned:
            self._warned.add(host)
            _log.warning("records of trials wait on %s; to deliver them: agentnn run sync, there", host)


class _BridgeProcess:
    """The process that speaks with the cluster."""

    def __init__(self, options: ClusterOptions, luggage: bytes, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        ours, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as file, log.open("wb") as out:
            pickle.dump((options, luggage), file)
            file.seek(0)
            self._process = subprocess.Popen(
                # -P: a file called ray.py in the working directory is not Ray.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "agentnn.training.hpo.engines.ray_bridge",
                    str(theirs.fileno()),
                    str(file.fileno()),
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(theirs.fileno(), file.fileno()),
                process_group=0,
            )
        self._connection = Connection(ours.detach())

    def send(self, *said: Any) -> None:
        """Tell it something."""
        with suppress(OSError):  # that it is gone is heard
            self._connection.send(said)

    def hear(self, timeout_s: float) -> tuple[Any, ...] | None:
        """What it says next; ``None`` when it says nothing for so long."""
        try:
            if not self._connection.poll(max(0.0, timeout_s)):
                return None
            said: tuple[Any, ...] = self._connection.recv()
        except (EOFError, OSError):
            return (_GONE,)
        return said

    def last_words(self) -> str:
        """The last line that it, or Ray in it, has written."""
        with suppress(OSError, IndexError):
            return self._log.read_text(errors="replace").strip().splitlines()[-1][:300]
        return ""

    def end(self, timeout_s: float) -> None:
        """Wait for its end, and end it and what it has started if that takes too long."""
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        finally:  # also when the user does not want to wait
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._connection.close()


def _packed(work: Work) -> bytes:
    try:
        return pack(work)
    except Exception as error:
        raise UsageError(
            f"the objective can't be sent to other machines: {type(error).__name__}: {error}",
            hint="an objective holds no open file, lock or connection",
        ) from error


def _environment(options: ClusterOptions) -> dict[str, str]:
    """What the bridge sees. A cluster that is started here lets in nobody but this study.

    Ray's ports are open to the network, and its own default is one token for all clusters, left in ``~/.ray``.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_NODES}
    environment = {"RAY_USAGE_STATS_ENABLED": "0", **inherited}
    if options.address is None and "RAY_AUTH_MODE" not in inherited:
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return environment


def machines_without(store: str, hosts: Iterable[str]) -> list[str]:
    """The machines that can't reach a store: all others, where it is a file or listens to this one alone."""
    return [host for host in hosts if host != socket.gethostname()] if _is_of_this_machine(store) else []


def _is_of_this_machine(uri: str) -> bool:
    scheme, is_uri, rest = uri.partition("://")
    if not is_uri or scheme.startswith(("sqlite", "file")):
        return bool(uri)
    host = urlsplit(f"//{rest}").hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
