"""Who does what of a question: each kind of store, and what is left to us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.query.explanation import Plan
from agentnn.query.expressions import And, Comparison, Expression, Not, Or
from agentnn.query.runs import RunQuery
from agentnn.query.spelling import conjuncts, spelled, spelled_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from agentnn.query.explanation import Step
    from agentnn.query.selection import BestQuery

OWN_FUNCTION = " (by a function of ours that SQLite calls, row by row)"
RESOLVED = " (its different texts are read and judged here; the database is asked for those that fit)"
CHECKED = " (and checked here again)"
"""A server may let others through, such as NaN."""

FINISHED = "status = 'FINISHED'"
NOT_NESTED = "no nested runs"
_FEW = 5


def of_sqlite(query: RunQuery | BestQuery, _: Sequence[Step]) -> Plan:
    """SQLite does everything: what it can't do by itself, functions of ours do within it."""
    scope = _scope_of(query)
    conditions = [spelled(one) + OWN_FUNCTION * _has(one, _takes_a_function) for one in conjuncts(scope.filter)]
    by_number = any(key.field.kind in ("param", "tag") for key in scope.order_by)
    order = [text + OWN_FUNCTION * by_number for text in _order(scope)]
    return Plan((*_places(scope), *conditions, *_ranking(query), *order, *_limit(scope)))


def of_database_server(database: Any, query: RunQuery | BestQuery, _: Sequence[Step]) -> Plan:
    """A database server does what it does as we mean it; the rest is done over the values alone."""
    from agentnn.stores.sql_server.ordering import is_sorted_here
    from agentnn.stores.sql_server.resolving import is_beyond

    scope = _scope_of(query)
    parts = {one: _has(one, lambda comparison: is_beyond(comparison, database)) for one in conjuncts(scope.filter)}
    here = [f"{spelled(one)}{RESOLVED}" for one, beyond in parts.items() if beyond]
    pushed = [spelled(one) for one, beyond in parts.items() if not beyond]
    order = (*_order(scope), *_limit(scope))
    if is_sorted_here(scope.order_by):
        here += order
        order = ()
    if not isinstance(query, RunQuery) and query.aggregate == "mean":
        here.append(f"the exact means of metrics.{query.metric}, of those that are close")
    return Plan((*_places(scope), *pushed, *_ranking(query), *order), tuple(here))


def of_server(query: RunQuery | BestQuery, steps: Sequence[Step]) -> Plan:
    """A server does what it was really sent, and understood."""
    from agentnn.stores.explained.transport import SEARCH
    from agentnn.stores.rest.pushdown import pushed

    scope = _scope_of(query)
    sent = [step for step in steps if step.what == SEARCH and not step.problem]
    if not sent:
        return Plan()
    filters = ["\n".join(step.details) for step in sent]
    done, here = list(_places(scope)), []
    for one in conjuncts(scope.filter):
        part = pushed(one)
        is_sent = bool(part.conditions) and all(text in each for text in part.conditions for each in filters)
        is_same = part.is_whole or _means(str(part), one)
        if is_sent:
            done.append(str(part) + CHECKED * (is_same and not part.is_whole))
        if not (is_sent and is_same):
            here.append(spelled(one))
    if isinstance(query, RunQuery):
        ordered = _is_ordered(sent[-1])  # where the server's order was none, all were asked for after it
        order, limit = _order(scope), _limit(scope)
        done += order if ordered else ()
        here += () if ordered else order
        return Plan((*done, *limit), ()) if not here else Plan(tuple(done), (*here, *limit))
    finished = any(f"attributes.{FINISHED}" in each for each in filters)
    by_server = {FINISHED: finished, _winner(query): any(map(_is_ordered, sent)) and not _is_reading_all(sent[-1])}
    ranking = list(_ranking(query))
    done += [text for text in ranking if by_server.get(text)]
    return Plan(tuple(done), (*here, *(text for text in ranking if not by_server.get(text))))


