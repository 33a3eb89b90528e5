"""The model registry of an MLflow server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError, UsageError
from agentnn.records import PROMPT_TAG, ModelVersion, RegisteredModel
from agentnn.stores.rest.experiments import pages
from agentnn.stores.rest.run_records import odd_answer, texts, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.stores.explained.between import Between
    from agentnn.stores.rest.transport import Transport

_PAGE = 100
_VERSIONS = 1000
_IDS_IN_A_FILTER = 50
"""The ids are part of an address, which may not be long."""


class RestRegistry:
    """Reads the registry of an MLflow server.

    Args:
        transport: Asks it.
        uri: Its address.
    """

    def __init__(self, transport: Transport, uri: str) -> None:
        self.uri = uri
        self._transport = transport

    def close(self) -> None:
        """End the connection."""
        self._transport.close()

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before what asks the server."""
        self._transport = between.transport(self._transport)

    def list_models(self) -> list[RegisteredModel]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        found = _pages(self._transport, "registered-models/search", "registered_models", {"max_results": _PAGE})
        # A search gives no aliases: https://github.com/mlflow/mlflow/issues/16734
        models = [model for one in found if (model := self._find(_name_of(one)))]
        versions: dict[str, list[dict[str, Any]]] = {}
        for one in _search_versions(self._transport, "") if models else ():
            versions.setdefault(_name_of(one), []).append(one)
        listed = (model_of(one, _newest_first(one, versions.get(_name_of(one), []))) for one in models)
        return sorted(listed, key=lambda one: one.name)

    def find_model(self, name: str) -> RegisteredModel | None:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        found = self._find(name)
        return None if found is None else model_of(found, versions_of(self._transport, found))

    def list_model_versions(self, name: str) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        found = self._find(name)
        return [] if found is None else versions_of(self._transport, found)

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        wanted = [run_id for run_id in dict.fromkeys(run_ids) if run_id.isascii() and run_id.isalnum()]
        found: list[dict[str, Any]] = []
        for start in range(0, len(wanted), _IDS_IN_A_FILTER):
            ids = ", ".join(f"'{run_id}'" for run_id in wanted[start : start + _IDS_IN_A_FILTER])
            found += _search_versions(self._transport, f"run_id IN ({ids})")
        # As with a search of models, what it gives may lack the aliases.
        models = {name: self._find(name) for name in sorted({_name_of(one) for one in found})}
        held = {name: _aliases_by_version(model or {}) for name, model in models.items()}
        versions = [_version(one, held[_name_of(one)]) for one in found]
        return sorted(versions, key=lambda one: (one.name, -one.version))

    def _find(self, name: str) -> dict[str, Any] | None:
        found = find_registered(self._transport, name)
        return None if found is None or is_prompt(found) else found


def find_registered(transport: Transport, name: str) -> dict[str, Any] | None:
    """What a server says of a registered model, or of a prompt; ``None`` where there is none, or can be none."""
    if not name:
        return None
    try:
        answer = transport.get("registered-models/get", {"name": name})
    except (NotFoundError, UsageError):  # a name that no model can have is simply not there
        return None
    found = answer.get("registered_model")
    if not isinstance(found, dict):
        raise odd_answer("a model")
    return found


def is_prompt(model: Mapping[str, Any]) -> bool:
    """Whether what a server calls a registered model is a prompt."""
    try:
        return PROMPT_TAG in texts(model.get("tags", ()))
    except (KeyError, TypeError, AttributeError) as error:
        raise odd_answer("a model") from error


def versions_of(transport: Transport, model: Mapping[str, Any]) -> list[ModelVersion]:
    """The versions of a registered model as :func:`find_registered` gives it, the newest first."""
    name = _name_of(model)
    quote = next((one for one in "'\"" if one not in name), None)
    # A name with both kinds of quotes can't be written in MLflow's filter.
    found = _search_versions(transport, f"name={quote}{name}{quote}" if quote else "")
    return _newest_first(model, [one for one in found if _name_of(one) == name])


def _search_versions(transport: Transport, condition: str) -> list[dict[str, Any]]:
    question = {"max_results": _VERSIONS, **({"filter": condition} if condition else {})}
    return _pages(transport, "model-versions/search", "model_versions", question)


def _pages(transport: Transport, endpoint: str, name: str, question: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for page in pages(transport, endpoint, question, name, by_get=True) for one in page]


def model_of(one: Mapping[str, Any], versions: list[ModelVersion]) -> RegisteredModel:
    """A registered model as :func:`find_registered` gives it, with its versions.

    Raises:
        CorruptDataError: It is not as MLflow writes it.
    """
    stages: dict[str, int] = {}
    for version in versions:
        if version.stage != "None":
            stages.setdefault(version.stage, version.version)
    try:
        return RegisteredModel(
            one["name"],
            one.get("description") or None,
            whole_number(one.get("creation_timestamp")),
            whole_number(one.get("last_updated_timestamp")),
            latest_version=max((version.version for version in versions), default=None),
            version_count=len(versions),
            aliases={item["alias"]: int(item["version"]) for item in sorted(one.get("aliases", ()), key=_alias_of)},
            stages=stages,
            tags=texts(one.get("tags", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise odd_answer("a model") from error


def _newest_first(model: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> list[ModelVersion]:
    """The versions of a model, with their aliases."""
    aliases = _aliases_by_version(model)
    return sorted((_version(one, aliases) for one in found), key=lambda one: -one.version)


def _version(one: Mapping[str, Any], aliases: Mapping[int, tuple[str, ...]]) -> ModelVersion:
    try:
        number = int(one["version"])
        return ModelVersion(
            one["name"],
            number,
            one.get("current_stage") or "None",
            aliases.get(number, ()),
            one.get("status") or "READY",
            one.get("source"),
            one.get("run_id") or None,
            one.get("description") or None,
            one.get("user_id") or None,
            whole_number(one.get("creation_timestamp")),
            whole_number(one.get("last_updated_timestamp")),
            texts(one.get("tags", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise odd_answer("a model version") from error


def _aliases_by_version(model: Mapping[str, Any]) -> dict[int, tuple[str, ...]]:
    aliases: dict[int, tuple[str, ...]] = {}
    try:
        for item in sorted(model.get("aliases", ()), key=_alias_of):
            aliases[int(item["version"])] = (*aliases.get(int(item["version"]), ()), item["alias"])
    except (KeyError, TypeError, ValueError) as error:
        raise odd_answer("a model's aliases") from error
    return aliases


def _alias_of(item: Mapping[str, Any]) -> str:
    return str(item["alias"])


def _name_of(one: Mapping[str, Any]) -> str:
    name = one.get("name") if isinstance(one, dict) else None
    if not isinstance(name, str):
        raise odd_answer("a model without a name")
    return name
