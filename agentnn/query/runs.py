"""Which runs are asked for, in which order, and how many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from agentnn.query.expressions import Expression, Field

View = Literal["active", "deleted", "all"]
FieldKind = Literal["metric", "param", "tag"]


class OrderBy(NamedTuple):
    """One sort key. Missing values come last in both directions, NaN just before them."""

    field: Field
    ascending: bool = True


class RunQuery(NamedTuple):
    """A question about runs; every store answers it alike.

    Attributes:
        experiment_ids: The experiments to look in; ``None`` for every active one.
        filter: Which runs; ``None`` for all.
        order_by: Sort keys, the first the most important. Behind them every answer is ordered as MLflow orders:
            the later start first, then the smaller run id.
        limit: At most so many runs; ``None`` for all.
        view: Whether active runs, deleted ones or both are meant.
    """

    experiment_ids: tuple[str, ...] | None = None
    filter: Expression | None = None
    order_by: tuple[OrderBy, ...] = ()
    limit: int | None = None
    view: View = "active"
