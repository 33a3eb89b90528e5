"""Which store is meant, and who asks: option, then environment, then ``.env``, then the project's default.

The names are MLflow's own (https://mlflow.org/docs/latest/api_reference/cli.html). A ``.env`` file only fills in what
the environment leaves open; nothing from it is put into the environment of the process.
"""

from __future__ import annotations

import os
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNWarning, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DEFAULT_DATABASE = "mlflow.db"
DEFAULT_FOLDER = "mlruns"
CACHE_VARIABLE = "AGENTNN_CACHE_MB"
CACHE_MB = 64.0
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """What a process needs to know before it opens a store.

    Attributes:
        tracking_uri: Where runs are kept.
        tracking_uri_source: Who said so: ``option``, ``MLFLOW_TRACKING_URI``, a ``.env`` file's path or ``default``.
        registry_uri: Where registered models are kept; the tracking URI unless said otherwise.
        experiment_name, experiment_id: The experiment that the environment names, if any.
        workspace: The MLflow workspace.
        artifact_roots: Places of artifacts that ``AGENTNN_ARTIFACT_ROOTS`` declares, beside those of the store.
        credentials: ``MLFLOW_TRACKING_USERNAME``, ``…_PASSWORD`` and ``…_TOKEN`` as far as they are set. Never shown.
        cache_mb: How large the cache of histories may become, and the index of a folder of runs, in megabytes
            (``AGENTNN_CACHE_MB``); 0 for none.
    """

    tracking_uri: str
    tracking_uri_source: str = "default"
    registry_uri: str = ""
    experiment_name: str | None = None
    experiment_id: str | None = None
    workspace: str = "default"
    artifact_roots: tuple[str, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict)
    cache_mb: float = CACHE_MB

    @property
    def secrets(self) -> dict[str, str]:
        """What must never be shown: the credentials, and the passwords in the URIs."""
        found = {name: value for name, value in self.credentials.items() if not name.endswith("USERNAME")}
        for name in ("tracking_uri", "registry_uri"):
            uri = getattr(self, name)
            authority = uri.partition("://")[2]
            if uri.startswith(("sqlite", "file")):  # their paths may hold an @ and a colon
                authority = authority.partition("/")[0]
            password = authority.rpartition("@")[0].partition(":")[2]
            if password:
                found[name] = password
        return found

    def __repr__(self) -> str:
        return f"Settings({redact(self.tracking_uri)!r}, source={self.tracking_uri_source!r})"

    @classmethod
    def load(
        cls,
        tracking_uri: str | Path | None = None,
        *,
        registry_uri: str | None = None,
        env_file: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Settings:
        """Find out what is meant.

        Args:
            tracking_uri: What the caller says; it goes before everything else.
            registry_uri: Likewise for the registry.
            env_file: A file to read instead of the nearest ``.env``.
            environ: The environment; that of the process by default.
            directory: Where the search for ``.env`` begins; the working directory by default.

        Raises:
            UsageError: ``env_file`` is not there or can't be read, a ``toml:`` URI names no folder, or
                ``AGENTNN_CACHE_MB`` is no size.
        """
        environ = os.environ if environ is None else environ
        directory = Path.cwd() if directory is None else directory
        file = Path(env_file) if env_file is not None else _nearest_env_file(directory)
        from_file = {} if file is None else _read_env_file(file, optional=env_file is None)
        merged = {**from_file, **{key: value for key, value in environ.items() if value}}
        uri, source = _tracking_uri(tracking_uri, environ, from_file, file, directory)
        uri = _settled(uri, directory)
        registry = registry_uri or merged.get("MLFLOW_REGISTRY_URI")
        return cls(
            tracking_uri=uri,
            tracking_uri_source=source,
            registry_uri=_settled(registry, directory) if registry else uri,
            experiment_name=merged.get("MLFLOW_EXPERIMENT_NAME"),
            experiment_id=merged.get("MLFLOW_EXPERIMENT_ID"),
            workspace=merged.get("MLFLOW_WORKSPACE") or "default",
            artifact_roots=tuple(filter(None, map(str.strip, merged.get("AGENTNN_ARTIFACT_ROOTS", "").split(",")))),
            credentials={key: merged[key] for key in CREDENTIALS if key in merged},
            cache_mb=_cache_mb(merged.get(CACHE_VARIABLE)),
        )


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without the passwords in its URIs, and without the given secret values.

    Everything between ``://`` and the last ``@`` of a word goes, since a password may hold what it should have quoted;
    only the paths of ``sqlite:`` and ``file:`` URIs may hold an ``@`` of their own. So do values of options such as
    ``password=`` and ``token=``.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"\b((?!sqlite|file)[a-zA-Z][\w+.-]*://)\S*@", r"\1***@", text)
    text = re.sub(r"\b((?:sqlite|file)[\w+.-]*://)[^\s/]*@", r"\1***@", text)
    return re.sub(
        r"([?&;]\w*(?:passw(?:or)?d|pwd|token|secret|api_?key)=)[^\s&;]*", r"\1***", text, flags=re.IGNORECASE
    )


