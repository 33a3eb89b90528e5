"""What a TOML store answers when it is asked for models: it keeps none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.records import ModelVersion, RegisteredModel


class NoRegistry:
    """The registry of a TOML store; see :class:`~agentnn.stores.base.ModelRegistry`.

    No run of it has made a model version, which is an answer; every other question was meant for another registry.
    """

    def list_models(self) -> list[RegisteredModel]:
        """Refuse."""
        raise no_registry()

    def find_model(self, name: str) -> RegisteredModel | None:
        """Refuse."""
        raise no_registry()

    def list_model_versions(self, name: str) -> list[ModelVersion]:
        """Refuse."""
        raise no_registry()

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        """None, whatever runs these are."""
        return []


def no_registry() -> UsageError:
    """The error for a question about models."""
    return UsageError(
        "a store of TOML runs keeps no registered models",
        hint="name a registry beside it: MLFLOW_REGISTRY_URI=sqlite:///mlflow.db",
    )
