"""What a run was started with, and whether something else is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import ConfigError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from agentnn.config.schema import Config
    from agentnn.records import Run
    from agentnn.sdk.run_files import RunFileAccess

DIGEST_PARAM = "dataset.digest"
"""Holds the SHA-256 of what a run was trained on."""


def configuration_of(manager: RunFileAccess, run: Run) -> dict[str, Any]:
    """The configuration that a run was started with, but for the store that it names.

    Raises:
        NotFoundError: It has none.
        ConfigError: A secret in it was not kept.
    """
    from agentnn.config.history import ARTIFACT, leaves
    from agentnn.config.reading import read_values
    from agentnn.config.secrecy import MASK

    name = run.name or run.run_id
    try:
        text = b"".join(manager.read_artifact(run.run_id, ARTIFACT)).decode("utf-8")
    except NotFoundError as error:
        raise NotFoundError(
            f"the run {name!r} has no {ARTIFACT}", hint="it was not started by agentnn run train"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{ARTIFACT} of {name} is not text in UTF-8") from error
    values = read_values(text, f"{ARTIFACT} of {name}")
    struck = next((key for key, value in leaves(values) if MASK in str(value)), None)
    if struck is not None:
        raise ConfigError(
            f"{struck} was a secret when {name!r} was started, and was not kept",
            hint="${env:NAME} in a configuration keeps where a secret comes from",
        )
    if isinstance(values.get("tracking"), dict):
        values["tracking"].pop("uri", None)  # what a store says must not lead to another one
    return values


def check_is_the_same(config: Config, run: Run, manager: Any) -> None:
    """Whether a run was started with this configuration.

    Raises:
        ConflictError: It was not; the first keys that differ are named.
    """
    from agentnn.config.history import HASH_TAG
    from agentnn.config.loader import record_of
    from agentnn.sdk.config_manager import ConfigurationManager

    if run.tags.get(HASH_TAG, "") == record_of(config).hash:
        return
    found = ConfigurationManager.diff(run.run_id, config, manager=manager)
    listed = ", ".join(f"{one.key} was {one.left} and is {one.right}" for one in found[:3])
    raise ConflictError(
        f"the run {run.name!r} was started with another configuration" + (f": {listed}" if listed else ""),
        hint="leave the configuration out to go on with the run's own: agentnn run train --resume RUN",
    )


def check_data_are_the_same(digest: str, run: Run) -> None:
    """Whether a run was trained on data of this digest.

    Raises:
        ConflictError: It was not.
    """
    before = run.params.get(DIGEST_PARAM)
    if before is not None and before != digest:
        raise ConflictError(
            f"the data have changed since {run.name!r} was started: their SHA-256 was {before[:12]}… and is "
            f"{digest[:12]}…",
            hint="train again from the beginning: agentnn run train CONFIG",
        )
