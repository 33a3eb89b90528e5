"""Requests to a server: what was asked, how much came back, and how long it took, retries included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.stores.explained.between import Seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentnn.query.explanation import Taking
    from agentnn.stores.rest.connection import Reply

SEARCH = "POST runs/search"
FILTER, ORDER = "filter: ", "order by "
_UNITS = {"metrics": "values"}
"""What an answer calls the points of a history."""


class SeenTransport(Seen):
    """What asks a server; see :class:`~agentnn.stores.rest.transport.Transport`."""

    def beside(self) -> SeenTransport:
        """Another one that asks the same server, over a connection of its own."""
        return SeenTransport(self.inner.beside(), self._explanation)

    def get(self, endpoint: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask by GET."""
        with self._explanation.step(f"GET {endpoint}", *_details(parameters or {})) as taking:
            return _counted(self.inner.get(endpoint, parameters), taking)

    def post(self, endpoint: str, question: Mapping[str, Any], *, read: bool = True) -> dict[str, Any]:
        """Ask by POST."""
        with self._explanation.step(f"POST {endpoint}", *_details(question)) as taking:
            taking.read |= {"runs": 0} if endpoint == "runs/search" else {}  # which an empty answer does not say
            return _counted(self.inner.post(endpoint, question, read=read), taking)

    def open(self, path: str, timeout_s: float) -> Reply:
        """The answer to a GET of any size."""
        with self._explanation.step(f"GET {path.partition('?')[0]}"):
            reply: Reply = self.inner.open(path, timeout_s)
            return reply


def _details(question: Mapping[str, Any]) -> Iterator[str]:
    """What of a question tells one from the next; which experiments are meant, and the marks of pages, do not."""
    if text := question.get("filter"):
        yield FILTER + str(text)
    if order := question.get("order_by"):
        yield ORDER + ", ".join(order)
    if (size := question.get("max_results")) and "experiment_ids" in question:
        yield f"at most {size}" + (", from a later page" if question.get("page_token") else "")


def _counted(answer: dict[str, Any], taking: Taking) -> dict[str, Any]:
    for name, value in answer.items():
        if isinstance(value, list):
            taking.read[_UNITS.get(name, name.replace("_", " "))] = len(value)
        elif isinstance(value, dict) and name in ("run", "experiment", "registered_model", "model_version"):
            taking.read[f"{name}s".replace("_", " ")] = 1
    return answer
