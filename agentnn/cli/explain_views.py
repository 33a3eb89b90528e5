"""An explanation as lines for a person: each question, who did what of it, and what its steps read and took."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.cli.amounts import size
from agentnn.cli.options import note
from agentnn.query.explanation import added_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agentnn.query.explanation import Explanation, Plan, Question, Step
    from agentnn.sdk.nn_models import ModelManager

_NARROWEST, _WIDEST, _USUAL = 72, 160, 120
_AMOUNT, _TIME = 34, 13
_SHOWN_DETAILS = 3
_LONGEST = 1000
_MOST_QUESTIONS = 12
"""More questions than this are taken together wherever they stand, when they are of a kind."""

_QUICK = 0.01
"""Steps with a smaller share of the time are told of together."""

_SLOW_S, _LARGE = 0.1, 0.25
"""Of an answer that took longer, a step that took such a share is named once more."""

_GUARD = re.compile(r"CASE WHEN typeof\((\S+)\) IN \([^)]*\) THEN \1 ELSE damaged\(\1\) END")
_MARKS = re.compile(r"\?(?:, ?\?)+")
_FROM = re.compile(r"[()]| FROM ")
_LONG_COLUMNS = 24


@contextmanager
def explained(manager: ModelManager) -> Iterator[None]:
    """Look on while a command asks, and say afterwards on standard error what was seen, also where it failed."""
    explanation = None
    try:
        with manager.explain() as explanation:
            yield
    finally:
        for line in lines_of(explanation) if explanation is not None else ():
            note(line)


def lines_of(explanation: Explanation) -> Iterator[str]:
    """An explanation, line by line; none where nothing was asked."""
    columns = shutil.get_terminal_size((_USUAL, 0)).columns
    width = min(max(columns, _NARROWEST), _WIDEST) - _AMOUNT - _TIME
    questions = explanation.questions
    if not questions:
        return
    about = "; ".join(filter(None, (explanation.reader, explanation.software)))
    yield f"explain: {explanation.store}" + f" ({about})" * bool(about)
    for alike in _alike(questions):
        yield from _question_lines(alike, width, explanation.seconds)
    yield from _total_lines(explanation.seconds, questions)


def shortened(statement: str) -> str:
    """A statement without what tells a person nothing: the guards of its columns, its many placeholders."""
    text = _GUARD.sub(r"\1", " ".join(statement.split()))
    text = _MARKS.sub(lambda found: f"? × {found[0].count('?')}", text)
    start = _outer_from(text)
    return f"SELECT …{text[start:]}" if start > _LONG_COLUMNS else text


def _outer_from(statement: str) -> int:
    """Where the FROM of a SELECT stands that is in no parentheses; 0 where there is none."""
    depth = 0
    for found in _FROM.finditer(statement) if statement.startswith("SELECT ") else ():
        if found[0] == " FROM " and not depth:
            return found.start()
        depth += {"(": 1, ")": -1}.get(found[0], 0)
    return 0


def _alike(questions: Sequence[Question]) -> list[list[Question]]:
    """Questions that are the same, and follow each other; of very many, as when runs are compared, all of a kind."""
    groups: list[list[Question]] = []
    for one in questions:
        if groups and groups[-1][0].what == one.what and groups[-1][0].plan == one.plan:
            groups[-1].append(one)
        else:
            groups.append([one])
    if len(groups) <= _MOST_QUESTIONS:
        return groups
    of_a_kind: dict[str, list[Question]] = {}
    for one in questions:
        of_a_kind.setdefault(one.what, []).append(one)
    return list(of_a_kind.values())


def _question_lines(alike: Sequence[Question], width: int, total: float) -> Iterator[str]:
    counts = [one.answers for one in alike if one.answers is not None]
    found = f"{sum(counts):,} found" if counts else ""
    after = _times(len(alike)) + " (steps side by side)" * any(map(_is_parallel, alike))
    yield _row(alike[0].what, found, sum(one.seconds for one in alike), width, after=after)
    yield from _plan_lines([one.plan for one in alike])
    by_text: dict[str, list[Step]] = {}
    for one in alike:
        for step in one.steps:
            by_text.setdefault(shortened(step.what), []).append(step)
    quick = [steps for steps in by_text.values() if _is_quick(steps, total)]
    for text, steps in by_text.items():
        if len(quick) < 2 or not _is_quick(steps, total):
            yield from _step_lines(text, steps, width)
    if len(quick) > 1:
        together = [step for steps in quick for step in steps]
        yield from _step_lines(f"{len(together)} quick steps", together, width, count=1)


def _plan_lines(plans: Sequence[Plan]) -> Iterator[str]:
    for title, parts in (
        ("pushed down", [plan.pushed_down for plan in plans]),
        ("filtered here", [plan.filtered_here for plan in plans]),
    ):
        different = list(dict.fromkeys(parts))
        others = f" (and {len(different) - 1} like it)" if len(different) > 1 else ""
        if any(map(any, plans)):
            yield f"  {title}: {'; '.join(different[0]) or 'nothing'}{others}"


def _is_parallel(question: Question) -> bool:
    """Whether steps were taken at the same time, so that they took longer than their question."""
    return sum(step.seconds for step in question.steps) > question.seconds


def _is_quick(steps: Sequence[Step], total: float) -> bool:
    """Whether steps are not worth a line each."""
    return sum(step.seconds for step in steps) < _QUICK * total and not any(one.details or one.problem for one in steps)


def _step_lines(text: str, steps: Sequence[Step], width: int, *, count: int | None = None) -> Iterator[str]:
    seconds = sum(step.seconds for step in steps)
    yield _row(f"    {text}", _amount(added_up(steps)), seconds, width, after=_times(count or len(steps)))
    details = list(dict.fromkeys(" · ".join(step.details) for step in steps if step.details))
    for detail in details[:_SHOWN_DETAILS]:
        yield f"      {detail}"
    if len(details) > _SHOWN_DETAILS:
        yield f"      and {len(details) - _SHOWN_DETAILS} others"
    for problem in dict.fromkeys(step.problem for step in steps if step.problem):
        yield f"      failed: {problem}"


def _total_lines(seconds: float, questions: Sequence[Question]) -> Iterator[str]:
    steps = [step for one in questions for step in one.steps]
    asking = sum(one.seconds for one in questions)
    reading = sum(min(sum(step.seconds for step in one.steps) or one.seconds, one.seconds) for one in questions)
    parts = f"{_ms(reading)} the store, {_ms(asking - reading)} here on its answers"
    yield f"total: {_ms(seconds)}: {parts}, {_ms(max(seconds - asking, 0.0))} the rest, such as printing"
    slowest = max(steps, key=lambda step: step.seconds, default=None)
    if slowest is not None and seconds >= _SLOW_S and slowest.seconds >= _LARGE * seconds:
        share = 100 * slowest.seconds / seconds
        yield f"slowest step, {share:.0f} % of it: {_cut(shortened(slowest.what), _LONGEST)}"


def _row(text: str, amount: str, seconds: float, width: int, *, after: str = "") -> str:
    text = _cut(text, width - len(after)) + after
    return f"{text:<{width}}{amount:>{_AMOUNT}}{_ms(seconds):>{_TIME}}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _times(count: int) -> str:
    return f" × {count}" if count > 1 else ""


def _amount(read: Mapping[str, int]) -> str:
    text = ", ".join(size(count) if unit == "bytes" else _counted(count, unit) for unit, count in read.items())
    return text.replace(" files read", " read") if "files looked at" in read else text


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit.removesuffix('s') if count == 1 else unit}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
