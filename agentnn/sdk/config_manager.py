"""``ConfigurationManager``: one configuration, from a file or a dict, with overrides; its history, and differences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.config.history import (
    ARTIFACT,
    HASH_TAG,
    OVERRIDES_TAG,
    SOURCE_TAG,
    ConfigEvent,
    ConfigRecord,
    Difference,
    commits_of,
    differences,
    leaves,
)
from agentnn.errors import ConfigError, NotFoundError
from agentnn.sdk.nn_models import ModelManager
from agentnn.stores.destination import is_there

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.config.overrides import Overrides
    from agentnn.config.schema import Config
    from agentnn.records import Run

_SUFFIXES = (".yaml", ".yml")


class ConfigurationManager:
    """Loads and checks a configuration when it is made.

    Args:
        path_or_dict: A YAML file, or a dict of the same shape.
        overrides: Values that go before those of the file: ``{"training.epochs": 5}``, or as arguments of a command
            line, ``["--model.learning_rate", "0.005"]``.

    Raises:
        ConfigError: Something is wrong with it; its ``problems`` are all that is wrong, a line each, with file, line
            and key.
        UsageError: An override is malformed.
    """

    def __init__(self, path_or_dict: str | Path | Mapping[str, Any], overrides: Overrides | None = None) -> None:
        from agentnn.config.loader import load_config, record_of  # pydantic, which nothing else here needs

        self.path = None if isinstance(path_or_dict, Mapping) else Path(path_or_dict)
        self._config = load_config(path_or_dict, overrides)
        self._record = record_of(self._config)

    def get_config(self) -> Config:
        """The checked configuration: ``config.model.input_dim`` and ``config["model"]["input_dim"]``."""
        return self._config

    @property
    def record(self) -> ConfigRecord:
        """What a run keeps of it: the resolved values without secrets, their hash, where they came from."""
        return self._record

    @staticmethod
    def schema() -> dict[str, Any]:
        """The JSON Schema of a configuration file."""
        from agentnn.config.json_schema import json_schema

        return json_schema()

    def history(self, *, manager: ModelManager | None = None) -> list[ConfigEvent]:
        """The commits that changed the file, and the runs that used it or the same values; the newest first.

        Args:
            manager: The store to ask; that of the settings by default, where there is one.

        Raises:
            StoreUnavailable: The store can't be read.
        """
        events = [] if self.path is None else commits_of(self.path)
        asked = manager or ModelManager()
        if manager is not None or is_there(asked.settings):
            events += [_event_of(run) for run in self._runs(asked)]
        return sorted(events, key=lambda event: event.time or 0, reverse=True)

    def _runs(self, manager: ModelManager) -> Iterator[Run]:
        wanted = f"tags.`{HASH_TAG}` = '{self._record.hash}'"
        if self.path is not None:
            quoted = self._record.source.replace("'", "''")
            wanted += f" OR tags.`{SOURCE_TAG}` = '{quoted}'"
        return manager.iter_runs(filter=wanted)

    @staticmethod
    def diff(left: Any, right: Any, *, manager: ModelManager | None = None) -> list[Difference]:
        """How two configurations differ, key by key, with defaults and overrides in place.

        Args:
            left: A file, a dict, a configuration, a manager of one, or a run by a selector. Text that ends with
                ``.yaml`` or ``.yml``, or that is the path of a file, is a file.
            right: Likewise.
            manager: The store to ask for runs; that of the settings by default.

        Raises:
            ConfigError: Something is wrong with one of them.
            NotFoundError: There is no such run, or it has neither a ``config.yaml`` nor params.
        """
        return differences(_leaves_of(left, manager), _leaves_of(right, manager))


def _leaves_of(given: Any, manager: ModelManager | None) -> dict[str, Any]:
    from agentnn.config.loader import load_config, record_of
    from agentnn.config.schema import Config

    if isinstance(given, ConfigurationManager):
        return dict(leaves(given.record.values))
    if isinstance(given, Config):
        return dict(leaves(record_of(given).values))
    if isinstance(given, (Mapping, Path)) or given.endswith(_SUFFIXES) or Path(given).is_file():
        return dict(leaves(record_of(load_config(given)).values))
    return _leaves_of_run(given, manager or ModelManager())


def _leaves_of_run(selector: str, manager: ModelManager) -> dict[str, Any]:
    """What a run used: its ``config.yaml``, or else its params."""
    from agentnn.config.reading import read_values, value_of_param

    run = manager.get_run(selector)
    try:
        text = b"".join(manager.read_artifact(run.run_id, ARTIFACT)).decode("utf-8")
        return dict(leaves(read_values(text, f"{ARTIFACT} of {run.name or run.run_id}")))
    except NotFoundError:
        if not run.params:
            raise
    except UnicodeDecodeError as error:
        raise ConfigError(f"{ARTIFACT} of {run.name or run.run_id} is not text in UTF-8") from error
    return {key: value_of_param(text) for key, text in run.params.items()}


def _event_of(run: Run) -> ConfigEvent:
    try:
        overrides = json.loads(run.tags.get(OVERRIDES_TAG, "[]"))
    except ValueError:
        overrides = []
    return ConfigEvent(
        "run",
        run.run_id,
        run.start_time,
        run.name,
        author=run.user,
        config_hash=run.tags.get(HASH_TAG),
        overrides=tuple(map(str, overrides)) if isinstance(overrides, list) else (),
    )
