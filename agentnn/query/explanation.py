"""What was done for an answer: what the store did, what was left to do here, what was read, and how long it took.

Nobody makes an :class:`Explanation` unless one was asked for, and the stores know nothing of it: see
:mod:`agentnn.stores.explained`.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.settings import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence


class Step(NamedTuple):
    """One thing that was done to answer a question: a statement, a request, a call, a look at files.

    Attributes:
        what: What was done.
        seconds: How long it took.
        read: How much came back, by what it is: ``rows``, ``runs``, ``files``, ``bytes``.
        details: What it was asked with, such as the filter of a request or the plan of a statement.
        problem: Why it failed; empty when it did not.
    """

    what: str
    seconds: float
    read: Mapping[str, int]
    details: tuple[str, ...] = ()
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "what": self.what,
            "duration_s": self.seconds,
            "read": dict(self.read),
            "details": list(self.details),
            "problem": self.problem or None,
        }


class Plan(NamedTuple):
    """Who did what of a question.

    Attributes:
        pushed_down: What the store did.
        filtered_here: What was left to us, since the store can't do it, or not as it is meant.
    """

    pushed_down: tuple[str, ...] = ()
    filtered_here: tuple[str, ...] = ()


class Question(NamedTuple):
    """One question that a store was asked.

    Attributes:
        what: The question.
        seconds: How long its answer took, without what was done with the answer between two parts of it.
        answers: How many runs, experiments or values came out; ``None`` where that has no number.
        steps: What was done for it, in order.
        plan: Who did what of it.
    """

    what: str
    seconds: float
    answers: int | None
    steps: tuple[Step, ...]
    plan: Plan

    @property
    def read(self) -> dict[str, int]:
        """How much was read for it, by what it is."""
        return added_up(self.steps)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "what": self.what,
            "duration_s": self.seconds,
            "answers": self.answers,
            "read": self.read,
            "pushed_down": list(self.plan.pushed_down),
            "filtered_here": list(self.plan.filtered_here),
            "steps": [step.to_dict() for step in self.steps],
        }


def added_up(steps: Sequence[Step]) -> dict[str, int]:
    """What several steps have read."""
    total: dict[str, int] = {}
    for step in steps:
        for unit, count in step.read.items():
            total[unit] = total.get(unit, 0) + count
    return total


class Taking:
    """A step that is being taken; whoever takes it says what came of it.

    Attributes:
        read: See :class:`Step`.
        details: See :class:`Step`.
    """

    __slots__ = ("details", "read")

    def __init__(self, details: Sequence[str]) -> None:
        self.read: dict[str, int] = {}
        self.details = list(details)


class Asking:
    """A question that is being answered.

    Attributes:
        what: The question.
        planned: Says who did what of it, from the steps that were taken.
        seconds: How long it has taken so far.
        answers: How many answers have come out so far.
        steps: What was done so far.
        small_steps: What was done very often, taken together by what it was.
    """

    __slots__ = ("answers", "planned", "seconds", "small_steps", "steps", "what")

    def __init__(self, what: str, planned: Callable[[Sequence[Step]], Plan]) -> None:
        self.what = what
        self.planned = planned
        self.seconds = 0.0
        self.answers: int | None = None
        self.steps: list[Step] = []
        self.small_steps: dict[str, Step] = {}

    def taken(self) -> tuple[Step, ...]:
        """All steps so far."""
        return (*self.steps, *self.small_steps.values())


class Explanation:
    """What was done for the answers that were asked for meanwhile; it grows until it is ended.

    Args:
        store: Names the store; passwords in it are not kept.
        secrets: What must not be shown.

    Attributes:
        store: The store's URI, without a password.
        reader: Who answered, such as ``SQLite tables, read directly``; empty until something was asked.
        software: What the store runs on, such as ``MLflow 3.17.2``; empty where it does not say, and until the end.
    """

    def __init__(self, store: str, secrets: Collection[str] = ()) -> None:
        self._secrets = tuple(secrets)
        self.store = self.shown(store)
        self.reader = ""
        self.software = ""
        self._asked: list[Asking] = []
        self._running: list[Asking] = []
        self._began = time.perf_counter()
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """How long all took, what was done with the answers included."""
        return time.perf_counter() - self._began if self._seconds is None else self._seconds

    @property
    def questions(self) -> tuple[Question, ...]:
        """What the store was asked, in order."""
        return tuple(
            Question(one.what, one.seconds, one.answers, one.taken(), self._plan_of(one)) for one in self._asked
        )

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was done for all of the questions."""
        return tuple(step for one in self._asked for step in one.taken())

    @property
    def pushed_down(self) -> tuple[str, ...]:
        """What the store did."""
        return tuple(dict.fromkeys(text for one in self.questions for text in one.plan.pushed_down))

    @property
    def filtered_here(self) -> tuple[str, ...]:
        """What was left to us."""
        return tuple(dict.fromkeys(text for one in self.questions for text in one.plan.filtered_here))

    @property
    def read(self) -> dict[str, int]:
        """How much was read, by what it is: ``rows``, ``runs``, ``files``, ``bytes``."""
        return added_up(self.steps)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "store": self.store,
            "reader": self.reader,
            "software": self.software,
            "duration_s": self.seconds,
            "read": self.read,
            "pushed_down": list(self.pushed_down),
            "filtered_here": list(self.filtered_here),
            "questions": [one.to_dict() for one in self.questions],
        }

    # -- by those who look on ---------------------------------------------------------------------------

    def shown(self, text: str) -> str:
        """A text without secrets."""
        return redact(text, self._secrets)

    def ask(self, what: str, planned: Callable[[Sequence[Step]], Plan]) -> Asking:
        """A new question, which :meth:`answering` takes up, once or several times."""
        asking = Asking(self.shown(what), planned)
        if self._seconds is None:
            self._asked.append(asking)
        return asking

    @contextmanager
    def answering(self, asking: Asking) -> Iterator[None]:
        """The time within is the question's, and so are the steps."""
        self._running.append(asking)
        began = time.perf_counter()
        try:
            yield
        finally:
            if self._seconds is None:
                asking.seconds += time.perf_counter() - began
            self._running.remove(asking)

    @contextmanager
    def step(self, what: str, *details: str) -> Iterator[Taking]:
        """The time within is that of a step of the question that is being answered."""
        taking, problem = Taking(details), ""
        began = time.perf_counter()
        try:
            yield taking
        except BaseException as error:
            problem = self.shown(f"{type(error).__name__}: {error}".removesuffix(": "))
            raise
        finally:
            seconds = time.perf_counter() - began
            if self._running and self._seconds is None:
                shown = tuple(map(self.shown, taking.details))
                self._running[-1].steps.append(Step(self.shown(what), seconds, taking.read, shown, problem))

    def small_step(self, what: str, seconds: float, read: Mapping[str, int]) -> None:
        """One of very many steps that are alike, such as a look at a file; they are added up by what they are."""
        if self._running and self._seconds is None:
            steps = self._running[-1].small_steps
            before = steps.get(what)
            if before is None:
                steps[what] = Step(self.shown(what), seconds, dict(read))
            else:
                total = {unit: before.read.get(unit, 0) + read.get(unit, 0) for unit in {**before.read, **read}}
                steps[what] = before._replace(seconds=before.seconds + seconds, read=total)

    def found(self, asking: Asking, count: int) -> None:
        """So many more answers have come out."""
        if self._seconds is None:
            asking.answers = (asking.answers or 0) + count

    def end(self) -> None:
        """Nothing that is done from now on is of it."""
        self._seconds = self.seconds

    def _plan_of(self, asking: Asking) -> Plan:
        plan = asking.planned(asking.taken())
        return Plan(tuple(map(self.shown, plan.pushed_down)), tuple(map(self.shown, plan.filtered_here)))