def _tracking_uri(
    given: str | Path | None,
    environ: Mapping[str, str],
    from_file: Mapping[str, str],
    file: Path | None,
    directory: Path,
) -> tuple[str, str]:
    if given:
        return str(given), "option"
    if environ.get("MLFLOW_TRACKING_URI"):
        return environ["MLFLOW_TRACKING_URI"], "MLFLOW_TRACKING_URI"
    if file is not None and from_file.get("MLFLOW_TRACKING_URI"):
        return _beside(file, from_file["MLFLOW_TRACKING_URI"]), str(file)
    return _default_uri(directory), "default"


def _default_uri(directory: Path) -> str:
    """MLflow's own default: ``mlflow.db``, or ``mlruns`` when only that holds data. See docs/adr/0002."""
    with suppress(OSError):  # the folders above may be closed to us
        if holds_runs(directory / DEFAULT_FOLDER) and not (directory / DEFAULT_DATABASE).exists():
            return f"./{DEFAULT_FOLDER}"
    return f"sqlite:///{DEFAULT_DATABASE}"


def toml_folder(uri: str) -> Path | None:
    """The folder of projects that a ``toml:`` URI names; ``None`` for every other URI.

    ``toml:checkpoints``, ``toml:./checkpoints``, ``toml:/data/checkpoints``, ``toml:///data/checkpoints`` and
    ``toml:~/checkpoints`` are folders; what stands behind the scheme is a path as it is, nothing in it is quoted.

    Raises:
        UsageError: It names no folder of this machine.
    """
    scheme, colon, path = uri.partition(":")
    if not colon or scheme.lower() != "toml":
        return None
    if path.startswith("//"):
        path = path[2:]
        if not path.startswith("/"):
            raise UsageError(
                f"{redact(uri)!r} names a host, and no folder", hint="toml:./DIR, or toml:/DIR from the root"
            )
    if not path or "\0" in path:
        raise UsageError(f"{uri!r} names no folder", hint="for instance toml:./checkpoints")
    folder = Path(path)
    if folder.parts[:1] == ("~",):  # no shell sees a tilde in the middle of a word
        with suppress(RuntimeError):  # nobody knows where home is
            folder = folder.expanduser()
    return folder


def _settled(uri: str, directory: Path) -> str:
    """A URI in the form that everything else asks for: a folder of TOML runs is ``toml:PATH``, however it was named."""
    folder = toml_folder(uri)
    if folder is None and ":" not in uri and not holds_runs(directory / uri) and holds_toml_runs(directory / uri):
        folder = Path(uri)
    return uri if folder is None else f"toml:{folder}"


def holds_toml_runs(folder: Path) -> bool:
    """Whether a folder holds projects of TOML runs, ``PROJECT/RUN/config.toml``; the first that is found will do."""
    return any(
        _is_file(project / "project.toml") or any(_is_file(run / "config.toml") for run in _folders_in(project))
        for project in _folders_in(folder)
    )


def _is_file(path: Path) -> bool:
    with suppress(OSError):  # the folder may be closed to us
        return path.is_file()
    return False


def _folders_in(folder: Path) -> Iterator[Path]:
    with suppress(OSError, ValueError), os.scandir(folder) as entries:
        yield from (folder / entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())


def holds_runs(folder: Path) -> bool:
    """Whether a folder is a file store; MLflow also puts the artifacts of a database into ``mlruns``."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.isdigit() and _is_file(folder / entry.name / "meta.yaml") for entry in entries)
    except (OSError, ValueError):  # ValueError: no path can hold a NUL
        return False


def _cache_mb(text: str | None) -> float:
    if not text:
        return CACHE_MB
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise UsageError(
            f"{CACHE_VARIABLE} is {text!r}, which is no size", hint="megabytes, such as 64; 0 for no cache"
        )
    return size


def _nearest_env_file(directory: Path) -> Path | None:
    for one in (directory, *directory.parents):
        with suppress(OSError):  # a folder that may not be looked into has none for us
            if (one / ".env").is_file():
                return one / ".env"
    return None


def _beside(file: Path, uri: str) -> str:
    """A URI out of a file: a relative path in it starts at the file, which is found from the folders below it too."""
    folder = toml_folder(uri)
    if folder is not None:
        return f"toml:{file.parent.absolute() / folder}"
    database = "sqlite:///"
    if uri.startswith(database) and not uri.startswith((f"{database}/", f"{database}:")):
        return f"{database}{file.parent.absolute() / uri.removeprefix(database)}"
    if ":" not in uri and not Path(uri).is_absolute():
        return str(file.parent.absolute() / uri)
    return uri


def _read_env_file(file: Path, *, optional: bool) -> dict[str, str]:
    from dotenv import dotenv_values  # 30 ms, and most directories have no .env

    try:
        values = dotenv_values(file, encoding="utf-8") if file.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        if optional:  # nobody asked for this file
            warnings.warn(f"{file} can't be read and is left out: {error}", AgentNNWarning, stacklevel=3)
            return {}
        raise UsageError(f"{file} can't be read: {error}", hint="check --env-file") from error
    if values is None:
        raise UsageError(f"there is no file {file}", hint="check --env-file")
    return {key: value for key, value in values.items() if value}
