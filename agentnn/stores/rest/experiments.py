"""The experiments of a server."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError, UsageError
from agentnn.stores.ids import is_experiment_id
from agentnn.stores.rest.run_records import experiment_of, odd_answer, text_pairs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from agentnn.query.runs import View
    from agentnn.records import Experiment
    from agentnn.stores.rest.transport import Transport

VIEWS = {"active": "ACTIVE_ONLY", "deleted": "DELETED_ONLY", "all": "ALL"}
_PAGE = 1000
_FEW = 3
"""Experiments that are asked for one by one; of more, all."""


def list_experiments(transport: Transport, view: View) -> list[Experiment]:
    """All experiments, in MLflow's order: the newest first, then by number."""
    question = {"max_results": _PAGE, "view_type": VIEWS[view]}
    found = pages(transport, "experiments/search", question, "experiments")
    return [experiment_of(one) for page in found for one in page]


def find_experiment(transport: Transport, *, name: str | None, experiment_id: str | None) -> Experiment | None:
    """One experiment by name or id, deleted ones included; ``None`` where there is none, or can be none."""
    if experiment_id is not None and not is_experiment_id(experiment_id):
        return None
    if experiment_id is None and not name:
        return None
    try:
        if experiment_id is not None:
            answer = transport.get("experiments/get", {"experiment_id": experiment_id})
        else:
            answer = transport.get("experiments/get-by-name", {"experiment_name": name})
    except (NotFoundError, UsageError):  # an id that this store can't have is simply not there
        return None
    return experiment_of(answer.get("experiment") or {})


def create_experiment(
    transport: Transport, name: str, location: str | None = None, tags: Mapping[str, str] | None = None
) -> str:
    """Make an experiment; its id.

    Args:
        transport: The server.
        name: Its name.
        location: Where it keeps its artifacts; where the server likes without it.
        tags: Its tags.

    Raises:
        ConflictError: An experiment has the name, be it a deleted one.
        UsageError: None can have it.
    """
    asked: dict[str, Any] = {"name": name}
    if location is not None:
        asked["artifact_location"] = location
    if tags:
        asked["tags"] = text_pairs(tags)
    made = transport.post("experiments/create", asked, read=False).get("experiment_id")
    if not made:
        raise odd_answer("an experiment")
    return str(made)


def names_of(
    transport: Transport, experiment_ids: Collection[str], known: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The names of some experiments, by id; of those that are known, nobody is asked."""
    wanted = set(experiment_ids) - known.keys()
    if len(wanted) <= _FEW:
        found = [find_experiment(transport, name=None, experiment_id=one) for one in sorted(wanted)]
        return {**known, **{one.experiment_id: one.name for one in found if one is not None}}
    return {one.experiment_id: one.name for one in list_experiments(transport, "all")}


def pages(
    transport: Transport,
    endpoint: str,
    question: Mapping[str, Any],
    name: str,
    *,
    by_get: bool = False,
    later: int | None = None,
) -> Iterator[list[dict[str, Any]]]:
    """Everything that a search finds, page by page.

    Args:
        transport: The server.
        endpoint: What is asked.
        question: What for, without a token.
        name: What the answer calls what was found.
        by_get: Whether the question is a GET.
        later: How much each page but the first holds; as much as that one where it is ``None``.

    Raises:
        CorruptDataError: The answer is not as MLflow writes it, or does not end.
    """
    ask = transport.get if by_get else transport.post
    token: str | None = None
    while True:
        more = {} if token is None else {"page_token": token, "max_results": later or question["max_results"]}
        answer = ask(endpoint, {**question, **more})
        found = answer.get(name, [])
        if not isinstance(found, list):
            raise odd_answer("a list")
        yield found
        before, token = token, answer.get("next_page_token")
        if not token:
            return
        if token == before:
            raise odd_answer("a page without end")
