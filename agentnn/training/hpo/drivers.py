"""The processes that drive a study, as its storage knows them: who lives, and which of them keeps the study's run.

A driver writes who it is into the study and, every minute, that it lives. One of this machine is judged by its process,
which is there or not; one of another machine by its last word.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentnn.tracking.journal.process_identity import ProcessIdentity, this_process
from agentnn.tracking.journal.state import new_uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from optuna.storages import BaseStorage

_log = logging.getLogger("agentnn")

OWNER_KEY = "agentnn:owner"
_DRIVER_KEY = "agentnn:driver:"

BEAT_S, _SHORT_BEAT_S = 60.0, 0.5
STALE_MS = 180_000
"""A driver that lives says so every minute."""

_at_work: set[str] = set()
"""The drivers of this process; it may drive several studies, one after the other or in threads."""

_CLAIM_S = 0.2
"""How long a claim stands before its author believes in it: another claim of the same moment is seen by then."""


class Drivers:
    """The drivers of a study, this process among them.

    Args:
        storage: The study's.
        study_id: The study, as the storage numbers it.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage = storage
        self._study_id = study_id
        self._process = this_process()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.own_id = new_uuid()

    def join(self, on_beat: Callable[[], bool]) -> None:
        """Become one of them, and say so every minute until :meth:`leave`.

        Args:
            on_beat: Called in the thread that says it; twice a second until it is true, then every minute.
        """
        _at_work.add(self.own_id)
        self._say(left=False)
        self._thread = threading.Thread(target=self._beat, args=[on_beat], name="agentnn-study", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Be one of them no longer."""
        _at_work.discard(self.own_id)
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            self._say(left=True)

    def lives(self, driver: str | None) -> bool:
        """Whether a driver is at work, as far as can be known."""
        return driver is not None and self._is_at_work(driver, self._attributes().get(_DRIVER_KEY + driver))

    def others(self) -> list[ProcessIdentity]:
        """The processes of the other drivers that are at work."""
        said = {key.removeprefix(_DRIVER_KEY): one for key, one in self._attributes().items() if _DRIVER_KEY in key}
        living = [one for key, one in said.items() if key != self.own_id and self._is_at_work(key, one)]
        identities = [ProcessIdentity.from_json(str(one["process"])) for one in living]
        return [one for one in identities if one is not None]

    def owner(self) -> str | None:
        """The driver that keeps the study's run, if it lives."""
        owner = self._attributes().get(OWNER_KEY)
        return owner if owner and (owner == self.own_id or self.lives(owner)) else None

    def become_owner(self, *, first: bool) -> bool:
        """Keep the study's run from now on, unless another driver does.

        Args:
            first: This driver has made the study, so that nobody else can have claimed it.

        Returns:
            Whether this driver keeps it.
        """
        if not first and self.owner() is not None:
            return self.owner() == self.own_id
        self._storage.set_study_user_attr(self._study_id, OWNER_KEY, self.own_id)
        if not first:
            time.sleep(_CLAIM_S)
        return self._attributes().get(OWNER_KEY) == self.own_id

    def name_of(self, driver: str | None) -> str:
        """A driver in words."""
        said = self._attributes().get(_DRIVER_KEY + (driver or "")) or {}
        process = ProcessIdentity.from_json(str(said.get("process")))
        return f"process {process.pid} on {process.host}" if process else "its process"

    def _is_at_work(self, driver: str, said: Any) -> bool:
        if not isinstance(said, dict) or said.get("left"):
            return False
        process = ProcessIdentity.from_json(str(said.get("process")))
        if process == self._process:
            return driver in _at_work
        if process is not None and process.is_here:
            return process.is_alive
        with suppress(TypeError, ValueError, KeyError):
            return _now() - int(said["time"]) < STALE_MS
        return False

    def _attributes(self) -> Mapping[str, Any]:
        return self._storage.get_study_user_attrs(self._study_id)

    def _say(self, *, left: bool) -> None:
        said = {"process": self._process.to_json(), "time": _now(), "left": left}
        self._storage.set_study_user_attr(self._study_id, _DRIVER_KEY + self.own_id, said)

    def _beat(self, on_beat: Callable[[], bool]) -> None:
        pause, said = _SHORT_BEAT_S, time.monotonic()
        while not self._stop.wait(pause):
            try:
                if time.monotonic() - said >= BEAT_S:
                    self._say(left=False)
                    said = time.monotonic()
                pause = BEAT_S if on_beat() else _SHORT_BEAT_S
            except Exception as error:  # noqa: BLE001 - the study itself sees what is wrong with the storage
                _log.debug("the study's storage took no sign of life: %s", error)


def _now() -> int:
    return time.time_ns() // 1_000_000
