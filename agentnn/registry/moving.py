"""Moving an alias or a stage as a transaction: claim it, write the intent, move, write that it is done, look again.

Whoever is killed at any point leaves the alias where it was or where it was to go, and a ledger that tells which:

=====================  ==============================  ================================================
killed                 the alias                       the ledger
=====================  ==============================  ================================================
before the intent      where it was                    as it was; a claim is left, and swept by the next
after the intent       where it was                    an intent that the alias does not confirm
after the move         where it was to go              an intent that the alias confirms
after ``done``         where it was to go              the entry; a claim is left, and swept by the next
=====================  ==============================  ================================================
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol
from uuid import uuid4

from agentnn.errors import ConflictError, command
from agentnn.records import iso_time
from agentnn.registry.claims import Tags, claimed
from agentnn.registry.ledger import Entry, Ledger, entry_key, entry_value, read_ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.records import RegisteredModel
    from agentnn.registry.channels import Channel
    from agentnn.registry.claims import Held
    from agentnn.registry.ledger import Action


class Writer(Tags, Protocol):
    """What a move needs of a registry."""

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let an alias point to a version."""

    def delete_alias(self, name: str, alias: str) -> None:
        """Take an alias away, if there is one."""

    def set_stage(self, name: str, version: int, stage: str) -> None:
        """Put a version into a stage."""


class Evidence(NamedTuple):
    """What a version was judged by.

    Attributes:
        metric, mode: The metric, and whether the greatest or the smallest value is best.
        candidate, baseline: The values; ``baseline`` is ``None`` where there is nothing to be better than.
    """

    metric: str
    mode: str
    candidate: float
    baseline: float | None = None


class Move(NamedTuple):
    """What is to be done.

    Attributes:
        name: The model.
        channel: The alias or the stage.
        action: What it is called in the ledger.
        to_version: Where to; ``None`` takes the alias away.
        seen: The ledger and its alias as they were when this was decided.
        reason: Why.
        evidence: What the version was judged by, if by anything.
        run_id: The run behind the version.
    """

    name: str
    channel: Channel
    action: Action
    to_version: int | None
    seen: Ledger
    reason: str = ""
    evidence: Evidence | None = None
    run_id: str | None = None


def read_channel(state: RegisteredModel, channel: Channel, stage_holders: Callable[[str], list[int]]) -> Ledger:
    """The ledger of a channel as a registry holds it.

    Args:
        state: The model's tags and aliases.
        channel: The alias or the stage.
        stage_holders: Gives the versions that are in a stage.
    """
    if channel.stage is not None:
        return read_ledger(state.tags, channel, stage_holders(channel.stage))
    holder = state.aliases.get(channel.name)
    return read_ledger(state.tags, channel, [] if holder is None else [holder])


def carry_out(move: Move, writer: Writer, stage_holders: Callable[[str], list[int]]) -> Entry:
    """Make a move, or nothing of it.

    Args:
        move: What to do.
        writer: The registry.
        stage_holders: Gives the versions of the model that are in a stage.

    Returns:
        The entry that was written.

    Raises:
        ConflictError: Somebody else has moved the alias since ``move.seen``, or does so now; the message says who.
        StoreUnavailable: The store failed in the middle; the ledger tells what was done.
    """

    def ledger_of(state: RegisteredModel) -> Ledger:
        return read_channel(state, move.channel, stage_holders)

    def winner(state: RegisteredModel) -> str | None:
        return _who_moved(move, ledger_of(state))

    who = this_user()
    with claimed(writer, move.name, move.channel, who=who, to_version=move.to_version, winner=winner) as held:
        ledger = ledger_of(writer.read(move.name))
        seq = _settle(move, ledger, writer)
        if ledger.moved_outside:
            seq += 1
            _write(move, _noticed(move, ledger, seq), writer)
        entry = _entry(move, ledger, seq + 1, who, held.uuid)
        held.check()
        _write(move, replace(entry, state="intended"), writer)
        _apply(move, writer, held)
        _write(move, entry, writer)
        _confirm(move, entry, ledger_of(writer.read(move.name)))
    return entry


def this_user() -> str:
    """Who runs this, as the ledger names them: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _who_moved(move: Move, now: Ledger) -> str | None:
    """Who has moved the alias since this move was decided, in words; ``None`` when it is still as it was."""
    seen = move.seen.made[-1].seq if move.seen.made else 0
    newer = [one for one in now.made if one.seq > seen and one.action != "outside"]
    if newer:
        return _in_words(newer[-1], move)
    if now.holders != move.seen.holders:
        where = f"version {now.current}" if now.current is not None else "nowhere"
        return f"{move.channel} of {move.name} was moved to {where} outside agentnn in the meantime"
    return None


def _in_words(entry: Entry, move: Move) -> str:
    where = f"moved {move.channel} of {move.name} to version {entry.to_version}"
    if entry.to_version is None:
        where = f"took {move.channel} of {move.name} away"
    return f"{entry.who or 'somebody'} {where} at {iso_time(entry.when)}"


def _settle(move: Move, ledger: Ledger, writer: Writer) -> int:
    """Write down how the moves of those who were killed have ended; the greatest number that is taken."""
    for one in ledger.entries:
        if one.state == "intended":
            _write(move, replace(one, state=ledger.state_of(one)), writer)
    return ledger.last_seq


def _noticed(move: Move, ledger: Ledger, seq: int) -> Entry:
    """The entry for a move by somebody else."""
    return Entry(
        move.channel.name,
        seq,
        "outside",
        from_version=ledger.expected,
        to_version=ledger.current,
        when=_now(),
        uuid=uuid4().hex,
    )


def _entry(move: Move, ledger: Ledger, seq: int, who: str, uuid: str) -> Entry:
    judged = move.evidence
    return Entry(
        channel=move.channel.name,
        seq=seq,
        action=move.action,
        from_version=ledger.current,
        to_version=move.to_version,
        who=who,
        when=_now(),
        reason=move.reason,
        metric=judged.metric if judged else None,
        mode=judged.mode if judged else None,
        candidate=judged.candidate if judged else None,
        baseline=judged.baseline if judged else None,
        run_id=move.run_id,
        uuid=uuid,
    )


def _write(move: Move, entry: Entry, writer: Writer) -> None:
    writer.set_tag(move.name, entry_key(move.channel, entry.seq), entry_value(entry))


def _apply(move: Move, writer: Writer, held: Held) -> None:
    held.check()
    if move.channel.stage is not None and move.to_version is not None:
        writer.set_stage(move.name, move.to_version, move.channel.stage)
    elif move.to_version is not None:
        writer.set_alias(move.name, move.channel.name, move.to_version)
    else:
        writer.delete_alias(move.name, move.channel.name)


def _confirm(move: Move, entry: Entry, now: Ledger) -> None:
    """Look whether the alias and the entry are as they were written.

    Raises:
        ConflictError: Somebody who does not ask agentnn has moved the alias in just this moment.
    """
    written = any(one.uuid == entry.uuid and one.state == "done" for one in now.entries)
    arrived = move.to_version in now.holders if move.to_version is not None else not now.holders
    if not (written and arrived):
        where = f"at version {now.current}" if now.current is not None else "nowhere"
        raise ConflictError(
            f"{move.channel} of {move.name} was moved, and somebody else moved it at the same time: it is {where} now",
            hint=command("model", "history", move.name),
        )


def _now() -> int:
    return round(time.time() * 1000)
