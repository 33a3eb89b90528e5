"""The protocol by which one at a time moves an alias, under thousands of interleavings of what a store is asked.

A store that answers in a chosen order can't be had, so that here it is a dict, and a scheduler says whose request is
next. Real stores and real processes are in ``tests/faults/test_promotion_races.py``.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agentnn.errors import ConflictError
from agentnn.records import RegisteredModel
from agentnn.registry import claims
from agentnn.registry.channels import Channel
from agentnn.registry.moving import Move, carry_out, read_channel

if TYPE_CHECKING:
    from collections.abc import Callable

CHAMPION = Channel("champion")


class Killed(BaseException):
    """Ends a claimant as a signal does: nothing of it runs any more."""


class Scheduler:
    """Lets one thread at a time take one step, in an order that a seed chooses; all time passes here."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self._turn = threading.Condition()
        self._waiting: dict[int, bool] = {}
        self._running = 0
        self._chosen = -1
        self._failures: list[BaseException] = []

    def start(self, works: list[Callable[[], None]]) -> None:
        """Run all to their ends; what fails in one of them fails here."""
        threads = [threading.Thread(target=self._run, args=(index, work)) for index, work in enumerate(works)]
        self._running = len(threads)
        for thread in threads:
            thread.start()
        with self._turn:
            while self._running:
                self._turn.wait_for(lambda: len(self._waiting) == self._running)
                if not self._running:
                    break
                chosen = self.random.choice(sorted(self._waiting))
                self.now += 0.01
                del self._waiting[chosen]
                self._chosen = chosen
                self._turn.notify_all()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def step(self) -> None:
        """Wait for one's turn."""
        me = int(threading.current_thread().name)
        with self._turn:
            self._waiting[me] = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._chosen == me)
            self._chosen = -1

    def _run(self, index: int, work: Callable[[], None]) -> None:
        threading.current_thread().name = str(index)
        try:
            self.step()
            work()
        except BaseException as failure:  # noqa: BLE001 - whoever started the threads raises it
            self._failures.append(failure)
        finally:
            with self._turn:
                self._running -= 1
                self._turn.notify_all()


