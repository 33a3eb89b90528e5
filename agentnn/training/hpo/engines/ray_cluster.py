"""A Ray cluster as a study needs it: reached or started, how much room it has, and whether its head is there."""

from __future__ import annotations

import logging
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import StoreUnavailable, UsageError
from agentnn.extras import require
from agentnn.training.hpo.engines.engine import TrialEnd, TrialOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_S = 1.0
_CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Which cluster, and how much of it.

    Attributes:
        address: Of the head; a cluster of this machine alone is started without one.
        workers: How many trials run at once, at most; as many as there is room for without it.
        cpus, gpus: What a trial needs.
        folder: Where a cluster that is started here keeps its files.
        head_timeout_s: How long the head may be away.
    """

    address: str | None
    workers: int | None
    cpus: float
    gpus: float
    folder: str
    head_timeout_s: float


def connect(options: ClusterOptions) -> str:
    """Reach the cluster, or start one.

    Returns:
        The address of its head, ``HOST:PORT``.

    Raises:
        StoreUnavailable: There is none at the address.
        UsageError: The address is none, or Ray or Python there are of another version.
    """
    ray = require("ray", extra="ray")
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if options.address is None:
        cpus = None if options.workers is None else max(1, round(options.workers * options.cpus))
        ray.init("local", num_cpus=cpus, include_dashboard=False, _temp_dir=options.folder, **quiet)
    else:
        _refuse_silence(options.address)
        try:
            ray.init(options.address, **quiet)
        except ConnectionError as error:
            raise _wants_token(options.address, error) or _unreachable(options.address, error) from error
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"the Ray cluster at {options.address} can't be used: {_line(error)}") from error
    return str(ray.get_runtime_context().gcs_address)


def _refuse_silence(address: str) -> None:
    """Look whether anybody is there, since Ray itself takes half a minute to find out.

    Raises:
        StoreUnavailable: Nobody is.
        UsageError: The address is none.
    """
    if "://" in address:
        raise UsageError(
            f"{address} is no address of a Ray cluster's head",
            hint="HOST:PORT, on a machine that is a node of it: Ray's client can't follow the nodes",
        )
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():  # "auto", which Ray resolves
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        f"no Ray cluster answers at {address}: {_line(error)}",
        hint="start one there: ray start --head; or leave the address out for one of this machine alone",
    )


def _wants_token(address: str, error: ConnectionError) -> StoreUnavailable | None:
    if "AuthToken" not in f"{error.__cause__}":
        return None
    return StoreUnavailable(
        f"the Ray cluster at {address} wants another token, or none was given",
        hint="export RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH where the token is not in ~/.ray/auth_token",
    )


class ClusterWatch:
    """Looks every second at how much room there is, and whether the head is there.

    Args:
        head: Its address.
        options: What the study asks for.
        on_change: Told how many trials can run at once, and the names of the machines.
        on_loss: Called once the head has been away too long.
    """

    def __init__(
        self,
        head: str,
        options: ClusterOptions,
        on_change: Callable[[int, tuple[str, ...]], None],
        on_loss: Callable[[], None],
    ) -> None:
        host, _, port = head.rpartition(":")
        self._head = (host.strip("[]"), int(port))
        self._options = options
        self._on_change = on_change
        self._on_loss = on_loss
        self._known: tuple[int, tuple[str, ...]] | None = None

    def run(self) -> None:
        """Look until the head is lost."""
        seen = time.monotonic()
        while time.monotonic() - seen < self._options.head_timeout_s:
            if self._is_head_there():
                seen = time.monotonic()
                self.look()
            time.sleep(_LOOK_S)
        self._on_loss()

    def look(self) -> None:
        """Tell what has changed."""
        now = self._room()
        if now != self._known:
            self._known = now
            self._on_change(*now)

    def _is_head_there(self) -> bool:
        with suppress(OSError):
            socket.create_connection(self._head, min(_CONNECT_S, self._options.head_timeout_s)).close()
            return True
        return False

    def _room(self) -> tuple[int, tuple[str, ...]]:
        """How many trials fit, at least one: where there are no nodes now, a trial that waits may call for some."""
        ray = require("ray", extra="ray")
        alive = [node for node in ray.nodes() if node["Alive"]]
        room = sum(self._places(node.get("Resources", {})) for node in alive)
        most = self._options.workers
        hosts = tuple(sorted({str(node["NodeManagerHostname"]) for node in alive}))
        return max(1, room if most is None else min(room, most)), hosts

    def _places(self, resources: dict[str, Any]) -> int:
        needs = {"CPU": self._options.cpus, "GPU": self._options.gpus}
        return min(int(resources.get(kind, 0) / need) for kind, need in needs.items() if need)


def end_without_result(number: int, error: BaseException) -> TrialEnd:
    """The end of a trial whose task gave an error: mostly that whoever ran it died."""
    from ray import exceptions as known

    if isinstance(error, known.RayTaskError):  # the work raises nothing itself; what it returned can't be sent
        return TrialEnd(number, TrialOutcome("failed", reason=_line(error.cause or error)))
    if isinstance(error, known.NodeDiedError):
        address = re.search(r"Node IP: ([^\s,]+)", str(error))
        where = f" ({address[1]})" if address else ""
        return TrialEnd(number, None, f"its node{where} died")
    if isinstance(error, known.OutOfMemoryError):
        return TrialEnd(number, None, "its worker process was ended by Ray for want of memory")
    if isinstance(error, known.WorkerCrashedError):
        return TrialEnd(number, None, "its worker process died")
    return TrialEnd(number, None, f"Ray gave it up: {_line(error)}")


def _line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0][:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
