"""An export as one file. What is read may be anybody's: nothing in it gets out of its folder, or too large."""

from __future__ import annotations

import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Literal, cast

from agentnn.errors import CorruptDataError, UnsafeError, UsageError
from agentnn.stores.artifacts.folder import CHUNK, safe_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kind = Literal["zip", "tar"]

MOST_FILES = 1_000_000
MOST_GROWTH = 200
"""How many times its own size an archive may grow: metrics grow some twenty times, a bomb a thousand times."""

ALWAYS_ALLOWED = 1 << 30
_LARGEST_HEADER = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SUFFIXES: dict[str, Kind] = {".zip": "zip", ".tar.gz": "tar"}
_OTHERS = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_DAMAGES = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, struct.error, UnicodeError, EOFError,
    NotImplementedError,
)  # fmt: skip


def kind_of(path: Path) -> Kind | None:
    """Which kind of archive a name means; ``None`` for a folder.

    Raises:
        UsageError: One that is not written here.
    """
    name = path.name.lower()
    kind = next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None)
    if kind is None and name.endswith(_OTHERS):
        raise UsageError(f"{path} would be an archive of another kind", hint="a name that ends with .zip or .tar.gz")
    return kind


def pack(folder: Path, target: Path, kind: Kind) -> None:
    """Write a folder as an archive: the same bytes for the same files."""
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    (_pack_zip if kind == "zip" else _pack_tar)(files, target)


def unpack(source: Path, folder: Path, kind: Kind) -> None:
    """Read an archive into an empty folder.

    Raises:
        UnsafeError: A name leads out of the folder, something in it is no file, or it is far larger than it looks.
        CorruptDataError: It is damaged.
    """
    allowance = _Allowance(source)
    try:
        (_unpack_zip if kind == "zip" else _unpack_tar)(source, folder, allowance)
    except _DAMAGES as error:
        raise CorruptDataError(f"{source} is damaged: {error}", hint="fetch or export it again") from error


class _Allowance:
    """How much may still come out of an archive."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._bytes = max(ALWAYS_ALLOWED, MOST_GROWTH * source.stat().st_size)
        self._files = MOST_FILES

    def take(self, size: int, files: int = 0) -> None:
        self._bytes -= size
        self._files -= files
        if self._bytes < 0 or self._files < 0:
            raise UnsafeError(
                f"{self._source} unpacks to far more than its size", hint="if it is genuine, unpack it and import that"
            )


class _Counted:
    """The stream in a compressed file; tarfile reads a header at once, however long it says that it is."""

    def __init__(self, stream: IO[bytes], allowance: _Allowance) -> None:
        self._stream = stream
        self._allowance = allowance

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise UnsafeError("a header in the archive is longer than any name", hint="nothing was written")
        found = self._stream.read(size)
        self._allowance.take(len(found))
        return found

    def seek(self, target: int, whence: int = 0) -> int:
        position = self._stream.tell()
        if whence != 0 or target < position:
            return self._stream.seek(target, whence)
        while position < target and (skipped := self.read(min(_LARGEST_HEADER, target - position))):
            position += len(skipped)
        return position

    def tell(self) -> int:
        return self._stream.tell()


def _pack_zip(files: list[tuple[str, Path]], target: Path) -> None:
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.create_system = 3
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as written:
                while chunk := source.read(CHUNK):
                    written.write(chunk)


def _pack_tar(files: list[tuple[str, Path]], target: Path) -> None:
    with (
        target.open("xb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, path in files:
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            with path.open("rb") as source:
                archive.addfile(entry, source)


def _unpack_zip(source: Path, folder: Path, allowance: _Allowance) -> None:
    with zipfile.ZipFile(source) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.flag_bits & 1 or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _no_file(entry.filename)
            if entry.is_dir():
                safe_path(entry.filename.rstrip("/"))
                continue
            with _created(folder, entry.filename, allowance) as written, archive.open(entry) as packed:
                _copy(packed, written, allowance)


def _unpack_tar(source: Path, folder: Path, allowance: _Allowance) -> None:
    with gzip.open(source) as stream:
        counted = cast("IO[bytes]", _Counted(cast("IO[bytes]", stream), allowance))
        with tarfile.open(fileobj=counted, mode="r:") as archive:
            while (entry := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined] # or it would keep them all
                if entry.isdir():
                    safe_path(entry.name.rstrip("/"))
                    continue
                packed = archive.extractfile(entry) if entry.isreg() and not entry.issparse() else None
                if packed is None:
                    raise _no_file(entry.name)
                with _created(folder, entry.name, allowance) as written, packed:
                    _copy(packed, written)


@contextmanager
def _created(folder: Path, name: str, allowance: _Allowance) -> Iterator[IO[bytes]]:
    place = folder / safe_path(name)
    allowance.take(0, files=1)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        file = place.open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise UnsafeError(f"{name!r} is twice in the archive", hint="nothing was written") from None
    with file:
        yield file


def _copy(packed: IO[bytes], written: IO[bytes], allowance: _Allowance | None = None) -> None:
    while chunk := packed.read(CHUNK):
        if allowance is not None:
            allowance.take(len(chunk))
        written.write(chunk)


def _no_file(name: str) -> UnsafeError:
    return UnsafeError(f"{name!r} in the archive is a link, a device or encrypted", hint="nothing was written")
