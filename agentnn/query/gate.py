"""A gate: what a run must reach, and by how much it may fall behind another one. Pure functions over records."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from agentnn.errors import UsageError
from agentnn.query.selectors import nearest
from agentnn.records import finite_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentnn.query.selection import Mode
    from agentnn.records import Run

Operator = Literal[">=", "<=", "==", "!=", ">", "<"]

_REQUIREMENT = re.compile(r"\s*(?P<metric>[^<>=!].*?)\s*(?P<operator>>=|<=|==|!=|=|>|<)\s*(?P<limit>\S+)\s*")
_ROUNDING = 1e-12
"""A limit that was computed from a baseline may be this much off, relatively; one that was given is exact."""


class Requirement(NamedTuple):
    """A metric and the limit that its value must keep."""

    metric: str
    operator: Operator
    limit: float

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {self.limit!r}"

    @property
    def mode(self) -> Mode | None:
        """Which direction is the better one, as far as the operator tells."""
        return "max" if self.operator[0] == ">" else "min" if self.operator[0] == "<" else None


class Tolerance(NamedTuple):
    """By how much a metric may be worse than the baseline's: absolutely, or as a fraction of the baseline's value."""

    metric: str | None
    amount: float
    is_relative: bool

    def allowed(self, baseline: float) -> float:
        """The same as an amount of the metric."""
        return self.amount * abs(baseline) if self.is_relative else self.amount


class Check(NamedTuple):
    """One thing that was checked.

    Attributes:
        metric: The metric; ``status`` for the run's own status.
        value: The run's value; ``None`` where it has none.
        required: What it must be, as text.
        passed: Whether it is.
        baseline: The baseline's value, where there is one to compare with.
        problem: Why the check does not hold; empty when it does.
    """

    metric: str
    value: float | str | None
    required: str
    passed: bool
    baseline: float | None = None
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; a value that is not finite is ``None`` and named in ``problem``."""
        value = finite_or_none(self.value) if isinstance(self.value, float) else self.value
        return {**self._asdict(), "value": value, "baseline": finite_or_none(self.baseline)}


class GateReport(NamedTuple):
    """What a run was checked for, and whether it may pass."""

    run: Run
    baseline: Run | None
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that don't hold."""
        return tuple(check for check in self.checks if not check.passed)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "passed": self.passed,
            "run": self.run.to_dict(),
            "baseline": None if self.baseline is None else self.baseline.to_dict(),
            "checks": [check.to_dict() for check in self.checks],
        }


def parse_requirement(text: str) -> Requirement:
    """Read ``sharpe_ratio >= 1.2``; the operators are ``>= <= > < == !=``.

    Raises:
        UsageError: It is something else.
    """
    found = _REQUIREMENT.fullmatch(text)
    limit = _number(found["limit"]) if found else None
    if found is None or limit is None:
        raise UsageError(f"{text!r} is not a requirement", hint="METRIC >= NUMBER, for instance 'sharpe_ratio >= 1.2'")
    operator: Any = "==" if found["operator"] == "=" else found["operator"]
    return Requirement(found["metric"].strip("`"), operator, limit)


def parse_tolerance(text: str) -> Tolerance:
    """Read ``5%``, ``0.05``, ``sharpe_ratio=5%`` or ``sharpe_ratio=0.05``.

    Raises:
        UsageError: It is something else.
    """
    metric, _, amount = text.rpartition("=")
    is_relative = amount.strip().endswith("%")
    number = _number(amount.strip().removesuffix("%"))
    if number is None or number < 0:
        raise UsageError(f"{text!r} is not an amount", hint="5%, 0.05, or for one metric: sharpe_ratio=5%")
    return Tolerance(metric.strip() or None, number / 100 if is_relative else number, is_relative)


