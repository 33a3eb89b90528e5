"""The documents that a run had where it was made, taken up again: with their types, their comments and their order.

Another store keeps params as text. A run that was once one of TOML files brought its files along as artifacts; where
these still say what the run is now, they are the better text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import CorruptDataError
from agentnn.stores.run_writer import LONGEST_PARAM
from agentnn.stores.toml.layout import CONFIG, META, METRICS, WANDB
from agentnn.stores.toml.runs.artifact_names import stored_name
from agentnn.stores.toml.runs.replacing import locked, replace_file
from agentnn.stores.toml.runs.run_documents import METRICS_TAG, WANDB_TAG, facts_of, numbers_among
from agentnn.stores.toml.text.documents import parse, render
from agentnn.values.keys import can_be_encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.stores.toml.runs.run_directory import RunDirectory
    from agentnn.stores.toml.runs.run_documents import RunFacts


class _Brought(NamedTuple):
    """A document that a run brought along."""

    data: bytes
    document: dict[str, Any]


def take_up_documents(run: RunDirectory) -> None:
    """Give a run its former ``metrics.toml`` and ``config.toml``, as far as they say what it is now."""
    metrics, config = _brought(run, METRICS), _brought(run, CONFIG)
    with locked(run.path):
        if metrics is not None:
            _take_up_metrics(run, metrics)
        if config is not None:
            _take_up_config(run, config)


def _brought(run: RunDirectory, name: str) -> _Brought | None:
    path = run.path / stored_name(name)
    try:
        data = path.read_bytes()
        return _Brought(data, parse(data, path))
    except (OSError, CorruptDataError):
        return None


def _take_up_metrics(run: RunDirectory, former: _Brought) -> None:
    """Take up numbers as they were written, and what else stood between them: until then that is tags."""
    config, metrics = run.read_config(), run.read_metrics()
    others = {f"{METRICS_TAG}{name}": text for name, text in numbers_among(former.document)[1].items()}
    meta = dict(config[META])
    tags = {key: text for key, text in meta.pop("tags", {}).items() if others.get(key) != text}
    bare = {**config, META: {**meta, "tags": tags} if tags else meta}
    if _comparable(facts_of("", bare, former.document, 0)) == _comparable(facts_of("", config, metrics, 0)):
        replace_file(run.path / METRICS, former.data)
        replace_file(run.path / CONFIG, render(bare, (run.path / CONFIG).read_bytes()))


def _take_up_config(run: RunDirectory, former: _Brought) -> None:
    """Take up the config itself; what is said of the run stays as it is now."""
    config, metrics = run.read_config(), run.read_metrics()
    now, then = facts_of(run.run_id, config, metrics, 0), facts_of(run.run_id, former.document, metrics, 0)
    own = {META: config[META], WANDB: former.document.get(WANDB) if _mirrors(now, then) else config.get(WANDB)}
    merged = {**former.document, **own}
    merged = {key: value for key, value in merged.items() if key != WANDB or value is not None}
    found = facts_of(run.run_id, merged, metrics, 0)
    if _comparable(found._replace(params={})) != _comparable(now._replace(params={})) or not _are_kept(
        found.params, now.params
    ):
        return  # something was changed since
    datasets = _datasets(former.document) == _datasets(config)
    is_whole = datasets and _comparable(then) == _comparable(found)
    replace_file(run.path / CONFIG, former.data if is_whole else render(merged, former.data))


def _mirrors(now: RunFacts, then: RunFacts) -> bool:
    """Whether both show the run at the same place in Weights & Biases."""
    of_now, of_then = (
        {key: text for key, text in facts.tags.items() if key.startswith(WANDB_TAG)} for facts in (now, then)
    )
    return of_now == of_then


def _are_kept(params: Mapping[str, str], stored: Mapping[str, str]) -> bool:
    """Whether params are those that a store has; one of MLflow's cuts the longest, and has no place for some names."""
    return stored.keys() <= params.keys() and all(
        stored[key] in (text, text[:LONGEST_PARAM]) if key in stored else not can_be_encoded(key)
        for key, text in params.items()
    )


def _comparable(facts: RunFacts) -> RunFacts:
    """Facts in which NaN is equal to itself, and zero has no sign."""
    return facts._replace(metrics={key: repr(value + 0.0) for key, value in facts.metrics.items()})  # type: ignore[misc]


def _datasets(config: Mapping[str, Any]) -> Any:
    meta = config.get(META)
    return meta.get("datasets") if isinstance(meta, dict) else None
