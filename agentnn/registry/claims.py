"""One at a time, with nothing but tags that can be written, read and deleted.

MLflow's client can't compare and swap, so that who moves an alias first writes a claim, a tag of the registered model
with a name of its own, and then reads all claims for the alias:

* *Alone*: it holds the alias until it takes its claim away. Two can't both be alone: each wrote before it read, so
  the later of the two reads sees the other's claim, unless that one has finished and deleted it. A move that was
  finished is in the ledger, which is read together with the claims; so the holder looks whether the ledger and the
  alias are still as it saw them when it made up its mind, and gives up otherwise.
* *Not alone, and its own name is the smallest*: it waits until the others are gone. A holder among them finishes, the
  rest withdraw. Then it reads once more, since a store of files is not read in one instant.
* *Not alone, and another's name is smaller*: it takes its claim away, and waits for the outcome. It gives up as soon as
  somebody has won; if nobody has when all the others are gone, it begins again.

So of those that overlap one wins: the names are in one order, and only the smallest ever waits with a claim.

A claim whose owner has died is swept by whoever waits: at once when it was a process that can be seen, and otherwise
when it was seen unchanged for :data:`LEASE_S`, by the waiter's own clock, since two machines' clocks need not agree.
Who waits with a claim changes it every :data:`BEAT_S`, and nobody begins to hold with an older one. A holder that was
stopped, as a laptop is that falls asleep, must not go on: before each step it looks whether :data:`HOLD_S` have passed
since its claim was written, and gives up if so. Between that look and the store there is one request of ten seconds at
most. That a process sleeps in just that moment, and for most of a minute, is what this protocol can't exclude; the last
look at the alias, after the move, is there to report it.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from uuid import uuid4

from agentnn.errors import AgentNNError, ConflictError, command
from agentnn.records import iso_time
from agentnn.tracking.journal.process_identity import ProcessIdentity, this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agentnn.records import RegisteredModel
    from agentnn.registry.channels import Channel

LEASE_S = 60.0
"""How long a claim of another machine is respected without a sign of its owner."""

HOLD_S = 20.0
"""How long a holder may go on after its claim was written."""

BEAT_S = 5.0
"""How often who waits with a claim changes it, and how old a claim may be with which one begins to hold."""

_POLL_S = 0.1
_PREFIX = "agentnn.claim."


class Tags(Protocol):
    """What claims need of a registry."""

    def read(self, name: str) -> RegisteredModel:
        """The tags and aliases of a model."""

    def set_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a model."""

    def delete_tag(self, name: str, key: str) -> None:
        """Take a tag off a model, if it has it."""


class Claim(NamedTuple):
    """Who wants to move an alias, and where to.

    Attributes:
        key: The tag.
        value: The tag's value.
        who: ``user@host``; empty when the value can't be read.
        to_version: Where the alias is to be moved.
        process: The process of the owner, if it says so.
        kernel: Where the number of that process means something.
    """

    key: str
    value: str
    who: str = ""
    to_version: int | None = None
    process: ProcessIdentity | None = None
    kernel: str = ""

    @property
    def is_dead(self) -> bool:
        """Whether its owner was a process that can be seen from here, and has ended.

        Machines and containers may share a name, so that the name alone proves nothing.
        """
        if self.process is None or self.kernel != _kernel():
            return False
        return self.process.is_here and not self.process.is_alive

    def __str__(self) -> str:
        target = "take away" if self.to_version is None else f"give version {self.to_version}"
        return f"{self.who or 'somebody'} is about to {target}"


class Held:
    """The right to move an alias, for as long as :meth:`check` agrees."""

    def __init__(self, uuid: str, what: str, written: float) -> None:
        self.uuid = uuid
        self._what = what
        self._until = written + HOLD_S

    def check(self) -> None:
        """Look whether there is time for another step.

        Raises:
            ConflictError: This process was stopped for so long that somebody else may have gone on.
        """
        if time.monotonic() > self._until:
            raise ConflictError(
                f"moving {self._what} took more than {HOLD_S:.0f} s, and somebody else may have begun to",
                hint="look at what there is now, then try again: agentnn model history",
            )


@contextmanager
def claimed(
    tags: Tags,
    name: str,
    channel: Channel,
    *,
    who: str,
    to_version: int | None,
    winner: Callable[[RegisteredModel], str | None],
) -> Iterator[Held]:
    """Hold an alias of a model inside; nobody else who asks so moves it meanwhile.

    Args:
        tags: The registry.
        name: The model.
        channel: The alias or the stage.
        who: Who asks, for the others to read.
        to_version: Where it is to be moved, likewise.
        winner: Says of a state who has moved the alias since the asker made up its mind, in words; ``None`` when
            nobody has.

    Raises:
        ConflictError: Somebody else was faster; the message says who.
    """
    contest = _Contest(tags, name, channel, winner)
    try:
        while not contest.claim(who, to_version):
            contest.wait_for_outcome()
        yield Held(contest.uuid, f"{channel} of {name}", contest.written)
    finally:
        with suppress(AgentNNError):  # what has happened is not undone by a store that is down now
            contest.withdraw()


