"""The projects of a folder, as experiments: what ``project.toml`` says of each, or else its folder's name alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from agentnn.errors import CorruptDataError, StoreUnavailable
from agentnn.records import Experiment
from agentnn.stores.toml.layout import PROJECT, directory_name

if TYPE_CHECKING:
    from pathlib import Path


class Projects(NamedTuple):
    """The projects of a folder.

    Attributes:
        experiments: All of them, those whose file can't be read by their folder's name.
        damaged: What is wrong with the files that can't be read.
    """

    experiments: tuple[Experiment, ...]
    damaged: tuple[CorruptDataError, ...]


def read_projects(base_dir: Path) -> Projects:
    """All projects of a folder, by the names of their folders.

    Raises:
        StoreUnavailable: There is no such folder, or it can't be read.
    """
    experiments, damaged = [], []
    for folder in project_folders(base_dir):
        try:
            experiments.append(read_project(folder))
        except CorruptDataError as error:
            experiments.append(_unsaid(folder))
            damaged.append(error)
    return Projects(tuple(experiments), tuple(damaged))


def project_folders(base_dir: Path) -> list[Path]:
    """The folders of all projects, sorted.

    Raises:
        StoreUnavailable: There is no such folder, or it can't be read.
    """
    try:
        with os.scandir(base_dir) as entries:
            names = [entry.name for entry in entries if is_name(entry.name) and entry.is_dir()]
    except FileNotFoundError:
        raise no_such_store(base_dir) from None
    except OSError as error:
        raise StoreUnavailable(
            f"{base_dir} can't be read: {error.strerror}", hint="check the path and its permissions"
        ) from error
    return [base_dir / name for name in sorted(names)]


def is_name(text: str) -> bool:
    """Whether a project or a run could have a folder of this name: one part of a path, not hidden, and text."""
    if text[:1] in ("", ".") or "/" in text or "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def read_project(folder: Path) -> Experiment:
    """The experiment that a project's folder is; what ``project.toml`` does not say, or says amiss, is left out.

    Raises:
        CorruptDataError: ``project.toml`` is no TOML, or can't be read.
    """
    try:
        data = (folder / PROJECT).read_bytes()
    except FileNotFoundError:
        return _unsaid(folder)
    except OSError as error:
        raise CorruptDataError(f"{folder / PROJECT} can't be read: {error.strerror}") from error
    from agentnn.stores.toml.runs.run_documents import milliseconds_of
    from agentnn.stores.toml.text.documents import parse  # few projects have such a file
    from agentnn.values.logged import param_text

    said = parse(data, folder / PROJECT)
    name, tags = said.get("name"), said.get("tags")
    return _unsaid(folder)._replace(
        name=name if isinstance(name, str) and name else _shown(folder.name),
        lifecycle_stage="deleted" if said.get("lifecycle_stage") == "deleted" else "active",
        creation_time=milliseconds_of(said.get("created_at")),
        last_update_time=milliseconds_of(said.get("updated_at")),
        tags={key: param_text(value) for key, value in tags.items()} if isinstance(tags, dict) else {},
    )


def no_such_store(base_dir: Path) -> StoreUnavailable:
    """The error for a folder that is not there: reading makes none."""
    return StoreUnavailable(
        f"there is no store at {base_dir}",
        hint="check --tracking-uri or MLFLOW_TRACKING_URI, or begin one: MLRun.create(…)",
    )


def _unsaid(folder: Path) -> Experiment:
    return Experiment(folder.name, _shown(folder.name), artifact_location=str(folder))


def _shown(folder_name: str) -> str:
    """The name that a project's folder was made for; for most folders, their own."""
    name = unquote(folder_name)
    return name if name and directory_name(name) == folder_name else folder_name
