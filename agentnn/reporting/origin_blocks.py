"""What a run was made of, as blocks: its configuration, its environment, and how to make it again."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from agentnn.config.history import HASH_TAG, OVERRIDES_TAG, SOURCE_TAG
from agentnn.reporting.document import Block, Column, Mark, Missing, Table, Text
from agentnn.reporting.words import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.records import Run
    from agentnn.reporting.files import Files

_NOTE_TAG = "mlflow.note.content"
_COMMIT_TAGS = ("mlflow.source.git.commit", "git_commit")
_ENVIRONMENT = {
    "python": "Python",
    "implementation": "Implementation",
    "platform": "Platform",
    "machine": "Machine",
    "hostname": "Host",
    "cpu": "Processor",
    "cpus": "Logical processors",
    "usable_cpus": "Usable processors",
}
_MAIN_PACKAGES = ("agentnn", "mlflow", "torch", "numpy", "pandas", "scikit-learn", "scipy", "optuna", "ray")


def config_blocks(run: Run, files: Files) -> list[Block]:
    """The params, those marked that were overridden on the command line."""
    if not run.params:
        texts = [Text(text, folder or "config.yaml", "code") for folder, text in files.config.items()]
        return [*texts] or [Missing("configuration", "the run logged no params")]
    overridden = overrides_of(run)
    keys = sorted(run.params, key=lambda key: (key not in overridden, key))
    columns = [Column("key", "Key", "code"), Column("value", "Value", "code")]
    if overridden:
        columns.append(Column("origin", "Set by"))
    rows = tuple(
        (key, run.params[key], *(("command line" if key in overridden else None,) if overridden else ()))
        for key in keys
    )
    marks = tuple(Mark(place, 1, "changed") for place, key in enumerate(keys) if key in overridden)
    source = run.tags.get(SOURCE_TAG)
    notes = [f"from {source}"] if source and source != "dict" else []
    if overridden:
        notes.append(f"{len(marks)} of {counted(len(keys), 'value')} overridden; they come first")
    if HASH_TAG in run.tags:
        notes.append(f"its hash is {run.tags[HASH_TAG][:12]}")
    return [
        Table(
            "config", "Configuration", tuple(columns), rows, marks, is_filterable=len(rows) > 10, note="; ".join(notes)
        )
    ]


def overrides_of(run: Run) -> dict[str, str]:
    """What the command line set, by dotted key; a tag that is damaged says nothing."""
    try:
        told = json.loads(run.tags.get(OVERRIDES_TAG, "[]"))
    except ValueError:
        return {}
    found: dict[str, str] = {}
    words = [word for word in told if isinstance(word, str)] if isinstance(told, list) else []
    for place, word in enumerate(words):
        key, sign, value = word.lstrip("-").partition("=")
        if not sign and " " in key:
            key, _, value = key.partition(" ")
        if "." in key and key.replace(".", "").replace("_", "").isalnum() and not key[0].isdigit():
            following = words[place + 1] if place + 1 < len(words) else ""
            found[key] = value or following
    return found


def tag_blocks(run: Run) -> list[Block]:
    """The note and the tags of the run's user."""
    blocks: list[Block] = []
    if run.tags.get(_NOTE_TAG):
        blocks.append(Text(run.tags[_NOTE_TAG], "Note"))
    own = {key: value for key, value in run.tags.items() if not key.startswith(("mlflow.", "agentnn."))}
    if own:
        columns = (Column("tag", "Tag"), Column("value", "Value"))
        rows = tuple((key, own[key]) for key in sorted(own))
        blocks.append(Table("tags", "Tags", columns, rows, is_filterable=len(rows) > 10))
    return blocks


def environment_blocks(run: Run, files: Files) -> list[Block]:
    """Machine, packages, code, and the changes since its commit."""
    told: Mapping[str, Any] = next(iter(files.environment.values()), {})
    packages = next(iter(files.packages.values()), "")
    changes = next(iter(files.changes.values()), "")
    rows = [*_environment_rows(told), *_package_rows(packages), *_code_rows(run, told)]
    if not rows:
        return [Missing("environment", "the run logged none: log_environment_details")]
    columns = (Column("name", "What"), Column("value", "Value"))
    blocks: list[Block] = [Table("environment", "Environment", columns, tuple(rows), is_sortable=False)]
    if not told:
        blocks.append(Missing("machine and packages", "the run logged none: log_environment_details"))
    if packages:
        blocks.append(Text(packages, "Packages", "code", is_collapsed=True))
    if changes:
        blocks.append(Text(changes, "Changes since the commit", "code", is_collapsed=True))
    return blocks


def reproduction_blocks(run: Run) -> list[Block]:
    """The command that trains again what the run trained."""
    commit = next((run.tags[tag] for tag in _COMMIT_TAGS if run.tags.get(tag, "").isalnum()), None)
    lines = [f"git checkout {commit}"] if commit else []
    lines.append(f"agentnn run replay {shlex.quote(run.run_id)}")
    blocks: list[Block] = [Text("\n".join(lines), "Train it again", "code")]
    if HASH_TAG not in run.tags:
        blocks.append(Missing("a configuration to train by", "the run was not logged with log_config or run train"))
    if run.tags.get("git_dirty") == "true":
        blocks.append(Text("The code was changed since its commit: apply the changes above first.", ""))
    return blocks


def _environment_rows(told: Mapping[str, Any]) -> list[tuple[str, str | float | int]]:
    rows: list[tuple[str, str | float | int]] = [
        (name, told[key])
        for key, name in _ENVIRONMENT.items()
        if isinstance(told.get(key), (str, int)) and told[key] != ""
    ]
    memory = told.get("memory_bytes")
    if isinstance(memory, (int, float)) and not isinstance(memory, bool):
        rows.append(("Memory", f"{memory / 2**30:.1f} GiB"))
    gpus = told.get("gpus")
    if isinstance(gpus, list):
        rows += [("Graphics processor", str(one.get("name", ""))) for one in gpus if isinstance(one, dict)]
    arguments = told.get("arguments")
    if isinstance(arguments, list) and arguments:
        rows.append(("Command line", shlex.join(map(str, arguments))))
    variables = told.get("variables")
    if isinstance(variables, dict):
        rows += [(f"${name}", str(value)) for name, value in sorted(variables.items())]
    return rows


def _package_rows(packages: str) -> list[tuple[str, str]]:
    """The packages that a reader looks for first."""
    versions = dict(line.split("==", 1) for line in packages.splitlines() if "==" in line)
    return [(name, versions[name]) for name in _MAIN_PACKAGES if name in versions]


def _code_rows(run: Run, told: Mapping[str, Any]) -> list[tuple[str, str]]:
    git = told.get("git") if isinstance(told.get("git"), dict) else {}
    assert isinstance(git, dict)
    named = {
        "Commit": run.tags.get("mlflow.source.git.commit") or git.get("commit"),
        "Branch": run.tags.get("mlflow.source.git.branch") or git.get("branch"),
        "Repository": run.tags.get("mlflow.source.git.repoURL") or git.get("remote"),
        "Script": run.tags.get("mlflow.source.name"),
    }
    rows = [(name, str(value)) for name, value in named.items() if value]
    if run.tags.get("git_dirty") in ("true", "false"):
        rows.append(("Code changed since the commit", "yes" if run.tags["git_dirty"] == "true" else "no"))
    return rows