def check_run(
    run: Run,
    requirements: Sequence[Requirement],
    baseline: Run | None = None,
    tolerances: Sequence[Tolerance] = (),
    *,
    declared: Callable[[str], Mode | None],
    mode_of: Callable[[str], Mode],
    include_unfinished: bool = False,
) -> GateReport:
    """Check a run.

    A metric that the run lacks, or has as NaN or infinite, holds no requirement. A tolerance without a metric is for
    those of the requirements, except such as have a tolerance of their own.

    Args:
        run: The run.
        requirements: What its metrics must reach.
        baseline: The run that it must not fall behind.
        tolerances: By how much it may.
        declared: Which direction of a metric is declared to be the better one.
        mode_of: Which it is, where neither that nor the requirements tell.
        include_unfinished: Whether a run that is not FINISHED may pass.

    Raises:
        UsageError: A tolerance names no metric, and there is no requirement that does.
    """
    checks = [] if include_unfinished else [_check_status(run)]
    checks += [_check_requirement(run, one) for one in requirements]
    if baseline is not None:
        modes = {one.metric: one.mode for one in requirements}
        checks += [
            _check_regress(run, baseline, metric, tolerance, declared(metric) or modes.get(metric) or mode_of(metric))
            for metric, tolerance in _tolerance_of_each(requirements, tolerances).items()
        ]
    return GateReport(run, baseline, tuple(checks))


def _tolerance_of_each(requirements: Sequence[Requirement], tolerances: Sequence[Tolerance]) -> dict[str, Tolerance]:
    general = next((one for one in tolerances if one.metric is None), None)
    if general is not None and not requirements:
        raise UsageError(
            "it is not said which metric may not regress",
            hint="--max-regress sharpe_ratio=5%, or name it with --require",
        )
    found = {} if general is None else {one.metric: general for one in requirements}
    return found | {one.metric: one for one in tolerances if one.metric is not None}


def _check_status(run: Run) -> Check:
    passed = run.status == "FINISHED"
    return Check("status", run.status, "FINISHED", passed, problem="" if passed else "the run is not finished")


def _check_requirement(run: Run, requirement: Requirement) -> Check:
    metric, operator, limit = requirement
    value = run.metrics.get(metric)
    problem = _why_unusable(run, metric)
    if value is not None and not problem and not _holds(value, operator, limit):
        problem = f"{value!r} is not {operator} {limit!r}"
    return Check(metric, value, f"{operator} {limit!r}", not problem, problem=problem)


def _check_regress(run: Run, baseline: Run, metric: str, tolerance: Tolerance, mode: Mode) -> Check:
    value, before = run.metrics.get(metric), baseline.metrics.get(metric)
    problem = _why_unusable(run, metric)
    if not problem and _why_unusable(baseline, metric):
        problem = f"the baseline: {_why_unusable(baseline, metric)}"
    if problem or value is None or before is None:
        return Check(metric, value, _in_words(tolerance, mode), passed=False, baseline=before, problem=problem)
    allowed = tolerance.allowed(before)
    limit = before - allowed if mode == "max" else before + allowed
    operator: Operator = ">=" if mode == "max" else "<="
    if not (_holds(value, operator, limit) or math.isclose(value, limit, rel_tol=_ROUNDING)):
        worse = abs(value - before)
        share = f" ({worse / abs(before):.2%})" if before else ""
        problem = f"worse than the baseline by {worse:.6g}{share}; allowed: {_in_words(tolerance, mode)}"
    return Check(metric, value, f"{operator} {limit:.10g}", not problem, baseline=before, problem=problem)


def _in_words(tolerance: Tolerance, mode: Mode) -> str:
    amount = (
        f"{tolerance.amount:.6%}".rstrip("0%").rstrip(".") + "%" if tolerance.is_relative else f"{tolerance.amount:g}"
    )
    return f"at most {amount} {'below' if mode == 'max' else 'above'} the baseline"


def _why_unusable(run: Run, metric: str) -> str:
    value = run.metrics.get(metric)
    if value is None:
        near = nearest(metric, run.metrics)
        return "there is no such metric" + (f"; did you mean {', '.join(near)}?" if near else "")
    return "" if math.isfinite(value) else f"the value is {value}"


def _holds(value: float, operator: Operator, limit: float) -> bool:
    if operator == "==":
        return value == limit
    if operator == "!=":
        return value != limit
    if operator[0] == ">":
        return value > limit or (operator == ">=" and value == limit)
    return value < limit or (operator == "<=" and value == limit)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
