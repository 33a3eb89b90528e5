"""What has happened to the aliases and stages of a model, as far as its ledger and its aliases tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from agentnn.records import finite_or_none, iso_time
from agentnn.registry.channels import Channel
from agentnn.registry.claims import claims_of
from agentnn.registry.ledger import Entry, all_entries
from agentnn.registry.moving import read_channel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentnn.records import RegisteredModel
    from agentnn.registry.ledger import Ledger

Outcome = Literal["done", "in progress", "interrupted"]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One move in the history of a model.

    Attributes:
        model: The model.
        entry: What is known of it. A move by somebody else that no later move has written down yet has the number 0
            and no time.
        outcome: Whether the move was made, is being made, or was never made since its process was killed.
    """

    model: str
    entry: Entry
    outcome: Outcome = "done"

    @property
    def channel(self) -> Channel:
        """The alias or the stage."""
        return Channel(self.entry.channel)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        one = self.entry
        return {
            "model": self.model,
            "seq": one.seq or None,
            "when": iso_time(one.when),
            "alias": self.channel.alias,
            "stage": self.channel.stage,
            "action": one.action,
            "from": one.from_version,
            "to": one.to_version,
            "outcome": self.outcome,
            "who": one.who or None,
            "reason": one.reason or None,
            "metric": one.metric,
            "mode": one.mode,
            "values": {"candidate": finite_or_none(one.candidate), "baseline": finite_or_none(one.baseline)},
            "run_id": one.run_id,
            "uuid": one.uuid or None,
        }


def read_history(
    name: str, state: RegisteredModel, stage_holders: Callable[[str], list[int]], only: Channel | None = None
) -> list[HistoryEntry]:
    """The history of a model, the newest first.

    Args:
        name: The model.
        state: Its tags and aliases.
        stage_holders: Gives the versions that are in a stage.
        only: One alias or stage.
    """
    names = {one.channel for one in all_entries(state.tags)} | set(state.aliases)
    channels = [Channel(one) for one in sorted(names)] if only is None else [only]
    dated: list[tuple[float, int, HistoryEntry]] = []
    for channel in channels:
        ledger = read_channel(state, channel, stage_holders)
        latest = 0.0  # the clocks of two machines may differ; the numbers don't
        for entry in ledger.entries:
            latest = max(latest, entry.when or 0)
            dated.append((latest, entry.seq, HistoryEntry(name, entry, _outcome(entry, ledger, state.tags))))
        if ledger.moved_outside:
            dated.append((float("inf"), 0, HistoryEntry(name, unwritten(channel, ledger))))
    return [one for _, _, one in sorted(dated, key=lambda each: each[:2], reverse=True)]


def unwritten(channel: Channel, ledger: Ledger) -> Entry:
    """The move by somebody else that the alias tells of, and the ledger does not yet."""
    return Entry(channel.name, 0, "outside", from_version=ledger.expected, to_version=ledger.current)


def _outcome(entry: Entry, ledger: Ledger, tags: Mapping[str, str]) -> Outcome:
    if ledger.state_of(entry) == "done":
        return "done"
    if entry.state == "intended" and entry.seq == ledger.last_seq:
        claims = claims_of(tags, Channel(entry.channel))
        if any(one.key.endswith(entry.uuid) and not one.is_dead for one in claims if entry.uuid):
            return "in progress"
    return "interrupted"
