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
_FEW = 32
"""Runs that are read rather than counted: that takes as long as a question or two."""


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
    if at_most == 0 or not scope.experiment_ids:
        return 0
    looked = _Looked(transport, scope, conditions)
    if are_few and (number := looked.count_if_few()) is not None:
        return number
    low, high = looked.bounds_from_below() if at_most is None else looked.bounds_from_above(at_most)
    while high - low >= _FEW:
        middle = (low + high + 1) // 2
        if looked.has(middle):
            low = middle
        else:
            high = middle - 1
    return low if low == high else low + looked.number_behind(low, high - low)


class _Looked:
    """Looks whether a search finds so many runs."""

    def __init__(self, transport: Transport, scope: Scope, conditions: tuple[str, ...]) -> None:
        self._transport = transport
        self._one = scope.question(1, *conditions)
        self._few = scope.question(_FEW, *conditions)

    def has(self, number: int) -> bool:
        """Whether there are at least so many."""
        return _is_there(self._transport, self._one, number - 1)

    def count_if_few(self) -> int | None:
        """How many there are, where that is hardly any."""
        answer = self._transport.post("runs/search", self._few)
        return None if answer.get("next_page_token") else len(answer.get("runs") or [])

    def number_behind(self, number: int, at_most: int) -> int:
        """How many there are besides the first ones; these are read."""
        token = {"page_token": _token(number)} if number else {}
        answer = self._transport.post("runs/search", {**self._few, **token, "max_results": at_most + 1})
        return len(answer.get("runs") or [])

    def bounds_from_below(self) -> tuple[int, int]:
        """Two numbers between which theirs is, both of them included."""
        if not self.has(1):  # whose answer also says what the server's tokens are
            return 0, 0
        low, step = 1, 2 * _FEW
        while self.has(low + step):
            if low > _MOST:
                raise CannotCount
            low, step = low + step, step * 8
        return low, low + step - 1

    def bounds_from_above(self, at_most: int) -> tuple[int, int]:
        """The same where their number is often just one that it can't be more than, or not much less."""
        if self.has(at_most):
            return at_most, at_most
        high, step = at_most - 1, 2 * _FEW
        while high > step:
            if self.has(high - step):
                return high - step, high
            high, step = high - step - 1, step * 8
        return 0, high


def is_more_than(transport: Transport, scope: Scope, number: int) -> bool:
    """Whether a search finds more runs than a number; one question.

    Raises:
        CannotCount: The server can't be asked so.
    """
    return _is_there(transport, scope.question(1), number)


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
