"""The memory of promotions: one tag of the registered model for each entry.

``agentnn.promotion.<channel>.<000012>`` holds JSON::

    {"action", "state", "channel", "who", "when", "from", "to", "reason", "metric", "mode",
     "values": {"candidate", "baseline"}, "run_id", "uuid", "seq"}

An entry is written twice. It says ``intended`` before the alias is moved, and ``done`` after. Who is killed in between
leaves an entry that the alias itself explains: when the alias is where the entry wanted it, the move was made, and when
it is not, it was not. The next move settles the entry as ``done`` or ``abandoned``.

An alias that is elsewhere than the last move put it was moved by somebody else, with MLflow's user interface for
instance. The history says so, and the next move writes it down as an entry of its own, ``outside``.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from agentnn.errors import UsageError
from agentnn.records import finite_or_none, iso_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentnn.registry.channels import Channel

Action = Literal["promote", "rollback", "register", "delete", "outside"]
State = Literal["intended", "done", "abandoned"]

PREFIX = "agentnn.promotion."
_KEY = re.compile(rf"{re.escape(PREFIX)}(?P<channel>.+)\.(?P<seq>\d{{6,}})")
_LONGEST_VALUE = 5000
"""Characters of a tag's value that every database of MLflow's keeps."""

_LONGEST_REASON = 10_000
_CUT = "… (cut)"


@dataclass(frozen=True, slots=True)
class Entry:
    """One move of an alias or a stage.

    Attributes:
        channel: The alias, or ``stage.Production``.
        seq: Its number in the channel, from 1.
        action: What was done; ``outside`` is a move by somebody else that was noticed.
        state: How far it went; see the module.
        from_version, to_version: Where the alias was, and where it was moved; ``None`` is nowhere.
        who: Who did it, ``user@host``; empty for a move by somebody else.
        when: Milliseconds since the epoch; when it was noticed for a move by somebody else.
        reason: Why, in the words of who did it.
        metric, mode: What it was judged by, if by anything.
        candidate, baseline: The metric's values of the new and of the old version.
        run_id: The run behind the new version.
        uuid: Its own identity.
    """

    channel: str
    seq: int
    action: Action
    state: State = "done"
    from_version: int | None = None
    to_version: int | None = None
    who: str = ""
    when: int | None = None
    reason: str = ""
    metric: str | None = None
    mode: str | None = None
    candidate: float | None = None
    baseline: float | None = None
    run_id: str | None = None
    uuid: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, as the tag holds it."""
        return {
            "action": self.action,
            "state": self.state,
            "channel": self.channel,
            "who": self.who,
            "when": iso_time(self.when),
            "from": self.from_version,
            "to": self.to_version,
            "reason": self.reason,
            "metric": self.metric,
            "mode": self.mode,
            "values": {"candidate": finite_or_none(self.candidate), "baseline": finite_or_none(self.baseline)},
            "run_id": self.run_id,
            "uuid": self.uuid,
            "seq": self.seq,
        }


class Ledger(NamedTuple):
    """The entries of one channel by number, and what its alias says now.

    Attributes:
        entries: What is written, the oldest first.
        holders: The versions that hold the alias or the stage now; only a stage can have several.
    """

    entries: tuple[Entry, ...]
    holders: tuple[int, ...]

    @property
    def current(self) -> int | None:
        """The version that holds the alias; of a stage the newest, or the one that was moved there last."""
        moved = self.expected
        return moved if moved in self.holders else max(self.holders, default=None)

    @property
    def last_seq(self) -> int:
        """The greatest number that is taken."""
        return max((one.seq for one in self.entries), default=0)

    @property
    def made(self) -> list[Entry]:
        """The moves that were made, the oldest first; of an intended one the alias tells."""
        return [one for one in self.entries if self.state_of(one) == "done"]

    @property
    def expected(self) -> int | None:
        """Where the last move put the alias; ``None`` when there was none, or it was taken away."""
        made = self.made
        return made[-1].to_version if made else None

    @property
    def moved_outside(self) -> bool:
        """Whether somebody else has moved the alias since."""
        return self.expected not in self.holders if self.expected is not None else bool(self.holders)

    def state_of(self, entry: Entry) -> State:
        """How far a move went; an intended one that is the newest was made if the alias is where it wanted it."""
        if entry.state != "intended":
            return entry.state
        arrived = entry.to_version in self.holders if entry.to_version is not None else not self.holders
        return "done" if arrived and entry.seq == self.last_seq else "abandoned"

    def before(self) -> int | None:
        """The version that held the alias before the one that the ledger expects there; ``None`` when there is none.

        Rolling back takes the newest promotion off the stack, so that the next one goes on to the version before.
        """
        stack: list[int | None] = []
        for one in self.made:
            if one.action == "rollback":
                while len(stack) > 1 and stack[-1] != one.to_version:
                    stack.pop()
            if not stack and one.from_version is not None:
                stack.append(one.from_version)
            if not stack or stack[-1] != one.to_version:
                stack.append(one.to_version)
        held = [version for version in stack[:-1] if version is not None]
        return held[-1] if held else None


