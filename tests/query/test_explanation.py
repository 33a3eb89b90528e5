"""What an explanation makes of what it is told: whose time is whose, what was read, and no secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from agentnn.query import explanation as module
from agentnn.query.explanation import Explanation, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.query.explanation import Step

URI = "http://ada:hunter2@example.org"


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "perf_counter", clock)
    return clock


def no_plan(_: Sequence[Step]) -> Plan:
    return Plan()


def test_time_is_that_of_the_question_and_of_the_step_in_which_it_passes(clock: Clock) -> None:
    explanation = Explanation(URI)
    first, second = explanation.ask("first", no_plan), explanation.ask("second", no_plan)
    with explanation.answering(first):
        clock.pass_by(1)
        with explanation.step("read"):
            clock.pass_by(2)
    clock.pass_by(4)  # what is done with the first answer
    with explanation.answering(second), explanation.step("read more"):
        clock.pass_by(8)
    with explanation.answering(first), explanation.step("read again"):
        clock.pass_by(16)
    explanation.end()
    clock.pass_by(32)
    assert [one.seconds for one in explanation.questions] == [19, 8]
    assert [step.seconds for step in explanation.questions[0].steps] == [2, 16]
    assert [step.what for step in explanation.steps] == ["read", "read again", "read more"]
    assert explanation.seconds == 31


def test_what_was_read_is_added_up_by_what_it_is() -> None:
    explanation = Explanation(URI)
    with explanation.answering(explanation.ask("question", no_plan)):
        for rows, files in ((3, 1), (4, 0)):
            with explanation.step("read") as taking:
                taking.read["rows"] = rows
                taking.read["files"] = files
    assert explanation.read == explanation.questions[0].read == {"rows": 7, "files": 1}


def test_a_step_that_fails_says_why_and_the_error_goes_on() -> None:
    explanation = Explanation(URI, ["hunter2"])
    with (
        pytest.raises(ValueError, match="hunter2"),
        explanation.answering(explanation.ask("question", no_plan)),
        explanation.step("read"),
    ):
        raise ValueError("hunter2 is refused")
    assert [step.problem for step in explanation.steps] == ["ValueError: *** is refused"]


def test_nothing_is_added_when_it_has_ended(clock: Clock) -> None:
    explanation = Explanation(URI)
    asking = explanation.ask("question", no_plan)
    explanation.end()
    explanation.end()
    with explanation.answering(asking), explanation.step("read"):
        clock.pass_by(1)
    with explanation.answering(explanation.ask("another", no_plan)):
        clock.pass_by(1)
    assert (explanation.steps, explanation.seconds) == ((), 0)
    assert [one.what for one in explanation.questions] == ["question"]
    assert explanation.questions[0].seconds == 0


def test_no_secret_is_in_it() -> None:
    def planned(_: Sequence[Step]) -> Plan:
        return Plan(("tags.key = 't0ken'",), ("tags.url = 'http://ada:hunter2@x'",))

    explanation = Explanation(URI, ["t0ken"])
    with explanation.answering(explanation.ask("find t0ken", planned)), explanation.step("GET t0ken", "filter: t0ken"):
        pass
    said = json.dumps(explanation.to_dict())
    assert "t0ken" not in said
    assert "hunter2" not in said


def test_its_json_form() -> None:
    explanation = Explanation("sqlite:///mlflow.db")
    explanation.reader = "SQLite tables, read directly"
    asking = explanation.ask("search the runs", lambda _: Plan(("a",), ("b",)))
    with explanation.answering(asking), explanation.step("SELECT 1", "plan: SCAN r") as taking:
        taking.read["rows"] = 1
    asking.answers = 1
    explanation.end()
    said = explanation.to_dict()
    assert said.pop("duration_s") >= said["questions"][0].pop("duration_s")
    assert said["questions"][0]["steps"][0].pop("duration_s") >= 0
    assert said == {
        "store": "sqlite:///mlflow.db",
        "reader": "SQLite tables, read directly",
        "software": "",
        "read": {"rows": 1},
        "pushed_down": ["a"],
        "filtered_here": ["b"],
        "questions": [
            {
                "what": "search the runs",
                "answers": 1,
                "read": {"rows": 1},
                "pushed_down": ["a"],
                "filtered_here": ["b"],
                "steps": [
                    {"what": "SELECT 1", "read": {"rows": 1}, "details": ["plan: SCAN r"], "problem": None},
                ],
            }
        ],
    }
