"""How many runs a server has of a kind, without reading them.

MLflow has no question for that. But the token of a page is, in every server of MLflow's own, the number of runs before
it; so whether there is a run at a place is a question for one run, and the number of runs is found by bisection: some
25 questions for ten million runs. A server whose tokens are something else is not asked so.
"""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.stores.rest.searching import Scope
    from agentnn.stores.rest.transport import Transport

_MOST = 1 << 40
_FEW = 30


class CannotCount(Exception):
    """The server's tokens are no numbers."""


def count(
    transport: Transport,
    scope: Scope,
    *conditions: str,
    at_most: int | None = None,
    are_few: bool = False,
) -> int:
    """How many runs a search finds.

    Args:
        transport: The server.
        scope: Where to look.
        conditions: Further conditions, in MLflow's language.
        at_most: A number that it can't be more than; it is often just this.
        are_few: Whether there are hardly any, as a rule: these are counted by one look.

    Raises:
        CannotCount: The server can't be asked so.
    """
    question = scope.question(1, *conditions)
    if at_most == 0 or not scope.experiment_ids:
        return 0
    if are_few:
        answer = transport.post("runs/search", scope.question(_FEW, *conditions))
        if not answer.get("next_page_token"):
            return len(answer.get("runs") or [])
    if at_most is not None and _is_there(transport, question, at_most - 1):
        return at_most
    if not _is_there(transport, question, 0):
        return 0
    low, high = 1, at_most  # a run is at low - 1, none is at high - 1
    step = 64
    while high is None:
        if not _is_there(transport, question, low + step - 1):
            high = low + step
        elif low > _MOST:
            raise CannotCount
        else:
            low, step = low + step, step * 8
    while high - low > 1:
        middle = (low + high) // 2
        if _is_there(transport, question, middle - 1):
            low = middle
        else:
            high = middle
    return low


def _is_there(transport: Transport, question: Mapping[str, Any], place: int) -> bool:
    answer = transport.post("runs/search", {**question, **({"page_token": _token(place)} if place else {})})
    found, token = answer.get("runs") or [], answer.get("next_page_token")
    if token and (len(found) != 1 or _place(token) != place + 1):
        raise CannotCount
    return bool(found)


def _token(place: int) -> str:
    return b2a_base64(json.dumps({"offset": place}).encode(), newline=False).decode("ascii")


def _place(token: str) -> int | None:
    try:
        said = json.loads(a2b_base64(token))
    except (ValueError, RecursionError):
        return None
    place = said.get("offset") if isinstance(said, dict) and len(said) == 1 else None
    return place if isinstance(place, int) else None
