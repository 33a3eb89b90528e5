"""The ledger: what is written fits MLflow's limits, what is read tells how every move has ended."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn.errors import UsageError
from agentnn.records import RegisteredModel
from agentnn.registry.channels import Channel, alias_channel, chosen_channel, stage_channel
from agentnn.registry.history import read_history
from agentnn.registry.ledger import Entry, check_reason, entry_key, entry_value, read_ledger

if TYPE_CHECKING:
    from agentnn.registry.ledger import Ledger

CHAMPION = Channel("champion")


def tags_of(*entries: Entry) -> dict[str, str]:
    return {entry_key(Channel(one.channel), one.seq): entry_value(one) for one in entries}


def moves(*steps: tuple[str, int | None]) -> list[Entry]:
    """Entries one after the other, each from where the one before went."""
    found: list[Entry] = []
    for seq, (action, to) in enumerate(steps, 1):
        before = found[-1].to_version if found else None
        found.append(Entry("champion", seq, action, from_version=before, to_version=to, when=seq * 1000))  # type: ignore[arg-type]
    return found


def ledger(entries: list[Entry], *holders: int) -> Ledger:
    return read_ledger(tags_of(*entries), CHAMPION, holders)


def test_an_entry_is_read_as_it_was_written():
    entry = Entry(
        "champion", 12, "promote", "intended", 1, 2, "ada@host", 1_767_225_600_123, "why\n\0💥", "sharpe", "max",
        1.5, None, "r" * 32, "u" * 32,
    )  # fmt: skip
    assert list(tags_of(entry)) == ["agentnn.promotion.champion.000012"]
    assert ledger([entry], 1).entries == (entry,)
    found = json.loads(entry_value(entry))
    assert (found["from"], found["to"], found["values"]) == (1, 2, {"candidate": 1.5, "baseline": None})
    assert found["when"] == "2026-01-01T00:00:00.123Z"


# Left to itself, Hypothesis does not come to thousands of characters.
@given(st.builds(lambda text, times: (text * times)[:10_000], st.text(max_size=20), st.sampled_from([1, 500, 10_000])))
def test_every_entry_fits_into_a_tag_and_a_reason_that_does_not_is_cut_with_a_mark(reason: str):
    entry = Entry("c" * 255, 999_999, "promote", reason=check_reason(reason), who="w" * 100, uuid="u" * 32)
    value = entry_value(entry)
    assert len(value) <= 5000
    assert value.isascii()
    kept = json.loads(value)["reason"]
    if kept != reason:
        assert kept.endswith("… (cut)")
        assert reason.startswith(kept.removesuffix("… (cut)"))
        assert len(value) > 5000 - len(json.dumps("💥"))  # not one character more fits


def test_a_reason_of_one_page_is_kept_whole_and_a_document_is_refused():
    assert json.loads(entry_value(Entry("champion", 1, "promote", reason="x" * 4000)))["reason"] == "x" * 4000
    fits = 5000 - len(entry_value(Entry("champion", 1, "promote", reason="x"))) + 1
    for length, kept in ((fits, fits), (fits + 1, fits - len("\\u2026 (cut)"))):
        value = entry_value(Entry("champion", 1, "promote", reason="x" * length))
        assert (len(value), json.loads(value)["reason"].count("x")) == (5000, kept)
    with pytest.raises(UsageError, match="10001 characters"):
        check_reason("x" * 10_001)


@pytest.mark.parametrize("alias", ["champion", "a", "meister-ä_1", "x" * 255, "stage"])
def test_the_keys_of_every_alias_fit_and_belong_to_no_other(alias: str):
    channel = alias_channel(alias)
    key = entry_key(channel, 999_999)
    assert len(key) <= 250
    entry = Entry(alias, 999_999, "promote", to_version=3)
    tags = {
        **tags_of(entry),
        **tags_of(Entry("stage.Production", 1, "promote"), Entry(f"{alias[:200]}x", 1, "promote")),
    }
    assert read_ledger(tags, channel, [3]).entries == (entry,)


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V22", "", "a.b", "a b", "a/b", "x" * 256, "@champion"])
def test_an_alias_that_mlflow_does_not_take_is_refused(alias: str):
    with pytest.raises(UsageError):
        alias_channel(alias)


def test_one_of_alias_and_stage_is_needed():
    assert chosen_channel(None, "production") == stage_channel("Production") == Channel("stage.Production")
    for pair in ((None, None), ("champion", "Production")):
        with pytest.raises(UsageError):
            chosen_channel(*pair)
    with pytest.raises(UsageError, match="Prod"):
        stage_channel("Prod")


def test_rolling_back_takes_promotions_off_a_stack():
    steps: list[tuple[str, int | None]] = [("promote", 1), ("promote", 2), ("promote", 3)]
    assert ledger(moves(*steps), 3).before() == 2
    assert ledger(moves(*steps, ("rollback", 2)), 2).before() == 1
    assert ledger(moves(*steps, ("rollback", 2), ("rollback", 1)), 1).before() is None
    again = [*steps, ("rollback", 2), ("promote", 5), ("promote", 2)]
    assert ledger(moves(*again), 2).before() == 5
    assert ledger(moves(*again, ("rollback", 5)), 5).before() == 2
    assert ledger(moves(*again, ("rollback", 5), ("rollback", 2)), 2).before() == 1


def test_an_alias_that_was_taken_away_is_rolled_back_to_the_version_that_held_it():
    assert ledger(moves(("promote", 1), ("promote", 2), ("delete", None))).before() == 2


def test_what_was_there_before_the_first_promotion_can_be_rolled_back_to():
    assert ledger(moves(("outside", 7), ("promote", 8)), 8).before() == 7


@given(st.lists(st.sampled_from(["promote", "rollback"]), max_size=30), st.randoms())
def test_the_ledger_agrees_with_a_stack_that_is_kept_beside_it(actions: list[str], random):
    stack: list[int] = []
    steps: list[tuple[str, int | None]] = []
    for action in actions:
        if action == "promote":
            version = random.choice([one for one in range(1, 5) if not stack or one != stack[-1]])
            stack.append(version)
            steps.append(("promote", version))
        elif len(stack) > 1:
            stack.pop()
            steps.append(("rollback", stack[-1]))
    found = ledger(moves(*steps), *stack[-1:])
    assert found.before() == (stack[-2] if len(stack) > 1 else None)
    assert (found.current, found.moved_outside) == (stack[-1] if stack else None, False)


@pytest.mark.parametrize(
    ("holder", "state", "expected", "outside"),
    [(1, "abandoned", 1, False), (2, "done", 2, False), (9, "abandoned", 1, True)],
)
def test_the_alias_tells_how_an_intended_move_has_ended(holder: int, state: str, expected: int, outside: bool):
    entries = moves(("promote", 1), ("promote", 2))
    entries[1] = replace(entries[1], state="intended")
    found = ledger(entries, holder)
    assert (found.state_of(entries[1]), found.expected, found.moved_outside) == (state, expected, outside)
    outcomes = {one.entry.seq: one.outcome for one in read_history("m", model(entries, holder), lambda _: [])}
    assert outcomes[2] == ("done" if state == "done" else "interrupted")


def test_what_others_have_written_there_is_no_move_and_its_number_stays_taken():
    tags = {
        **tags_of(*moves(("promote", 1))),
        "agentnn.promotion.champion.000002": "{half a fi",
        "agentnn.promotion.champion.000003": '["a list"]',
        "agentnn.promotion.champion.000004": '{"channel": "champion", "action": "promote", "state": "done", "to": "x"}',
        "agentnn.promotion.champion": "no number",
    }
    found = read_ledger(tags, CHAMPION, [1])
    assert (found.last_seq, found.expected, len(found.entries)) == (4, 1, 4)


def model(entries: list[Entry], holder: int | None = None) -> RegisteredModel:
    return RegisteredModel("m", tags=tags_of(*entries), aliases={} if holder is None else {"champion": holder})


def test_history_is_newest_first_and_shows_what_nobody_has_written_down():
    stages = [Entry("stage.Production", 1, "promote", to_version=1, when=1500, who="bob@b")]
    state = model([*moves(("promote", 1), ("promote", 2)), *stages], 5)
    found = read_history("m", state, lambda _: [1])
    assert [(one.channel.name, one.entry.action, one.entry.to_version) for one in found] == [
        ("champion", "outside", 5), ("champion", "promote", 2), ("stage.Production", "promote", 1),
        ("champion", "promote", 1),
    ]  # fmt: skip
    top = found[0].to_dict()
    assert (top["from"], top["to"], top["when"], top["seq"], top["alias"]) == (2, 5, None, None, "champion")
    assert found[2].to_dict()["stage"] == "Production"
    assert [one.channel.name for one in read_history("m", state, lambda _: [1], Channel("stage.Production"))] == [
        "stage.Production"
    ]


@pytest.mark.parametrize(
    ("uuid", "claimed", "outcome"),
    [("u" * 32, "u" * 32, "in progress"), ("u" * 32, "v" * 32, "interrupted"), ("", "v" * 32, "interrupted")],
)
def test_a_move_that_has_not_happened_is_in_progress_while_it_is_its_own_claim_that_lives(
    uuid: str, claimed: str, outcome: str
):
    entry = Entry("champion", 1, "promote", "intended", 1, 2, uuid=uuid)
    tags = {**tags_of(entry), f"agentnn.claim.champion.{claimed}": "{}"}
    found = read_history("m", RegisteredModel("m", tags=tags, aliases={"champion": 1}), lambda _: [])
    assert [one.outcome for one in found if one.entry.action == "promote"] == [outcome]


def test_the_order_is_that_of_the_numbers_where_clocks_differ():
    entries = moves(("promote", 1), ("promote", 2), ("promote", 3))
    entries[1] = replace(entries[1], when=99_000)
    assert [one.entry.seq for one in read_history("m", model(entries, 3), lambda _: [])] == [3, 2, 1]


def test_an_alias_without_any_entry_was_set_by_somebody_else():
    (only,) = read_history("m", model([], 4), lambda _: [])
    assert (only.entry.action, only.entry.from_version, only.entry.to_version) == ("outside", None, 4)
