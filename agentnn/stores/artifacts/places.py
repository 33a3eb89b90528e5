"""Where the files of a run may lie: one rule, and its reasons.

A store is asked for a run and answers with an address. Whoever may write to the store, or pretends to be its server,
chooses that address; followed blindly, it reads ``/etc`` into an export, or takes a token to another host. So nothing
is opened, and nothing is asked for, before these hold:

1. **The host.** Only the tracking host is spoken to, and this machine when it is the tracking host: its stores are
   files and databases, or its server is reached by a loopback address. ``mlflow-artifacts:`` and ``http:`` addresses
   must be of the server that is asked, by the same scheme and port: MLflow would send it our token. A cloud store
   (``s3:``, ``gs:``, ``r2:``, ``b2:``, ``wasbs:``, ``abfss:``) takes signatures, not our token, and is allowed. Every
   other scheme is not: ``sftp:`` and its like log in wherever they are told to.
2. **The owner.** MLflow keeps a run's files in ``<location of the experiment>/<run id>/artifacts``, and those of a
   logged model likewise. An address that does not end so is not MLflow's. On this machine that alone keeps a forged
   address away from everything that is not itself a folder of MLflow artifacts, since ``/etc/<run id>/artifacts`` is
   nowhere: an experiment that was made with the location ``/etc`` can reach nothing there.
3. **The experiment.** The address lies under its experiment's location, links resolved: MLflow makes them together, and
   its API can change neither.
4. **The system.** An experiment whose location is the root of this machine or one of its system folders is an attack,
   or a mistake: nobody keeps artifacts there.

Whoever keeps them in another way, or has moved them, says so: ``AGENTNN_ARTIFACT_ROOTS`` names folders and addresses,
with commas between them, that are read whatever these rules say.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from agentnn.errors import StoreUnavailable, UnsafeError
from agentnn.settings import redact

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from agentnn.settings import Settings

ROOTS = "AGENTNN_ARTIFACT_ROOTS"
"""The variable that declares further places."""

_CLOUDS = ("s3", "gs", "r2", "b2", "wasbs", "abfss")
_SERVERS = ("http", "https")
_PORTS = {"http": 80, "https": 443}
_SYSTEM = ("etc", "proc", "sys", "dev", "boot", "run", "bin", "sbin", "lib", "lib32", "lib64")
_LOOPBACK = r"localhost|127(?:\.\d+){3}|::1"
_OWNER = r"[0-9A-Za-z][0-9A-Za-z_-]{3,255}"
_OWNED = r"(?:m-)?[0-9a-f]{32}"
_FOLDER = "artifacts"


class _Address(NamedTuple):
    """An address taken apart so that two of them can be compared; one without a host and scheme is a local path."""

    scheme: str
    host: str
    parts: tuple[str, ...]

    def is_under(self, other: _Address) -> bool:
        same_place = (self.scheme, self.host) == (other.scheme, other.host)
        return same_place and self.parts[: len(other.parts)] == other.parts


def local_folder(uri: str | None) -> Path | None:
    """The folder that an artifact URI names on this machine; ``None`` for one that lies elsewhere."""
    if not uri:
        return None
    try:
        parts = urlsplit(uri)
    except ValueError:  # it is no address at all
        return None
    if parts.scheme == "":
        return Path(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return None


def check_place(uri: str | None, owner: str, location: str | None, settings: Settings) -> None:
    """Refuse an address that a store gives for the files of a run or a logged model, where it breaks the rule.

    Args:
        uri: The address.
        owner: The id of the run or of the logged model.
        location: Where the experiment keeps its artifacts, as the store says.
        settings: Name the store, and what was declared.

    Raises:
        UnsafeError: It breaks the rule; nothing was opened and nothing asked for.
        StoreUnavailable: There is no address, or only the tracking server knows the way to it.
    """
    if not uri:
        raise StoreUnavailable(f"the store does not say where the files of {owner} are", hint="agentnn run doctor")
    address = _address(uri)
    if _is_declared(address, settings):
        return
    _check_host(uri, settings, is_bound=location is not None)
    if not re.fullmatch(_OWNER, owner) or address.parts[-2:] != (owner, _FOLDER):
        raise _refused(uri, f"does not end with {owner}/{_FOLDER}, as MLflow's do")
    if location is not None:
        _check_location(uri, location)


def check_model_place(uri: str, settings: Settings) -> None:
    """Refuse the source of a model version, where it breaks the rule.

    Whoever may register a version chooses its source freely, so there is no location to compare it with: it has to lie
    in a folder of artifacts that MLflow made, ``<32 hexadecimal digits>/artifacts``, or in a declared place.

    Args:
        uri: A path or a URI; ``models:/`` and ``runs:/`` are to be looked up first.
        settings: Name the store, and what was declared.

    Raises:
        UnsafeError: It breaks the rule; nothing was opened and nothing asked for.
        StoreUnavailable: Only the tracking server knows the way to it.
    """
    address = _address(uri)
    if _is_declared(address, settings):
        return
    _check_host(uri, settings, is_bound=True)
    pairs = zip(address.parts, address.parts[1:], strict=False)
    if not any(re.fullmatch(_OWNED, owner) and folder == _FOLDER for owner, folder in pairs):
        raise _refused(uri, "is in no folder of artifacts that MLflow made")


def _check_host(uri: str, settings: Settings, *, is_bound: bool) -> None:
    parts, tracking = urlsplit(uri), urlsplit(settings.tracking_uri)
    has_server = tracking.scheme in _SERVERS
    folder = local_folder(uri)
    if folder is not None:
        if has_server and not re.fullmatch(_LOOPBACK, tracking.hostname or ""):
            raise _refused(uri, "is a folder of this machine, and the tracking server is another one")
        if _is_system(folder):
            raise _refused(uri, "is in a system folder")
    elif parts.scheme == "mlflow-artifacts":
        if not has_server:
            raise StoreUnavailable(
                f"the artifacts are kept by a tracking server ({uri})", hint="use the server's URI as --tracking-uri"
            )
        if parts.netloc and _host(parts, tracking.scheme) != _host(tracking):
            raise _refused(uri, "names another host than the tracking server")
    elif parts.scheme in _SERVERS:
        if (parts.scheme, _host(parts)) != (tracking.scheme, _host(tracking)):
            raise _refused(uri, "names another host than the tracking server")
    elif parts.scheme == "dbfs" and settings.tracking_uri.startswith("databricks"):
        return
    elif parts.scheme not in _CLOUDS or not is_bound:
        raise _refused(uri, f"is of the kind {parts.scheme}:, which was not declared")


def _check_location(uri: str, location: str) -> None:
    if not _address(uri).is_under(_address(location)):
        raise _refused(uri, f"is not where its experiment keeps artifacts ({_shown(location)})")
    folder, root = local_folder(uri), local_folder(location)
    if folder is not None and root is not None and not folder.resolve().is_relative_to(root.resolve()):
        raise _refused(uri, f"is a link that leaves {_shown(location)}")


def _is_declared(address: _Address, settings: Settings) -> bool:
    return any(address.is_under(_address(root)) for root in settings.artifact_roots)


def _is_system(folder: Path) -> bool:
    parts = Path(os.path.normpath(folder.absolute())).parts
    return len(parts) <= len(("/", "<run id>", _FOLDER)) or parts[1] in _SYSTEM


def _address(uri: str) -> _Address:
    """An address in parts, local ones made absolute.

    Raises:
        UnsafeError: It goes up by ``..``, or hides a part of itself.
    """
    folder = local_folder(uri)
    if folder is not None:
        if "\0" in str(folder):
            raise _refused(uri, "holds a NUL")
        return _Address("", "", Path(os.path.normpath(folder.absolute())).parts[1:])
    try:
        split = urlsplit(uri)
        host = split.netloc if split.scheme not in _SERVERS else str(_host(split))
    except ValueError:
        raise _refused(uri, "is no address") from None
    names = tuple(name for name in unquote(split.path).split("/") if name)
    if any(name in (".", "..") for name in names) or "\\" in split.path or "%2f" in split.path.lower():
        raise _refused(uri, "goes up or hides a part of itself")
    return _Address(split.scheme, host, names)


def _host(parts: SplitResult, scheme: str = "") -> tuple[str, int | None]:
    return (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme or parts.scheme)


def _refused(uri: str, why: str) -> UnsafeError:
    return UnsafeError(
        f"the address {_shown(uri)} {why}, and is not followed",
        hint=f"if you know who put it into the store and want it read, name its folder in {ROOTS}",
    )


def _shown(uri: str) -> str:
    return repr(redact(uri))
