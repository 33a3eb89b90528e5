"""Starting the Weights & Biases mirror of a run, or going on without one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from agentnn.errors import MissingDependencyError
from agentnn.extras import require
from agentnn.tracking.bounded_calls import BoundedCalls
from agentnn.tracking.wandb_mirror import WandbMirror, let_go, one_line, tell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

INIT_TIMEOUT_S = 20.0
"""How long wandb may take to start a run."""

FINISH_TIMEOUT_S = 60.0
"""How long it may take to send what it has when a run ends, unless its settings say otherwise."""

OFFLINE_TIMEOUT_S = 10.0
"""How long it may take to end a run that sends nothing."""

_LEEWAY_S = 5.0
"""wandb keeps to its time limits itself, if it can."""

_QUIET = {
    "silent": True,
    "console": "off",  # else every line that the training prints goes through wandb, and hangs when it does
    "login_timeout": INIT_TIMEOUT_S,
    "init_timeout": INIT_TIMEOUT_S,
    "finish_timeout": FINISH_TIMEOUT_S,
    "finish_timeout_raises": True,
}
_mirrors: WeakSet[WandbMirror] = WeakSet()
_is_out = False


def start_mirror(
    project: str,
    entity: str | None,
    config: Mapping[str, Any],
    *,
    run_id: str | None = None,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> WandbMirror | None:
    """Start a run of wandb beside one of ours.

    wandb prints nothing, asks for no login, and leaves standard output alone, unless its environment variables
    (``WANDB_SILENT``, ``WANDB_CONSOLE``, …) or the settings among the options say otherwise.

    Args:
        project: wandb's project.
        entity: The user or team that has it; wandb's default without one.
        config: What wandb shows as the config.
        run_id: wandb's id of the run; wandb makes one without it.
        name: What wandb calls it.
        options: More arguments of ``wandb.init``.

    Returns:
        The mirror; ``None`` where wandb is switched off (``WANDB_MODE=disabled``), is not installed, refuses, or does
        not answer. All but the first is said, once a process.
    """
    global _is_out
    given = {"id": run_id, "name": name, **(options or {})}
    if _is_out or (given.get("mode") or os.environ.get("WANDB_MODE")) == "disabled":
        return None
    began = time.monotonic()
    try:
        mirror = _start({"project": project, "entity": entity, "config": dict(config), **given})
    except MissingDependencyError as missing:
        tell(f"wandb is not installed ({missing.hint}; WANDB_MODE=disabled if nothing is missing)")
        return None
    except Exception as error:  # noqa: BLE001 - the boundary: a mirror is optional, whatever another library raises
        tell(f"wandb could not start: {one_line(error)}")
        _is_out = time.monotonic() - began > INIT_TIMEOUT_S / 2  # no later run of this process waits as long again
        return None
    if mirror is not None:
        _mirrors.add(mirror)
    return mirror


def _start(arguments: dict[str, Any]) -> WandbMirror | None:
    wandb = require("wandb", extra="wandb")
    settings = _settings(wandb, arguments.pop("settings", None))
    if any(mirror.is_active for mirror in _mirrors):
        arguments.setdefault("reinit", "create_new")  # its default is to give the other one's run
    limit = settings.get("init_timeout", INIT_TIMEOUT_S) + _LEEWAY_S
    calls = BoundedCalls("agentnn-wandb")
    try:
        run = calls.call(lambda: _init(wandb, settings, arguments), limit)
    except TimeoutError:
        let_go(wandb, _LEEWAY_S)
        raise TimeoutError(f"no answer within {limit:g} s") from None
    except BaseException:
        calls.stop()
        raise
    if getattr(run, "disabled", False) is True:  # wandb disabled, in a settings file
        calls.stop()
        return None
    return WandbMirror(run, wandb, calls, _finish_timeout(run))


def _init(wandb: ModuleType, settings: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    if wandb.run is None or any(mirror.run is wandb.run for mirror in _mirrors):
        early = {key: settings[key] for key in ("silent", "login_timeout") if key in settings}
        wandb.setup(wandb.Settings(**early))  # init asks for a login before it looks at its own settings
    given = {key: value for key, value in arguments.items() if value is not None}
    return wandb.init(settings=wandb.Settings(**settings), **given)


def _finish_timeout(run: Any) -> float | None:
    """How many seconds a run may take to end: as its settings say, where 0 is without limit."""
    if getattr(run, "offline", False) is True:
        return OFFLINE_TIMEOUT_S
    said = getattr(run.settings, "finish_timeout", None)
    return FINISH_TIMEOUT_S if not isinstance(said, int | float) else said or None


def _settings(wandb: ModuleType, given: Any) -> dict[str, Any]:
    """Our own settings, as far as this wandb knows them and the environment says nothing, and the user's above them."""
    known = wandb.Settings.model_fields
    quiet = {key: value for key, value in _QUIET.items() if key in known and f"WANDB_{key.upper()}" not in os.environ}
    if isinstance(given, wandb.Settings):
        given = {key: getattr(given, key) for key in given.model_fields_set}
    return {**quiet, **(given or {})}