def claims_of(tags: Mapping[str, str], channel: Channel) -> list[Claim]:
    """The claims for an alias, the smallest name first."""
    prefix = _prefix(channel)
    found = ((key, value) for key, value in tags.items() if key.startswith(prefix))
    return sorted(_claim(key, value) for key, value in found if "." not in key.removeprefix(prefix))


class _Contest:
    """One process's part in the contest for an alias.

    Attributes:
        uuid: The name of its claim; a new one for each attempt.
        written: When the claim was written last, by this process's clock.
    """

    def __init__(
        self, tags: Tags, name: str, channel: Channel, winner: Callable[[RegisteredModel], str | None]
    ) -> None:
        self.uuid = ""
        self.written = 0.0
        self._tags = tags
        self._name = name
        self._channel = channel
        self._winner = winner
        self._seen: dict[tuple[str, str], float] = {}
        self._until = time.monotonic() + 3 * LEASE_S

    def claim(self, who: str, to_version: int | None) -> bool:
        """Claim the alias; whether it is held now. If not, somebody else's claim goes first.

        Raises:
            ConflictError: Somebody else has won already.
        """
        self.uuid = uuid4().hex
        self._write(who, to_version)
        confirmed = False
        while True:
            claims = self._read()
            others = [one for one in claims if one.key != self._key]
            if any(one.key < self._key for one in others):
                self.withdraw()
                return False
            is_recent = time.monotonic() - self.written < BEAT_S
            if not others and len(claims) == 1 and is_recent:
                if confirmed:
                    return True
                confirmed = True
                continue
            confirmed = False
            if not is_recent or len(claims) == len(others):  # the latter: somebody took it for a dead one's
                self._write(who, to_version)
            else:
                time.sleep(_POLL_S)

    def wait_for_outcome(self) -> None:
        """Wait, without a claim, until the others are gone.

        Raises:
            ConflictError: One of them has won.
        """
        while self._read():
            time.sleep(_POLL_S)

    def withdraw(self) -> None:
        """Take the claim away."""
        if self.uuid:
            self._tags.delete_tag(self._name, self._key)
            self.uuid = ""

    @property
    def _key(self) -> str:
        return f"{_prefix(self._channel)}{self.uuid}"

    def _write(self, who: str, to_version: int | None) -> None:
        self._tags.set_tag(self._name, self._key, _claim_value(who, to_version))
        self.written = time.monotonic()

    def _read(self) -> list[Claim]:
        """The claims of those who may still act; others are swept.

        Raises:
            ConflictError: Somebody else has won, or does not come to an end.
        """
        state = self._tags.read(self._name)
        now = time.monotonic()
        alive = []
        for one in claims_of(state.tags, self._channel):
            is_own = one.key == self._key
            if not is_own and (one.is_dead or now - self._seen.setdefault((one.key, one.value), now) > LEASE_S):
                self._tags.delete_tag(self._name, one.key)
            else:
                alive.append(one)
        won = self._winner(state)
        if won is None and now > self._until and alive:
            won = f"{alive[0]} {self._channel} of {self._name}, and does not come to an end"
        if won is not None:
            raise ConflictError(f"{won}; nothing was moved", hint=command("model", "history", self._name))
        return alive


def _prefix(channel: Channel) -> str:
    return f"{_PREFIX}{channel.key}."


def _claim_value(who: str, to_version: int | None) -> str:
    process = this_process().to_json()
    when = iso_time(round(time.time() * 1000))
    claim = {"who": who, "when": when, "to": to_version, "process": process, "kernel": _kernel()}
    return json.dumps({**claim, "beat": uuid4().hex[:8]})


@cache
def _kernel() -> str:
    """This start of this machine, and the container in which its processes are numbered; empty where it has none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - it is a name, not a path
    except OSError:
        return ""


def _claim(key: str, value: str) -> Claim:
    """A claim; one that can't be read, as half a file can't, is somebody's all the same."""
    try:
        found = json.loads(value)
        to_version = found.get("to")
        return Claim(
            key,
            value,
            str(found.get("who") or ""),
            None if to_version is None else int(to_version),
            ProcessIdentity.from_json(str(found.get("process"))),
            str(found.get("kernel") or ""),
        )
    except (ValueError, TypeError, AttributeError):
        return Claim(key, value)