class Registry:
    """One registered model; each request is a step, and ``die_at`` ends the asker before one of its requests."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.tags: dict[str, str] = {}
        self.aliases = {"champion": 1}
        self.moves: list[int | None] = []

    def client(self, die_at: int | None = None) -> Client:
        return Client(self, die_at)

    def ledger(self) -> Any:
        return read_channel(RegisteredModel("m", tags=self.tags, aliases=self.aliases), CHAMPION, lambda _: [])


class Client:
    def __init__(self, registry: Registry, die_at: int | None) -> None:
        self._registry = registry
        self._left = die_at
        self._dead = False

    def _step(self) -> None:
        if self._dead:
            raise Killed
        self._registry.scheduler.step()
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._dead = True
                raise Killed

    def read(self, _: str) -> RegisteredModel:
        self._step()
        return RegisteredModel("m", tags=dict(self._registry.tags), aliases=dict(self._registry.aliases))

    def set_tag(self, _: str, key: str, value: str) -> None:
        self._step()
        self._registry.tags[key] = value

    def delete_tag(self, _: str, key: str) -> None:
        self._step()
        self._registry.tags.pop(key, None)

    def set_alias(self, _: str, alias: str, version: int) -> None:
        self._step()
        self._registry.aliases[alias] = version
        self._registry.moves.append(version)

    def delete_alias(self, _: str, alias: str) -> None:
        self._step()
        self._registry.aliases.pop(alias, None)
        self._registry.moves.append(None)

    def set_stage(self, _: str, version: int, stage: str) -> None:
        raise AssertionError


@pytest.fixture
def scheduled(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Scheduler]:
    """A scheduler that is also the clock of the protocol: to sleep is to let the others go first."""

    def make(seed: int) -> Scheduler:
        scheduler = Scheduler(seed)

        class Time:
            time = staticmethod(lambda: 1_767_225_600.0)
            monotonic = staticmethod(lambda: scheduler.now)

            @staticmethod
            def sleep(_: float) -> None:
                scheduler.step()

        monkeypatch.setattr(claims, "time", Time)
        return scheduler

    return make


def promoted(
    registry: Registry, version: int, outcomes: dict[int, str], die_at: int | None = None
) -> Callable[[], None]:
    seen = registry.ledger()

    def work() -> None:
        try:
            carry_out(Move("m", CHAMPION, "promote", version, seen), registry.client(die_at), lambda _: [])
            outcomes[version] = "won"
        except ConflictError as error:
            outcomes[version] = error.message
        except Killed:
            outcomes[version] = "killed"

    return work


@pytest.mark.parametrize("count", [2, 3, 8])
def test_of_those_that_overlap_exactly_one_wins(count: int, scheduled: Callable[[int], Scheduler]):
    for seed in range(400 // count):
        registry = Registry(scheduled(seed))
        before = [("outside", "done", 1)]
        if seed % 2:
            registry.aliases, before = {}, []
        outcomes: dict[int, str] = {}
        registry.scheduler.start([promoted(registry, 2 + index, outcomes) for index in range(count)])
        winners = [version for version, outcome in outcomes.items() if outcome == "won"]
        assert len(winners) == 1, (seed, outcomes)
        assert registry.moves == winners, seed
        assert registry.aliases == {"champion": winners[0]}
        ledger = registry.ledger()
        assert [(one.action, one.state, one.to_version) for one in ledger.entries] == [
            *before,
            ("promote", "done", winners[0]),
        ]
        assert not ledger.moved_outside
        assert [key for key in registry.tags if key.startswith("agentnn.claim.")] == []
        losers = [outcome for outcome in outcomes.values() if outcome != "won"]
        assert all(f"to version {winners[0]}" in outcome for outcome in losers), (seed, losers)
        assert not any("outside" in outcome for outcome in losers), (seed, losers)


def test_whoever_dies_anywhere_the_others_still_have_one_winner_at_most_and_the_ledger_is_honest(
    scheduled: Callable[[int], Scheduler], monkeypatch: pytest.MonkeyPatch
):
    for name, seconds in (("LEASE_S", 4.0), ("HOLD_S", 1.5), ("BEAT_S", 0.3)):
        monkeypatch.setattr(claims, name, seconds)
    seen_outcomes = set()
    for seed in range(300):
        registry = Registry(scheduled(seed))
        outcomes: dict[int, str] = {}
        die_at = registry.scheduler.random.randrange(12)
        works = [
            promoted(registry, 2, outcomes, die_at),
            promoted(registry, 3, outcomes),
            promoted(registry, 4, outcomes),
        ]
        registry.scheduler.start(works)
        winners = [version for version, outcome in outcomes.items() if outcome == "won"]
        # Who dies after the move has won; then the others are told so.
        assert len(registry.moves) <= 1, (seed, outcomes)
        assert winners in ([], registry.moves), (seed, outcomes)
        ledger = registry.ledger()
        assert ledger.current == (registry.moves or [1])[0]
        if registry.moves:
            assert ledger.expected == registry.moves[0], (seed, registry.tags)
            assert not ledger.moved_outside
        seen_outcomes.add((outcomes.get(2), bool(winners)))

        # The next one goes on whatever is left, and settles it.
        after: dict[int, str] = {}
        follower = Registry(scheduled(seed))
        follower.tags, follower.aliases = registry.tags, registry.aliases
        follower.scheduler.start([promoted(follower, 9, after)])
        assert after == {9: "won"}, (seed, after)
        assert {one.state for one in follower.ledger().entries} <= {"done", "abandoned"}
        assert [key for key in follower.tags if key.startswith("agentnn.claim.")] == []
    assert ("killed", True) in seen_outcomes
    assert ("killed", False) in seen_outcomes


@pytest.mark.parametrize(
    ("change", "dead"),
    [({}, True), ({"host": "elsewhere"}, False), ({"kernel": "another start, another container"}, False)],
)
def test_only_a_process_that_can_be_seen_from_here_is_known_to_be_dead(change: dict[str, str], dead: bool):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    claim = json.loads(claims._claim_value("ada@host", 2))
    process = {**json.loads(claim["process"]), "pid": ended.pid, "host": change.get("host", socket.gethostname())}
    value = json.dumps({**claim, **change, "process": json.dumps(process)})
    (found,) = claims.claims_of({"agentnn.claim.champion.abc": value}, CHAMPION)
    assert (found.is_dead, str(found)) == (dead, "ada@host is about to give version 2")


def test_a_claim_that_can_t_be_read_is_somebody_s():
    tags = {
        "agentnn.claim.champion.abc": '{"who',
        "agentnn.claim.champion.x.abc": "{}",
        "agentnn.claim.other.abc": "{}",
    }
    assert [(one.key, one.is_dead) for one in claims.claims_of(tags, CHAMPION)] == [
        ("agentnn.claim.champion.abc", False)
    ]


def test_a_holder_that_was_stopped_for_too_long_moves_nothing(scheduled: Callable[[int], Scheduler]):
    registry = Registry(scheduled(1))
    outcomes: dict[int, str] = {}
    seen = registry.ledger()

    class Sleepy(Client):
        def set_tag(self, name: str, key: str, value: str) -> None:
            super().set_tag(name, key, value)
            if key.startswith("agentnn.promotion."):
                registry.scheduler.now += claims.HOLD_S + 1

    def work() -> None:
        with pytest.raises(ConflictError, match="took more than"):
            carry_out(Move("m", CHAMPION, "promote", 2, seen), Sleepy(registry, None), lambda _: [])
        outcomes[2] = "gave up"

    registry.scheduler.start([work])
    assert outcomes == {2: "gave up"}
    assert registry.aliases == {"champion": 1}


def test_a_move_by_somebody_who_does_not_ask_is_noticed_before_and_after(scheduled: Callable[[int], Scheduler]):
    registry = Registry(scheduled(1))
    seen = registry.ledger()
    registry.aliases["champion"] = 7

    class Meddler(Client):
        def set_alias(self, name: str, alias: str, version: int) -> None:
            super().set_alias(name, alias, version)
            registry.aliases[alias] = 6

    def work() -> None:
        with pytest.raises(ConflictError, match="moved to version 7 outside agentnn"):
            carry_out(Move("m", CHAMPION, "promote", 2, seen), registry.client(), lambda _: [])
        with pytest.raises(ConflictError, match="it is at version 6 now"):
            carry_out(Move("m", CHAMPION, "promote", 2, registry.ledger()), Meddler(registry, None), lambda _: [])

    registry.scheduler.start([work])
    assert registry.ledger().moved_outside
