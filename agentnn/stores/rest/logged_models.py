"""The models that runs logged, which a server of MLflow 3 keeps beside the files of the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from agentnn.errors import NotFoundError
from agentnn.stores.rest.run_records import odd_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.stores.rest.transport import Transport


class Source(NamedTuple):
    """Where the files of a model are that a run logged.

    Attributes:
        location: The address of its folder.
        model_id: Its own id; ``None`` where it is among the files of the run.
    """

    location: str
    model_id: str | None = None


def model_of_run(transport: Transport, run_id: str, name: str) -> Source:
    """The model that a run logged under a name, or the run's files of this name, whatever they are.

    Raises:
        NotFoundError: There is no such run.
        CorruptDataError: An answer is not as MLflow writes it.
    """
    run = _part(transport.get("runs/get", {"run_id": run_id}), "run")
    outputs = run.get("outputs")
    found = outputs.get("model_outputs", ()) if isinstance(outputs, dict) else ()
    for output in found:
        try:
            info = _info(transport, _text(output, "model_id"))
        except NotFoundError:  # it was deleted
            continue
        if info.get("name") == name:
            return Source(_text(info, "artifact_uri"), _text(info, "model_id"))
    return Source(f"{_text(_part(run, 'info'), 'artifact_uri')}/{name}")


def location_of(transport: Transport, model_id: str) -> str:
    """The address of the folder of a logged model.

    Raises:
        NotFoundError: There is none of this id.
        CorruptDataError: The answer is not as MLflow writes it.
    """
    return _text(_info(transport, model_id), "artifact_uri")


def _info(transport: Transport, model_id: str) -> Mapping[str, Any]:
    answer = transport.get(f"logged-models/{quote(model_id, safe='')}")
    return _part(_part(answer, "model"), "info")


def _part(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = answer.get(name)
    if not isinstance(found, dict):
        raise odd_answer("a model, or its run,")
    return found


def _text(answer: Mapping[str, Any], name: str) -> str:
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, str):
        raise odd_answer("a model, or its run,")
    return found
