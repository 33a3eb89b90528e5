"""The optional Weights & Biases mirror of a run: whatever becomes of it, the run goes on and its files are whole.

wandb (https://docs.wandb.ai) works through a process of its own, which may hang or die. It is therefore called in a
thread that nobody waits for longer than stated here; what goes wrong is said once, and never raised.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from agentnn.settings import redact
from agentnn.tracking.bounded_calls import BoundedCalls
from agentnn.tracking.wandb_links import dashboard_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from types import ModuleType

LOG_TIMEOUT_S = 0.05
"""How long a logging call waits for wandb; what it has not taken by then, it takes while the training goes on."""

HANGING_S = 20.0
"""How long wandb may take nothing at all; then it is given up."""

HURRY_TIMEOUT_S = 2.0
"""How long its end is waited for after an interruption, or once it has been given up."""

STEP = "step"
"""wandb's own steps can only grow, and it drops what comes late: a run's step is a metric of this name, the x axis."""

_log = logging.getLogger("agentnn")
_told: set[str] = set()


class WandbMirror:
    """A run of wandb that is given all that a run of ours is given; threads may share it.

    Args:
        run: The run, as ``wandb.init`` gave it.
        wandb: wandb itself.
        calls: The thread that calls it.
        finish_timeout: How many seconds it may take to send what it has when the run ends; ``None`` for no limit.

    Attributes:
        run: The run, as ``wandb.init`` gave it.
        run_id: wandb's id of it.
    """

    def __init__(self, run: Any, wandb: ModuleType, calls: BoundedCalls, finish_timeout: float | None) -> None:
        self.run = run
        self.run_id = str(run.id)
        self._wandb = wandb
        self._calls = calls
        self._finish_timeout = finish_timeout
        self._owner = os.getpid()
        self._active = True
        self._has_steps = False
        self._late_since: float | None = None

    @property
    def is_active(self) -> bool:
        """Whether wandb takes anything; a forked process leaves its parent's connection alone."""
        return self._active and self._owner == os.getpid()

    def describe(self) -> dict[str, str]:
        """Ids, mode and address; the address of a run that is offline is the one that it will have once synced."""
        settings = getattr(self.run, "settings", None)
        entity, project = _text(self.run, "entity"), _text(self.run, "project")
        mode = _text(settings, "mode")
        url = "" if mode == "offline" else _text(self.run, "url")  # which offline prints a warning
        if not url and _text(settings, "base_url") != self._wandb.Settings.model_fields["base_url"].default:
            url = _text(settings, "run_url")  # a server of one's own
        known = {
            "run_id": self.run_id,
            "project": project,
            "entity": entity,
            "mode": mode,
            "url": url or dashboard_url(entity, project, self.run_id),
        }
        return {key: value for key, value in known.items() if value}

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics, as one step of wandb's own."""
        if not self.is_active:
            return
        if step is None:
            row = dict(metrics)
        else:
            row = {STEP: step, **metrics}
            if not self._has_steps:
                self._has_steps = True
                self._send(lambda: self.run.define_metric("*", step_metric=STEP))
        self._send(lambda: self.run.log(row))

    def finish(self, exit_code: int = 0, *, in_a_hurry: bool = False) -> None:
        """End wandb's run, once wandb has sent what it has; a second call does nothing.

        Args:
            exit_code: A run with another one than 0 is shown as failed.
            in_a_hurry: Leave what can't be sent at once to ``wandb sync``.
        """
        if not self.is_active:
            return
        limit = self._finish_timeout
        if in_a_hurry or self._late_since is not None:
            limit = HURRY_TIMEOUT_S
        elif limit is not None:
            limit += HURRY_TIMEOUT_S  # wandb itself keeps to it, if it can
        try:
            self._calls.call(lambda: self.run.finish(exit_code=exit_code), limit)
        except Exception as error:  # noqa: BLE001 - the boundary: a mirror is optional, whatever another library raises
            is_late = isinstance(error, TimeoutError) and limit is not None
            self._lose(f"it did not end within {limit:g} s" if is_late else one_line(error), HURRY_TIMEOUT_S)
        self._active = False
        self._calls.stop()

    def _send(self, function: Callable[[], object]) -> None:
        future = self._calls.start(function)
        future.add_done_callback(self._look_at)
        if self._late_since is None:
            try:
                future.exception(LOG_TIMEOUT_S)
            except TimeoutError:
                self._late_since = time.monotonic()
        elif time.monotonic() - self._late_since > HANGING_S:
            self._lose(f"it took nothing for {HANGING_S:g} s", LOG_TIMEOUT_S)

    def _look_at(self, done: Future[object]) -> None:
        """After each call, in wandb's thread: did it work?"""
        self._late_since = None
        error = done.exception()
        if isinstance(error, TypeError | ValueError) or type(error).__module__.startswith("wandb.errors"):
            tell(f"wandb refused what the run {self.run_id} logged: {one_line(error)}")
        elif error is not None:
            self._lose(one_line(error), 0.0)

    def _lose(self, why: str, timeout: float) -> None:
        """Go on without wandb, and see to it that neither its end nor that of the process hangs."""
        if not self._active:
            return
        self._active = False
        tell(f"wandb has failed the run {self.run_id}: {why}; what it has not sent can be sent with wandb sync")
        let_go(self._wandb, timeout)


def let_go(wandb: ModuleType, timeout: float) -> None:
    """End wandb in this process, which otherwise hangs or prints a traceback when the process ends.

    Args:
        wandb: wandb itself.
        timeout: Seconds that it is waited for; wandb's own process is killed then. 0 leaves it be.
    """
    core = _core()
    calls = BoundedCalls("agentnn-wandb-end")
    ending = calls.start(lambda: wandb.teardown(exit_code=1))
    calls.stop()
    try:
        ending.exception(timeout)
    except TimeoutError:
        if core is not None and timeout:
            core.kill()  # it would stay, and with it whoever reads the output that it has inherited


def _core() -> subprocess.Popen[bytes] | None:
    """wandb's own process, where wandb keeps it; nothing public names it."""
    place: Any = sys.modules.get("wandb.sdk.wandb_setup")
    for name in ("_singleton", "_connection", "_proc", "_process"):
        place = getattr(place, name, None)
    return place if isinstance(place, subprocess.Popen) else None


def tell(message: str) -> None:
    """Say once a process what has become of wandb."""
    if message not in _told:
        _told.add(message)
        _log.warning("%s; the run goes on and its files are whole", redact(message))


def one_line(error: BaseException | None) -> str:
    """An error as a few words."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(":.")


def _text(thing: object, name: str) -> str:
    value = getattr(thing, name, None)
    return value if isinstance(value, str) else ""
