"""What runs on the nodes of a Ray cluster: a trial, and the box where its reports wait for the driver.

A node needs agentnn of the same version, and a store that can be reached from it. A trial's run is a journal on the
node, and a sender there delivers it. Where that is not the driver's own machine, the trial's end waits for the
delivery, since Ray ends what a worker has started together with the worker.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.extras import require
from agentnn.tracking.journal.state import StoreFolder, state_directory
from agentnn.tracking.run_context import RUN_VARIABLE
from agentnn.tracking.sending.delivered import Delivered

if TYPE_CHECKING:
    from agentnn.training.hpo.engines.engine import TrialOutcome, TrialTask, Work

DELIVERY_S = 60.0
"""How long a trial's end waits for the delivery of its run while the sender makes its way."""

DOWN_S = 2.0
"""And how long while the store can't be used."""

_HANDED_ON = (
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_HTTP_REQUEST_TIMEOUT",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
    "MLFLOW_S3_ENDPOINT_URL",
    "MLFLOW_S3_IGNORE_TLS",
)
"""The variables that nodes get from the driver: how a store is to be spoken to. Which store it is, and with which
credentials, is part of the work; neither passes through Ray's own ``runtime_env``, which is written into logs."""


@dataclass(frozen=True, slots=True)
class Luggage:
    """The work on its way to the nodes, and what it needs there.

    Attributes:
        paths: Where the driver finds its modules.
        arguments: The driver's command line, which runs name as their source.
        environment: Variables that a node does not have of its own.
        home: The machine and the folder that the driver keeps its journals in.
        work: Pickled by value, so that functions of notebooks and of ``__main__`` can travel.
    """

    paths: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: dict[str, str]
    home: tuple[str, str]
    work: bytes


@dataclass(frozen=True, slots=True)
class Unloadable:
    """The work can't be loaded on a node: what an objective needs is not there."""

    reason: str
    host: str


@dataclass(frozen=True, slots=True)
class Done:
    """A trial has ended on a node.

    Attributes:
        outcome: What the work returned.
        waits_on: The machine on which records of its run wait for the store; empty where none do.
    """

    outcome: TrialOutcome
    waits_on: str = ""


def pack(work: Work) -> bytes:
    """The work for the nodes.

    Raises:
        Exception: Something in it can't be pickled.
    """
    import cloudpickle

    return pickle.dumps(
        Luggage(
            paths=tuple(sys.path),
            arguments=tuple(sys.argv),
            environment={name: os.environ[name] for name in _HANDED_ON if name in os.environ},
            home=_home(),
            work=cloudpickle.dumps(work),
        )
    )


def run_trial(luggage: list[Any], task: TrialTask, mailbox: Any) -> Done | Unloadable:
    """Run one trial, in a worker of a node.

    Args:
        luggage: One reference to what :func:`pack` gave: a list, so that it is fetched once a worker and not once a
            trial.
        task: The trial.
        mailbox: The :class:`Mailbox`.
    """
    try:
        work, is_at_home = _unpacked(luggage[0])
    except Exception as error:  # noqa: BLE001 - the boundary: whatever a user's module raises when it is imported
        return Unloadable(f"{type(error).__name__}: {error}", socket.gethostname())
    outcome = work(task, lambda step, value: _reported(mailbox, task.number, step, value))
    delivered = is_at_home or task.run_uuid is None or _is_delivered(task.run_uuid)
    return Done(outcome, "" if delivered else socket.gethostname())


class Mailbox:
    """Where reports wait until the driver has answered them: an actor beside the driver."""

    def __init__(self) -> None:
        self._said: asyncio.Queue[tuple[int, int, int, float]] = asyncio.Queue()
        self._asked: dict[int, asyncio.Future[bool]] = {}
        self._tickets = 0

    async def report(self, number: int, step: int, value: float) -> bool:
        """A trial's report; returns once the driver has said whether it is to be pruned."""
        self._tickets += 1
        ticket = self._tickets
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked[ticket] = answer
        self._said.put_nowait((ticket, number, step, value))
        return await answer

    async def take(self) -> list[tuple[int, int, int, float]]:
        """What was reported since the last time: tickets, trials, steps, values; waits until there is something."""
        found = [await self._said.get()]
        while not self._said.empty():
            found.append(self._said.get_nowait())
        return found

    async def answer(self, ticket: int, answer: bool) -> None:
        """Answer one of them."""
        asked = self._asked.pop(ticket, None)
        if asked is not None and not asked.done():
            asked.set_result(answer)


_loaded: dict[str, tuple[Work, bool]] = {}
"""The work by the reference that it came by; one, as long as a worker serves one study."""


def _unpacked(reference: Any) -> tuple[Work, bool]:
    key = reference.hex()
    if key not in _loaded:
        luggage: Luggage = pickle.loads(require("ray", extra="ray").get(reference))
        sys.path.extend(path for path in luggage.paths if path not in sys.path)
        sys.argv[:] = luggage.arguments
        os.environ.update({name: value for name, value in luggage.environment.items() if name not in os.environ})
        os.environ.pop(RUN_VARIABLE, None)
        _loaded.clear()
        _loaded[key] = pickle.loads(luggage.work), luggage.home == _home()
    return _loaded[key]


def _reported(mailbox: Any, number: int, step: int, value: float) -> bool:
    ray = require("ray", extra="ray")
    try:
        answer = ray.get(mailbox.report.remote(number, step, value))
    except ray.exceptions.RayError:  # the driver is gone
        raise SystemExit(128 + signal.SIGTERM) from None
    return bool(answer)


def _is_delivered(uuid: str) -> bool:
    folders = (StoreFolder(path).run(uuid) for path in state_directory().glob("*"))
    return all(Delivered(one).wait(DELIVERY_S, DOWN_S) for one in folders if one.path.exists())


def _home() -> tuple[str, str]:
    return socket.gethostname(), str(state_directory())
