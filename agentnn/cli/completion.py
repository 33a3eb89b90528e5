"""Shell completion from the live store. It fails silently: a shell is no place for an error message."""

import os
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from agentnn.cli.bash_words import mended
from agentnn.errors import AgentNNError, AgentNNWarning

if TYPE_CHECKING:
    from agentnn.sdk.nn_models import ModelManager

COMPLETING = "_AGENTNN_COMPLETE"
"""The variable by which a shell asks for completions."""

_RECENT = 50
_SELECTORS = ("@last", "@best:", "models:/")


def mend_bash_words() -> str:
    """Give Typer the words that were typed, where bash has cut them to pieces.

    Returns:
        What bash keeps of the word that is being completed: completions are to be printed without it.
    """
    if os.environ.get(COMPLETING) != "complete_bash" or "COMP_WORDS" not in os.environ:
        return ""
    pieces, current = os.environ["COMP_WORDS"].split(), int(os.environ.get("COMP_CWORD") or 0)
    words, where, kept = mended(pieces, current)
    os.environ.update(COMP_WORDS=" ".join(words), COMP_CWORD=str(where))
    return kept


def experiments(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of experiments."""
    return _matching(ctx, incomplete, lambda manager: (one.name for one in manager.list_experiments()))


def metrics(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of metrics."""
    return _metric_names(ctx, incomplete)


def models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of registered models."""
    return _matching(ctx, incomplete, lambda manager: (one.name for one in manager.list_models()))


def model_versions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of registered models, and each with its aliases."""
    return _version_names(ctx, incomplete)


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Selectors, then names and ids of recent runs."""
    if incomplete.startswith("@best:"):
        begun = incomplete.removeprefix("@best:")
        return [f"@best:{name}" for name in _metric_names(ctx, begun)]
    if incomplete.startswith("models:/"):
        begun = incomplete.removeprefix("models:/")
        return [f"models:/{name}" for name in _version_names(ctx, begun) if "@" in name]

    def names(manager: "ModelManager") -> Iterable[str]:
        found = manager.list_runs(_experiment(ctx), filter=_begins(incomplete), limit=_RECENT)
        yield from dict.fromkeys(run.name for run in found)
        yield from (run.run_id for run in found)

    selectors = [one for one in _SELECTORS if one.startswith(incomplete)]
    return [*selectors, *_matching(ctx, incomplete, names)]


def _metric_names(ctx: typer.Context, incomplete: str) -> list[str]:
    return _matching(ctx, incomplete, lambda manager: manager.list_field_keys("metric", _experiment(ctx)))


def _version_names(ctx: typer.Context, incomplete: str) -> list[str]:
    def names(manager: "ModelManager") -> Iterable[str]:
        for one in manager.list_models():
            yield one.name
            yield from (f"{one.name}@{alias}" for alias in one.aliases)

    return _matching(ctx, incomplete, names)


def _begins(incomplete: str) -> str | None:
    if not incomplete:
        return None
    quoted = incomplete.replace("'", "''")
    return f"run_name LIKE '{quoted}%' OR run_id LIKE '{quoted}%'"


def _matching(ctx: typer.Context, incomplete: str, names: Callable[["ModelManager"], Iterable[str]]) -> list[str]:
    from agentnn.sdk.nn_models import ModelManager

    root = ctx.find_root().params
    with suppress(AgentNNError, AgentNNWarning, OSError), warnings.catch_warnings():
        warnings.simplefilter("error", AgentNNWarning)  # which says that only MLflow could answer, seconds later
        manager = ModelManager(root.get("tracking_uri"), env_file=root.get("env_file"))
        return [name for name in names(manager) if name.startswith(incomplete) and _is_harmless(name)]
    return []


def _is_harmless(name: str) -> bool:
    """Whether a shell takes a name as one word and does nothing with it; it would run ``$(…)``."""
    return all(char.isalnum() or char in "_@%+=:,./-" for char in name)


def _experiment(ctx: typer.Context) -> list[str] | None:
    chosen = ctx.params.get("experiment")
    return list(chosen) if chosen else None
