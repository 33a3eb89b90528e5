"""Reports as files: their names, their formats, and how they get where they belong, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from agentnn.errors import ConflictError, StoreUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.records import Run
    from agentnn.reporting.document import Kind, Report

FOLDER = "reports"
"""Where a report goes that was given no place."""

Format = Literal["html", "md", "json"]
Assets = Literal["inline", "shared", "cdn"]
FORMATS: tuple[Format, ...] = ("html", "md", "json")
ASSETS: tuple[Assets, ...] = ("inline", "shared", "cdn")

_SUFFIXES: dict[str, Format] = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".json": "json"}
_LONGEST_NAME = 60
_BEGINNING = 4096
_SIGNS = (b'id="agentnn-report"', b"<!-- agentnn report -->", b'{"format":')
"""What tells a report of ours from a file that somebody wrote."""


class Destination(NamedTuple):
    """Where a report goes, and as what."""

    path: Path
    format: Format
    assets: Assets
    force: bool = False


def destination(
    path: str | Path | None,
    format: str | None,
    assets: str,
    *,
    stem: str,
    force: bool = False,
) -> Destination:
    """Work out where a report goes.

    Args:
        path: The file; ``reports/STEM.FORMAT`` without one. An existing folder gets a file of that name.
        format: As what; by the file's suffix, or HTML, without one.
        assets: Where a page takes Plotly from.
        stem: The name of the file where none was given.
        force: Whether a file may be replaced that is no report.

    Raises:
        UsageError: There is no such format, or the suffix says none.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"there is no format {format!r}", hint=f"one of {', '.join(FORMATS)}")
    if assets not in ASSETS:
        raise UsageError(f"assets is {assets!r}", hint=f"one of {', '.join(ASSETS)}")
    chosen: Format = next((one for one in FORMATS if one == format), "html")
    place: Assets = next(one for one in ASSETS if one == assets)
    if path is None or Path(path).is_dir():
        return Destination(Path(path or FOLDER) / f"{stem}.{chosen}", chosen, place, force)
    file = Path(path)
    if format is None:
        if file.suffix.lower() not in _SUFFIXES:
            raise UsageError(
                f"what {file} is to be can't be told by its name", hint="end it with .html, .md or .json, or --format"
            )
        chosen = _SUFFIXES[file.suffix.lower()]
    return Destination(file, chosen, place, force)


def stem_of_run(kind: Kind, run: Run) -> str:
    """The name of a report on one run: the same each time, and readable."""
    name = _plain(run.name)
    return "-".join(part for part in (kind, name, run.run_id[:8]) if part)


def stem_of_runs(runs: Sequence[Run], baseline: Run) -> str:
    """The name of a comparison: the same each time for the same runs."""
    ids = "\n".join([baseline.run_id, *(run.run_id for run in runs)])
    return f"comparison-{len(runs)}-runs-{hashlib.sha256(ids.encode()).hexdigest()[:8]}"


def rendered(report: Report, format: Format, assets: Assets = "inline") -> str:
    """A report in a format.

    Raises:
        MissingDependencyError: It is a page with charts, and Plotly is not installed.
    """
    if format == "md":
        from agentnn.reporting.markdown import render_markdown

        return f"<!-- agentnn report -->\n{render_markdown(report)}"
    if format == "json":
        from agentnn.reporting.json_form import to_json

        return to_json(report) + "\n"
    from agentnn.reporting.html import render_html

    return render_html(report, assets=assets)


def save(report: Report, to: Destination) -> Path:
    """Write a report, and beside a page with shared assets these.

    Folders are made. A report that is there is replaced, as a whole: it can be made again; any other file is not.

    Returns:
        The file.

    Raises:
        ConflictError: There is such a file, and it is no report.
        StoreUnavailable: The file can't be written.
        MissingDependencyError: See :func:`rendered`.
    """
    if not to.force:
        _refuse_to_replace(to.path)
    text = rendered(report, to.format, to.assets)
    _write(to.path, text.encode("utf-8", "backslashreplace"))
    if to.format == "html" and to.assets == "shared":
        from agentnn.reporting.html import shared_assets

        for name, content in shared_assets().items():
            beside = to.path.parent / name
            if not beside.is_file() or beside.read_bytes() != content:
                _write(beside, content)
    return to.path


def _refuse_to_replace(file: Path) -> None:
    try:
        if not file.exists():
            return
        with file.open("rb") as opened:
            beginning = opened.read(_BEGINNING)
            is_ours = any(sign in beginning for sign in _SIGNS[1:]) or _SIGNS[0] in beginning + opened.read()
    except OSError as error:
        raise _unwritable(file, error) from error
    if not is_ours:
        raise ConflictError(f"{file} is there already and is no report", hint="name another file, or --force")


def _write(file: Path, content: bytes) -> None:
    """Put a file in its place as a whole; nobody ever sees half of it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise _unwritable(file, error) from error
    unfinished = Path(name)
    try:
        with os.fdopen(number, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.chmod(0o666 & ~_umask())
        unfinished.replace(file)
    except OSError as error:
        raise _unwritable(file, error) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def _unwritable(file: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"{file} can't be written: {error.strerror}", hint="check the path and its permissions")


def _plain(name: str) -> str:
    """A name with letters, digits, dots, hyphens and underscores alone."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-._")[:_LONGEST_NAME].rstrip("-._")