def of_folder(query: RunQuery | BestQuery, _: Sequence[Step]) -> Plan:
    """A folder does nothing; but no experiment is looked into, and no file opened, that does not matter."""
    scope = _scope_of(query)
    conditions = [spelled(one) for one in conjuncts(scope.filter)]
    return Plan(_experiments(scope), (*_stage(scope), *conditions, *_ranking(query), *_order(scope), *_limit(scope)))


def of_client(query: RunQuery | BestQuery, _: Sequence[Step]) -> Plan:
    """MLflow's client is asked for the runs of experiments; what a filter means to it depends on the store."""
    scope = _scope_of(query)
    here = [spelled(one) for one in conjuncts(scope.filter)]
    rest = [*_ranking(query), *_order(scope), *_limit(scope)]
    if isinstance(query, RunQuery) and not here and not scope.order_by:
        return Plan((*_places(scope), *rest))
    return Plan(tuple(_places(scope)), (*here, *rest))


def _is_ordered(search: Step) -> bool:
    from agentnn.stores.explained.transport import ORDER

    return any(detail.startswith(ORDER) for detail in search.details)


def _is_reading_all(search: Step) -> bool:
    """Whether a search reads all runs in scope, and neither counts some nor looks for better ones."""
    from agentnn.stores.rest.searching import FIRST_PAGE, PAGE

    sizes = (f"at most {FIRST_PAGE}", f"at most {PAGE}")
    return not _is_ordered(search) and any(detail.startswith(sizes) for detail in search.details)


def _scope_of(query: RunQuery | BestQuery) -> RunQuery:
    return query if isinstance(query, RunQuery) else query.scope._replace(order_by=(), limit=None)


def _places(scope: RunQuery) -> tuple[str, ...]:
    """Where is looked, and at runs of which stage."""
    return (*_experiments(scope), *_stage(scope))


def _experiments(scope: RunQuery) -> tuple[str, ...]:
    if scope.experiment_ids is None:
        return ()
    few = ", ".join(scope.experiment_ids[:_FEW]) + (", …" if len(scope.experiment_ids) > _FEW else "")
    return (f"experiment{'s' if len(scope.experiment_ids) > 1 else ''} {few}",)


def _stage(scope: RunQuery) -> tuple[str, ...]:
    return () if scope.view == "all" else (f"{scope.view} runs",)


def _order(scope: RunQuery) -> tuple[str, ...]:
    return (f"order by {spelled_order(scope.order_by)}",) if scope.order_by else ()


def _limit(scope: RunQuery) -> tuple[str, ...]:
    return () if scope.limit is None else (f"at most {scope.limit}",)


def _ranking(query: RunQuery | BestQuery) -> Iterator[str]:
    """What a question for the best runs asks beyond its scope."""
    if isinstance(query, RunQuery):
        return
    if not query.include_unfinished:
        yield FINISHED
    if not query.include_children:
        yield NOT_NESTED
    yield _winner(query)


def _winner(query: BestQuery) -> str:
    over = "" if query.aggregate == "last" else f", the {query.aggregate} of its history"
    return f"the {'greatest' if query.mode == 'max' else 'smallest'} finite metrics.{query.metric}{over}"


def _takes_a_function(comparison: Comparison) -> bool:
    """Whether SQLite needs a function of ours: for a number in a text, and for a regular expression."""
    if comparison.operator in ("=~", "!~"):
        return True
    values: Iterable[object] = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    is_text = comparison.field.kind in ("param", "tag")
    return is_text and any(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values)


def _has(expression: Expression, holds: Callable[[Comparison], bool]) -> bool:
    match expression:
        case And(parts) | Or(parts):
            return any(_has(part, holds) for part in parts)
        case Not(part):
            return _has(part, holds)
        case Comparison():
            return holds(expression)


def _means(text: str, expression: Expression) -> bool:
    """Whether a condition in MLflow's language says what ours says, which is its superset."""
    from agentnn.errors import FilterError
    from agentnn.query.filters import parse_filter

    try:
        return parse_filter(text) == expression
    except FilterError:
        return False
