"""Where a study is kept: a journal file of this machine, or a database that many machines share."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import CorruptDataError, MissingDependencyError, StoreUnavailable, UsageError
from agentnn.extras import require
from agentnn.settings import redact
from agentnn.stores.artifacts.places import local_folder
from agentnn.tracking.journal.state import StoreFolder, make_private_folder, open_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.storages import BaseStorage

    from agentnn.settings import Settings

_LONGEST_NAME = 80
_PAUSES_S = (0.1, 0.3, 1.0, 2.0)
_OWN_TABLE = "study_user_attributes"
"""A table that only Optuna's databases have."""


def open_storage(named: str | None, study: str, settings: Settings) -> BaseStorage:
    """Open the storage of a study; it is made where there is none.

    Args:
        named: ``hpo.storage``: the URL of a database, or the path of a journal file; a file among those of the tracking
            store on this machine otherwise.
        study: The study's name, which names that file.
        settings: Name the tracking store.

    Raises:
        UsageError: It is a database of MLflow's, or of somebody else's.
        StoreUnavailable: It can't be reached, or there is no place for the file.
        CorruptDataError: The file is no journal of a study.
        MissingDependencyError: The database's driver is not installed.
    """
    require("optuna", extra="hpo")
    named = named or str(_own_journal(study, settings))
    with storage_errors(named):
        if "://" in named and not named.startswith("file:"):
            return _database(_with_driver(named))
        return _journal(local_folder(named) or Path(named))


def place_of(named: str | None, study: str, settings: Settings) -> str:
    """Where :func:`open_storage` keeps a study, as it may be shown."""
    return redact(named) if named else str(_own_journal(study, settings))


@contextmanager
def storage_errors(named: str) -> Iterator[None]:
    """Errors of Optuna's storages as ours; no password is in them.

    Args:
        named: The storage, for the message.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

    shown = redact(named)
    try:
        yield
    except NoSuchModuleError as error:
        raise UsageError(f"{shown} names no database that is known: {error}", hint=_KINDS) from None
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = redact(str(getattr(error, "orig", None) or error.__cause__ or error).strip().partition("\n")[0])
        raise StoreUnavailable(
            f"the study's storage {shown} can't be used: {reason}", hint="what is in it is kept: --resume goes on"
        ) from None  # the chain would show the URL with its password


_KINDS = "hpo.storage: postgresql://USER@HOST/NAME, or the path of a journal file"


def _own_journal(study: str, settings: Settings) -> Path:
    readable = re.sub(r"[^\w.-]+", "-", study)[:_LONGEST_NAME].strip("-.")
    digest = hashlib.sha256(study.encode()).hexdigest()[:8]
    return StoreFolder.of(settings).path / "studies" / f"{readable or 'study'}-{digest}.journal"


def _journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if path.is_dir():
        raise UsageError(f"{path} is a folder, and no file of a study", hint=_KINDS)
    make_private_folder(path.parent)
    lock = _KernelLock(path)
    try:
        os.close(open_private(path, os.O_RDWR | os.O_APPEND))
        lock.acquire()
        try:
            _cut_tail(path)
        finally:
            lock.release()
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))  # type: ignore[arg-type]
    except OSError as error:
        raise StoreUnavailable(
            f"the study can't be kept in {path}: {error.strerror}", hint="check the folder's permissions and free space"
        ) from error
    except (ValueError, KeyError, AssertionError) as error:  # what reading something else comes to
        raise CorruptDataError(f"{path} can't be read as the journal of a study: {error}", hint=_KINDS) from error


def _cut_tail(path: Path) -> None:
    """Leave out a last line that broke off, as on a full disk: it was never acknowledged, and hides what follows."""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - (1 << 20))
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)


class _KernelLock:
    """A lock of a journal that the kernel frees when its holder dies; Optuna's own ones stay behind for half a minute.

    It has the shape of Optuna's ``BaseJournalFileLock``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")
        self._descriptor = -1

    def acquire(self) -> bool:
        """Wait for the lock; this object may have it already, when a signal came before it could let go of it."""
        if self._descriptor < 0:
            self._descriptor = open_private(self._path, os.O_RDWR)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let go of it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def _database(url: str) -> BaseStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, InternalError, ProgrammingError

    _refuse_foreign(url)
    for pause in (*_PAUSES_S, None):
        try:
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        except RuntimeError as error:  # a schema of another version of Optuna
            raise UsageError(f"{redact(url)}: {error}", hint="optuna storage upgrade --storage URL") from None
        except (IntegrityError, InternalError, ProgrammingError):  # another driver makes the same tables just now
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError  # pragma: no cover


def _with_driver(url: str) -> str:
    """A URL that names psycopg 3, which the extra ``postgres`` brings, where it names no driver."""
    scheme, _, rest = url.partition("://")
    if scheme in ("postgres", "postgresql") and find_spec("psycopg"):
        return f"postgresql+psycopg://{rest}"
    return url


def _refuse_foreign(url: str) -> None:
    """Look at the tables before Optuna makes its own: MLflow and Optuna both call one ``alembic_version``.

    Raises:
        UsageError: There are tables of somebody else.
        MissingDependencyError: The database's driver is not installed.
    """
    from sqlalchemy import create_engine, inspect

    try:
        engine = create_engine(url)
    except ImportError as error:
        raise MissingDependencyError(
            f"{error.name or 'the driver'} is not installed, which {redact(url)} needs",
            hint="pip install 'agentnn[postgres]'",
        ) from error
    try:
        tables = set(inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "alembic_version" in tables and _OWN_TABLE not in tables:
        whose = "MLflow's own" if {"runs", "experiments"} <= tables else "somebody else's"
        raise UsageError(
            f"the database {redact(url)} is {whose}; a study needs one of its own, since both call a table "
            "alembic_version",
            hint="createdb studies, and name that in hpo.storage; or leave it out for a file on this machine",
        )