def read_ledger(tags: Mapping[str, str], channel: Channel, holders: Iterable[int]) -> Ledger:
    """The ledger of one channel.

    Args:
        tags: The tags of the registered model.
        channel: The alias or the stage.
        holders: The versions that hold it now.
    """
    found = [one for one in all_entries(tags) if one.channel == channel.name]
    return Ledger(tuple(sorted(found, key=lambda one: one.seq)), tuple(sorted(holders)))


def all_entries(tags: Mapping[str, str]) -> list[Entry]:
    """Every entry among the tags of a model, in no order."""
    matches = ((_KEY.fullmatch(key), value) for key, value in tags.items() if key.startswith(PREFIX))
    return [_entry(value, match["channel"], int(match["seq"])) for match, value in matches if match]


def entry_key(channel: Channel, seq: int) -> str:
    """The key of the tag that holds an entry."""
    return f"{PREFIX}{channel.key}.{seq:06}"


def entry_value(entry: Entry) -> str:
    """The tag's value, in which a reason that does not fit is cut, with a mark."""
    value = _json(entry)
    if len(value) <= _LONGEST_VALUE:
        return value
    fits, too_long = 0, len(entry.reason)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if len(_json(replace(entry, reason=entry.reason[:middle] + _CUT))) <= _LONGEST_VALUE:
            fits = middle
        else:
            too_long = middle
    return _json(replace(entry, reason=entry.reason[:fits] + _CUT))


def check_reason(reason: str) -> str:
    """A reason that can be kept.

    Raises:
        UsageError: It is a document.
    """
    if len(reason) > _LONGEST_REASON:
        raise UsageError(
            f"a reason of {len(reason)} characters is too long", hint="say it in a few lines, and link to the rest"
        )
    return reason


def _json(entry: Entry) -> str:
    return json.dumps(entry.to_dict(), separators=(",", ":"))


def _entry(value: str, channel: str, seq: int) -> Entry:
    """What a tag says; what somebody else has written there is an entry that was abandoned."""
    try:
        found = json.loads(value)
        values = found.get("values") or {}
        return Entry(
            channel=str(found["channel"]),
            seq=seq,
            action=found["action"] if found["action"] in Action.__args__ else "outside",  # type: ignore[attr-defined]
            state=found["state"] if found["state"] in State.__args__ else "abandoned",  # type: ignore[attr-defined]
            from_version=_version(found.get("from")),
            to_version=_version(found.get("to")),
            who=str(found.get("who") or ""),
            when=_milliseconds(found.get("when")),
            reason=str(found.get("reason") or ""),
            metric=_text(found.get("metric")),
            mode=_text(found.get("mode")),
            candidate=_number(values.get("candidate")),
            baseline=_number(values.get("baseline")),
            run_id=_text(found.get("run_id")),
            uuid=str(found.get("uuid") or ""),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return Entry(channel, seq, "promote", "abandoned", reason="(this entry can't be read)")


def _version(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _milliseconds(value: Any) -> int | None:
    return None if value is None else round(datetime.fromisoformat(str(value)).timestamp() * 1000)
